"""Names for the arrays that travel through nncore."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 everywhere but in the gradient checks, which run the same code in float64.
FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
ByteArray = NDArray[np.uint8]
Array = NDArray[Any]

Shape = tuple[int, ...]
Views = Mapping[str, FloatArray]
