"""The datatypes of tensors: what each is in NumPy, and in JSON."""

from dataclasses import dataclass

import numpy as np

from nncore.types import Array

BYTES = "BYTES"
# Nobody's tensor has more axes than batch, height, width and channels; the rest is an attack.
MOST_AXES = 6


@dataclass(frozen=True)
class Datatype:
    """A datatype of numbers: `dtype` is how it stands in a binary tensor, little-endian.

    `code` is Python's `array` of what stands in JSON for it: it takes numbers of that range and nothing else.
    """

    dtype: np.dtype[np.generic]
    code: str


# Numbers with a fraction are read as doubles, so that one too large for its datatype is seen.
DATATYPES = {
    # A byte of 0 or 1, and as that a number.
    "BOOL": Datatype(np.dtype("u1"), "B"),
    "UINT8": Datatype(np.dtype("u1"), "B"),
    "UINT16": Datatype(np.dtype("<u2"), "H"),
    "UINT32": Datatype(np.dtype("<u4"), "I"),
    "UINT64": Datatype(np.dtype("<u8"), "Q"),
    "INT8": Datatype(np.dtype("i1"), "b"),
    "INT16": Datatype(np.dtype("<i2"), "h"),
    "INT32": Datatype(np.dtype("<i4"), "i"),
    "INT64": Datatype(np.dtype("<i8"), "q"),
    "FP16": Datatype(np.dtype("<f2"), "d"),
    "FP32": Datatype(np.dtype("<f4"), "d"),
    "FP64": Datatype(np.dtype("<f8"), "d"),
}
KNOWN = ", ".join([*DATATYPES, BYTES])


@dataclass(frozen=True)
class Tensor:
    """A tensor with its name: `values` has its shape, of numbers, or for BYTES an object array of texts."""

    name: str
    datatype: str
    values: Array


@dataclass(frozen=True)
class TensorInfo:
    """What a tensor of a model looks like; -1 in the shape is the number of examples."""

    name: str
    datatype: str
    shape: tuple[int, ...]
