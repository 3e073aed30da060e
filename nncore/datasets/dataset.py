"""What a dataset is, and how rows are held out of it."""

import hashlib
from dataclasses import dataclass

import numpy as np

from nncore.columns import Column
from nncore.errors import DatasetError
from nncore.preprocessing import Picture
from nncore.types import Array


@dataclass(frozen=True)
class Split:
    """Inputs (N, …) and their targets: (N,) class numbers, or (N, K) values."""

    inputs: Array
    targets: Array

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise DatasetError(f"{len(self.inputs)} inputs but {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Array) -> "Split":
        """Return the split of the given rows only."""
        return Split(self.inputs[rows], self.targets[rows])


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test rows under a name and a SHA-256.

    `labels` names the classes in the order of their numbers, and is empty for a regression.
    `input_range` is the smallest and largest value an input may have, None where there is no bound.
    `picture` is how a picture becomes an input, None where none can; `columns` is how a row by column name
    does, and empty where none can. `note` is what a reader of a card must know about figures measured on
    this dataset. `is_private` tells that its rows are somebody's own, and not to be shown to others.
    """

    name: str
    sha256: str
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...] = ()
    input_range: tuple[float, float] | None = None
    picture: Picture | None = None
    columns: tuple[Column, ...] = ()
    note: str = ""
    is_private: bool = False


def digest(*arrays: Array) -> str:
    """Return the SHA-256 of arrays: their shapes, dtypes and contents, little-endian."""
    sha = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{little.dtype.str}{little.shape}".encode())
        sha.update(little.tobytes())
    return sha.hexdigest()


def hold_out(split: Split, fraction: float) -> tuple[Split, Split]:
    """Return the split without a share of its rows, and those rows.

    Which rows depends on the data's SHA-256 alone, never on a seed: two runs on one dataset hold out
    the same rows, so their figures can be compared.
    """
    held = round(len(split) * fraction)
    if not 0 < held < len(split):
        raise DatasetError(f"{fraction} of {len(split)} rows leaves {held} to validate on: at least 1 each")
    seed = int(digest(split.inputs, split.targets)[:16], 16)
    order = np.random.default_rng(seed).permutation(len(split))
    # Sorted, so that both parts keep the order of the rows.
    return split.take(np.sort(order[held:])), split.take(np.sort(order[:held]))
