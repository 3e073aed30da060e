"""Many pictures on one: what augmentation makes of some, a row each, or the first of each class."""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from nncore.augmentation import Augmentation, Augmenter
from nncore.datasets import Dataset, load_dataset
from nncore.errors import InputError, RecipeError
from nncore.files import write_named
from nncore.randomness import stream
from nncore.recipe import Recipe
from nncore.types import Array, ByteArray, FloatArray

# Between two pictures lie so many pixels of this grey.
GAP, GREY = 2, 128
MOST = 100
# What is shown of a dataset: so many classes, pictures of each, and pixels of their longer side.
CLASSES, EXAMPLES, LARGEST = 20, 10, 96
KINDS_OF_PNG = {1: 0, 3: 2}


def write_sheet(recipe: Recipe, path: Path, rows: int, columns: int) -> ByteArray:
    """Write the sheet of a recipe's training pictures, with its seed, as a PNG; return the sheet."""
    pictures = load_dataset(recipe.dataset).train.inputs
    augmentation = recipe.augmentation or Augmentation()
    problem = augmentation.check(pictures.shape[1:])
    if not problem and not augmentation.is_on:
        problem = 'is off; set what the sheet is to show, such as {"rotation": 10, "shift": 2}'
    if problem:
        raise RecipeError({"augmentation": problem})
    sheet = contact_sheet(pictures, augmentation, rows, columns, recipe.seed)
    write_named(path, png(sheet))
    return sheet


def contact_sheet(
    pictures: Array, augmentation: Augmentation, rows: int, columns: int, seed: int
) -> ByteArray:
    """Return a sheet, (height, width) or (height, width, 3), from pictures (N, H, W) or (N, H, W, C).

    The `rows` pictures are taken evenly from all of them, since those of one class often lie together. Each
    is followed by `columns` - 1 distorted ones. Bytes are shown as they are, other numbers from their
    smallest to their largest.
    """
    if not (1 <= rows <= MOST and 1 <= columns <= MOST):
        raise InputError(f"a sheet has 1 to {MOST} rows and columns, not {rows} and {columns}")
    augmenter = Augmenter(augmentation, pictures.shape[1:])
    chosen = np.linspace(0, len(pictures) - 1, min(rows, len(pictures))).round().astype(int)
    originals = _from_0_to_255(pictures[chosen])
    cells = np.repeat(originals[:, None], columns, axis=1)
    rng = stream(seed, "augment")
    for cell, original in zip(cells, originals, strict=True):
        augmenter.apply(np.repeat(original[None], columns - 1, axis=0), rng, cell[1:])
    return _side_by_side(cells.round().astype(np.uint8))


def class_sheet(dataset: Dataset) -> ByteArray:
    """Return a sheet of the first training pictures, a row a class: bytes (N, H, W) or (N, H, W, 3).

    Large pictures are shown by every so-manieth of their pixels. A dataset of values has one row.
    """
    pictures, targets = dataset.train.inputs, dataset.train.targets
    step = math.ceil(max(pictures.shape[1:3]) / LARGEST)
    small = pictures[:, ::step, ::step]
    rows = [np.flatnonzero(targets == number)[:EXAMPLES] for number in range(len(dataset.labels[:CLASSES]))]
    rows = rows or [np.arange(min(EXAMPLES, len(small)))]
    cells = np.full((len(rows), EXAMPLES, *small.shape[1:]), GREY, np.uint8)
    for cell, row in zip(cells, rows, strict=True):
        cell[: len(row)] = small[row]
    return _side_by_side(cells)


def png(picture: ByteArray) -> bytes:
    """Return the PNG file of a picture, (H, W) or (H, W, 3)."""
    height, width, channels = (*picture.shape, 1)[:3]
    header = struct.pack(">IIBBBBB", width, height, 8, KINDS_OF_PNG[channels], 0, 0, 0)
    # Each line begins with how it is filtered: not at all.
    lines = np.pad(picture.reshape(height, -1), ((0, 0), (1, 0)))
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def _from_0_to_255(pictures: Array) -> FloatArray:
    shown: FloatArray = pictures.astype(np.float32)
    if pictures.dtype == np.uint8:
        return shown
    low, high = float(shown.min()), float(shown.max())
    return (shown - low) * np.float32(255 / ((high - low) or 1))


def _side_by_side(cells: ByteArray) -> ByteArray:
    """Return one picture of cells (rows, columns, H, W) or (rows, columns, H, W, C)."""
    rows, columns, height, width, *rest = cells.shape
    channels = rest[0] if rest else 1
    if channels not in KINDS_OF_PNG:
        raise InputError(f"a sheet shows pictures of 1 channel or 3, not {channels}")
    framed = np.pad(
        cells.reshape(rows, columns, height, width, channels),
        [(0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)],
        constant_values=GREY,
    )
    sheet = framed.swapaxes(1, 2).reshape(rows * (height + GAP), columns * (width + GAP), channels)
    sheet = sheet[:-GAP, :-GAP]
    return sheet[..., 0] if channels == 1 else sheet
