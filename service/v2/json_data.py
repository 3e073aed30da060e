"""Tensors in JSON: a list of values, flat or nested as the shape says."""

import itertools
import math
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from nncore.config import shorten
from nncore.types import Array
from service.problems import BadBody
from service.v2.datatypes import BYTES, DATATYPES


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any, booleans: bool) -> Array:
    """Return the values of `data` in the shape, checked to be of the datatype and as many as it says.

    `booleans` tells whether true or false can stand in it, which Python would take for numbers.
    """
    if not isinstance(data, list):
        raise BadBody(f"{name}: data must be an array of {datatype} values, not {shorten(data)}.")
    values = _flat(name, shape, data)
    # Python's own numbers: in NumPy's the product of a hostile shape would overflow.
    wanted = math.prod(shape)
    if len(values) != wanted:
        raise BadBody(f"{name}: data has {len(values):,} values, and the shape {[*shape]} {wanted:,}.")
    if datatype == BYTES:
        return _texts(name, values).reshape(shape)
    if datatype == "BOOL":
        return _booleans(name, values).reshape(shape)
    return _numbers(name, datatype, values, booleans).reshape(shape)


def to_json(values: Array) -> Any:
    """Return values, flat, as orjson takes them."""
    return values.ravel().tolist() if values.dtype.kind == "O" else np.ascontiguousarray(values).ravel()


def _flat(name: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    """Return the values of nested data, axis by axis; data that is flat already as it is."""
    if not (data and type(data[0]) is list):
        return data
    if len(data) != shape[0]:
        raise BadBody(f"{name}: data has {len(data):,} entries, and the shape {[*shape]} {shape[0]:,}.")
    for axis, size in enumerate(shape[1:], 1):
        if not all(type(item) is list and len(item) == size for item in data):
            says = f"nested as the shape {[*shape]} says: on axis {axis} in arrays of {size:,}"
            raise BadBody(f"{name}: data must be flat, or {says}.")
        data = list(itertools.chain.from_iterable(data))
    return data


def _numbers(name: str, datatype: str, values: list[Any], booleans: bool) -> Array:
    numbers = _cast(datatype, values, booleans)
    if numbers is not None:
        return numbers
    # The first that is wrong is found by halving, as a million may stand before it.
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        if _cast(datatype, values[low:middle], booleans) is None:
            high = middle
        else:
            low = middle
    what = "a finite number" if datatype.startswith("FP") else "a whole number of its range"
    raise BadBody(f"{name}: value {low} of data must be {datatype}, {what}, not {shorten(values[low])}.")


def _cast(datatype: str, values: list[Any], booleans: bool) -> Array | None:
    """Return values as an array of their datatype, None where there is one that is not of it."""
    kind = DATATYPES[datatype]
    # array() refuses what is no number, out of the datatype's range or a fraction, at 10 ns a value; NumPy
    # would take "1" and null, and for one long text make room for it in every place.
    try:
        numbers = np.frombuffer(array(kind.code, values), f"={kind.code}") if values else np.empty(0)
    except (TypeError, OverflowError):
        return None
    if booleans and any(type(value) is bool for value in values):
        return None
    with np.errstate(over="ignore"):
        cast = numbers.astype(kind.dtype, copy=False)
    return cast if kind.code != "d" or np.isfinite(cast).all() else None


def _booleans(name: str, values: list[Any]) -> Array:
    for place, value in enumerate(values):
        if type(value) is not bool:
            raise BadBody(f"{name}: value {place} of data must be true or false, not {shorten(value)}.")
    return np.array(values, DATATYPES["BOOL"].dtype)


def _texts(name: str, values: list[Any]) -> Array:
    for place, value in enumerate(values):
        if type(value) is not str:
            raise BadBody(f"{name}: value {place} of data must be a text, not {shorten(value)}.")
    texts = np.empty(len(values), object)
    texts[:] = values
    return texts
