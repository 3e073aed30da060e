"""All parameters of a network in one flat buffer, with a named view for each array."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nncore.types import FloatArray, Shape


class Parameters(Mapping[str, FloatArray]):
    """Named arrays that share one contiguous buffer.

    `flat` is the buffer (P,), which optimizers work on at once; `decaying` is its leading part: weight
    matrices and kernels, which L2 and weight decay shrink. Vectors (biases and the like) come behind them.
    The buffer is the beginning of `room`, where that is given.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], dtype: DTypeLike = np.float32, room: FloatArray | None = None
    ) -> None:
        self.shapes = MappingProxyType(dict(shapes))
        size = sum(map(math.prod, shapes.values()))
        self.flat: FloatArray = np.zeros(size, dtype) if room is None else room[:size]
        weights_first = sorted(shapes, key=lambda name: len(shapes[name]) < 2)
        self._views: dict[str, FloatArray] = {}
        start = 0
        decaying = 0
        for name in weights_first:
            stop = start + math.prod(shapes[name])
            self._views[name] = self.flat[start:stop].reshape(shapes[name])
            start = stop
            if len(shapes[name]) >= 2:
                decaying = stop
        self.decaying = slice(0, decaying)

    def __getitem__(self, name: str) -> FloatArray:
        return self._views[name]

    def __iter__(self) -> Any:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def like(self) -> "Parameters":
        """Return zeros of the same names, shapes and dtype: room for gradients."""
        return Parameters(self.shapes, self.flat.dtype)
