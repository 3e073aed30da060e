"""The tensors of a request as the array that a version's predictor takes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from nncore.artifact import Card
from nncore.columns import width_of
from nncore.types import Array
from service import inputs
from service.problems import BadBody, FieldError, Invalid
from service.settings import Settings
from service.v2.datatypes import BYTES
from service.v2.metadata import INPUT, has_categories
from service.v2.requests import Sent

# Rows by column name that are made at a time: each is an object of Python's, a hundred times its numbers.
ROWS_AT_ONCE = 256
# Of what is wrong that an error tells, which is one text here.
MOST_TOLD = 3


def from_tensors(card: Card, tensors: Sequence[Sent], settings: Settings) -> Array:
    """Return inputs (N, …), checked as those of /predict are; raises BadBody that says what is wrong."""
    by_name = {tensor.name: tensor for tensor in tensors}
    names = [column.name for column in card.input.columns]
    if by_name.keys() == {INPUT} and not has_categories(card):
        return _from_numbers(card, by_name[INPUT], settings)
    if names and by_name.keys() == set(names):
        return _from_columns(card, [by_name[name] for name in names], settings)
    taken = [] if has_categories(card) else [f"one tensor {INPUT}"]
    taken += [f"a tensor for each of its columns, {', '.join(names)[:500]}"] if names else []
    raise BadBody(f"The model takes {', or '.join(taken)}; sent were {', '.join(by_name)[:200]}.")


def _from_numbers(card: Card, tensor: Sent, settings: Settings) -> Array:
    if tensor.datatype == BYTES:
        raise BadBody(f"{tensor.name}: the model takes numbers, and no texts (BYTES).")
    with _told_of(tensor.name):
        inputs.check_shape(card, tensor.shape, settings)
    sent = values = tensor.read()
    if values.dtype != np.uint8 and values.dtype != np.float32:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
    if values.dtype != np.uint8 and not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        raise BadBody(f"{tensor.name}{place}: must be a finite number of 32 bits, not {sent[*place]}.")
    with _told_of(tensor.name):
        return inputs.shaped(card, values)


def _from_columns(card: Card, tensors: Sequence[Sent], settings: Settings) -> Array:
    count = tensors[0].shape[0]
    for tensor in tensors:
        if tensor.shape not in ([count], [count, 1]):
            says = f"a column has the shape [{count}] or [{count}, 1], not {tensor.shape}"
            raise BadBody(f"{tensor.name}: {says}.")
    if count > settings.max_rows:
        raise BadBody(f"One request takes at most {settings.max_rows:,} examples, not {count:,}.")
    values = [tensor.read().ravel() for tensor in tensors]
    encoded = np.empty((count, width_of(card.input.columns)), np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        columns = [column[part].tolist() for column in values]
        rows = [
            dict(zip([tensor.name for tensor in tensors], row, strict=True))
            for row in zip(*columns, strict=True)
        ]
        try:
            encoded[part] = inputs.from_rows(card, rows, settings)
        except Invalid as problem:
            told = [_told_of_row(error, start) for error in problem.errors[:MOST_TOLD]]
            raise BadBody("; ".join(told)) from None
    return encoded


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    """Tell what is wrong with an input of /predict as wrong with a tensor."""
    try:
        yield
    except Invalid as problem:
        raise BadBody("; ".join(_told(error, name) for error in problem.errors[:MOST_TOLD])) from None


def _told(error: FieldError, name: str) -> str:
    """Return what is wrong with its place as NumPy would have it, for the pointer #/inputs/0/17."""
    places = [int(place) for place in error.pointer.split("/")[2:]]
    return f"{name}{places or ''}: {error.detail}"


def _told_of_row(error: FieldError, start: int) -> str:
    """Return the same for a row by column name, #/inputs/0/length; rows are counted from `start`."""
    row, _, column = error.pointer.removeprefix("#/inputs/").partition("/")
    column = column.replace("~1", "/").replace("~0", "~")
    return f"{column}[{int(row) + start}]: {error.detail}"
