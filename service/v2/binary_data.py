"""Tensors in bytes behind the JSON: numbers little-endian and rows first, texts each after its length."""

import math
import struct
from collections.abc import Sequence

import numpy as np

from nncore.types import Array
from service.problems import BadBody
from service.v2.datatypes import BYTES, DATATYPES

_LENGTH = struct.Struct("<I")


def from_binary(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> Array:
    """Return the values that bytes hold, as many as the shape says, in that shape."""
    if datatype == BYTES:
        return _texts(name, shape, data).reshape(shape)
    dtype = DATATYPES[datatype].dtype
    # Python's own numbers: in NumPy's the product of a hostile shape would overflow.
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise BadBody(
            f"{name}: binary_data_size is {len(data):,}, and {datatype} {[*shape]} {wanted:,} bytes."
        )
    values = np.frombuffer(data, dtype)
    if datatype == "BOOL" and values.max() > 1:
        raise BadBody(f"{name}: a BOOL must be a byte of 0 or 1.")
    return values.reshape(shape)


def to_binary(values: Array) -> bytes:
    """Return values as bytes."""
    if values.dtype.kind != "O":
        return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    texts = [text.encode() for text in values.ravel().tolist()]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def _texts(name: str, shape: Sequence[int], data: memoryview) -> Array:
    count = math.prod(shape)
    if count * _LENGTH.size > len(data):
        raise BadBody(f"{name}: {len(data):,} bytes are too few for the {count:,} texts of shape {[*shape]}.")
    texts = np.empty(count, object)
    start = 0
    for place in range(count):
        begin = start + _LENGTH.size
        end = begin + (_LENGTH.unpack_from(data, start)[0] if begin <= len(data) else 0)
        if end > len(data) or begin > len(data):
            raise BadBody(f"{name}: text {place} goes past the end of the tensor's {len(data):,} bytes.")
        try:
            texts[place] = str(data[begin:end], "utf-8")
        except UnicodeDecodeError:
            raise BadBody(f"{name}: text {place} is not UTF-8.") from None
        start = end
    if start != len(data):
        raise BadBody(f"{name}: {len(data) - start:,} bytes are left behind its {count:,} texts.")
    return texts
