"""What a caller sent, as the array that a version's predictor takes; checked against its card."""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from nncore.artifact import Card
from nncore.columns import encode_rows
from nncore.errors import PictureError, RowError
from nncore.images import decode_picture
from service.problems import MOST_ERRORS, FieldError, Invalid
from service.schemas import pointer_to
from service.settings import Settings

# Characters of the names of columns that an error lists.
MOST_NAMES = 500
Numbers = np.ndarray[Any, np.dtype[Any]]


def from_rows(card: Card, rows: Sequence[Any], settings: Settings) -> Numbers:
    """Return rows by column name as inputs (N, width)."""
    if not card.input.columns:
        raise Invalid([FieldError("#/inputs/0", "must be an array: this model has no columns with names")])
    _check_rows(len(rows), settings)
    try:
        return encode_rows(card.input.columns, rows)
    except RowError as error:
        raise Invalid(
            [FieldError(_pointer_into(row, name), text) for row, name, text in error.mistakes]
        ) from None


def from_arrays(card: Card, inputs: Numbers, settings: Settings) -> Numbers:
    """Return inputs (N, …) in the network's shape, each number in the range that the card declares."""
    check_shape(card, inputs.shape, settings)
    return shaped(card, inputs)


def shaped(card: Card, inputs: Numbers) -> Numbers:
    """Return inputs of a shape that was checked in the network's, each number in the range of the card."""
    if card.input.range is not None:
        # In the caller's shape, which the pointers speak of.
        _check_range(inputs, *card.input.range)
    return inputs.reshape(-1, *card.architecture.input_shape)


def check_shape(card: Card, shape: Sequence[int], settings: Settings) -> None:
    """Refuse inputs by their shape (N, …) alone; flat examples of the network's size will do."""
    _check_rows(shape[0], settings)
    columns = card.input.columns
    if columns and (categorical := [column.name for column in columns if column.categories]):
        raise Invalid([FieldError("#/inputs/0", _by_name(categorical))])
    wanted = card.architecture.input_shape
    size = math.prod(wanted)
    if tuple(shape[1:]) in (wanted, (size,)):
        return
    words = f"{size} numbers" + (f" or {'×'.join(map(str, wanted))}" if len(wanted) > 1 else "")
    if len(shape) == 1 or tuple(shape) == wanted:
        raise Invalid([FieldError("#/inputs", f"must be an array of examples, each of {words}: [[…], …]")])
    found = "×".join(map(str, shape[1:]))
    raise Invalid([FieldError("#/inputs/0", f"has {found} numbers; this model takes {words} an example")])


def from_base64(card: Card, texts: Sequence[str], settings: Settings) -> Numbers:
    """Return the pictures that base64 texts hold as inputs (N, …)."""
    pictures = []
    _check_count(texts, "#/images", settings)
    for index, text in enumerate(texts):
        try:
            pictures.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise Invalid(
                [FieldError(f"#/images/{index}", "must be base64 (RFC 4648), of a PNG or JPEG say")]
            ) from None
    return from_pictures(card, pictures, "#/images", settings)


def from_pictures(card: Card, files: Sequence[bytes], pointer: str, settings: Settings) -> Numbers:
    """Return picture files as inputs (N, …); `pointer` says where in the request they stood."""
    prepare = card.input.picture
    if prepare is None:
        raise Invalid([FieldError(f"{pointer}/0", "this model takes arrays, as inputs, and no pictures")])
    _check_count(files, pointer, settings)
    channels: Literal[1, 3] = 3 if prepare.channels == 3 else 1
    inputs = np.empty((len(files), *card.architecture.input_shape), np.float32)
    errors: list[FieldError] = []
    share = settings.max_pixels // len(files)
    for index, (row, file) in enumerate(zip(inputs, files, strict=True)):
        try:
            picture = decode_picture(file, channels=channels, max_pixels=share)
            row[...] = prepare.prepare(picture).reshape(row.shape)
        except PictureError as error:
            errors.append(FieldError(f"{pointer}/{index}", str(error)))
    if errors:
        raise Invalid(errors)
    return inputs


def _check_rows(count: int, settings: Settings) -> None:
    if count > settings.max_rows:
        text = f"has {count:,} examples; one request takes at most {settings.max_rows:,}"
        raise Invalid([FieldError("#/inputs", text)])


def _pointer_into(row: int, column: str) -> str:
    return pointer_to(column, f"#/inputs/{row}") if column else f"#/inputs/{row}"


def _by_name(categorical: Sequence[str]) -> str:
    names = ", ".join(categorical)
    names = names if len(names) <= MOST_NAMES else f"{names[:MOST_NAMES]} …"
    return f'must be an object by column name, {{"{categorical[0]}": "…", …}}: of texts are {names}'


def _check_count(pictures: Sequence[Any], pointer: str, settings: Settings) -> None:
    most = settings.max_pictures
    if len(pictures) > most:
        text = f"is one of {len(pictures):,} pictures; one request takes at most {most:,}"
        raise Invalid([FieldError(f"{pointer}/{most}", text)])


def _check_range(inputs: Numbers, low: float, high: float) -> None:
    most = inputs.max()
    # Of bytes none is below 0: one pass less.
    least = 0 if inputs.dtype == np.uint8 and low == 0 else inputs.min()
    if least < low or most > high:
        places = np.argwhere((inputs < low) | (inputs > high))[: MOST_ERRORS + 1]
        raise Invalid([_out_of_range(inputs, tuple(place), low, high) for place in places.tolist()])
    # Nothing above a hundredth of the range is the usual mistake of pixels scaled to 0-1.
    if low == 0 and (len(inputs) > 1 or most <= high / 100):
        largest = inputs.reshape(len(inputs), -1).max(axis=1)
        faint = np.flatnonzero((largest > 0) & (largest <= high / 100))
        if len(faint):
            raise Invalid([_too_faint(row, largest[row], high) for row in faint.tolist()])


def _out_of_range(inputs: Numbers, place: tuple[int, ...], low: float, high: float) -> FieldError:
    pointer = f"#/inputs/{'/'.join(map(str, place))}"
    return FieldError(pointer, f"must be from {low:g} to {high:g}, not {inputs[place]:g}")


def _too_faint(row: int, largest: float, high: float) -> FieldError:
    text = f"has no number above {largest:g}, and this model takes 0 to {high:g}"
    return FieldError(f"#/inputs/{row}", f"{text}: if the pixels are scaled to 0-1, send them times {high:g}")
