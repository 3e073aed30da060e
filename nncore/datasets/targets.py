"""Targets as a network learns them: class numbers with their labels, or values."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nncore.columns import text_problem
from nncore.config import shorten
from nncore.datasets.sources import CLASSIFICATION, REGRESSION
from nncore.errors import DatasetError
from nncore.types import Array, IntArray

# Whole numbers of so many different kinds at most are taken for classes.
FEW = 20
# Classes at most: an output each.
MOST_CLASSES = 1000
# The squares of larger values, all rows added up, do not fit into 32 bits, and no loss could be told.
LARGEST = 1e15


@dataclass(frozen=True)
class Targets:
    """(N,) class numbers, int64, with the labels in their order; or (N, K) values, float32, and no labels."""

    array: Array
    labels: tuple[str, ...] = ()

    @property
    def classes(self) -> IntArray | None:
        """Return the class numbers, None where these are values."""
        return self.array if self.labels else None


def targets_of(values: Array, task: str | None, what: str) -> Targets:
    """Return numbers, texts or truths, (N,) or (N, K), as targets of a task; None has them tell which.

    Texts are classes; so are whole numbers where there are at most 20 different ones, unless they are said
    to be values. `what` is how errors call them. Raises DatasetError where a class has one example, where
    all rows have the same target, or there are more classes than 1,000.
    """
    if values.ndim > 1 or task == REGRESSION or (task != CLASSIFICATION and not _are_classes(values)):
        return _as_values(values, task, what)
    _check_finite(values, what)
    if values.dtype.kind == "U" and np.ascontiguousarray(values).view(np.uint32).max() > sys.maxunicode:
        # NumPy fails with SystemError on such a letter.
        raise DatasetError(f"{what}: holds a text that is not Unicode")
    distinct, numbers = np.unique(values, return_inverse=True)
    labels = tuple(map(_label, distinct[: MOST_CLASSES + 1]))
    return _as_classes(numbers, labels, what, _or_values(values))


def texts_of(codes: Array, texts: Sequence[str], what: str) -> Targets:
    """Return texts, each given by its place among all different ones, as classes in alphabetical order."""
    order = sorted(range(len(texts)), key=texts.__getitem__)
    places = np.empty(len(texts), np.int64)
    places[order] = np.arange(len(texts))
    return _as_classes(places[codes], tuple(texts[place] for place in order), what)


def _as_classes(numbers: IntArray, labels: tuple[str, ...], what: str, hint: str = "") -> Targets:
    if len(labels) > MOST_CLASSES:
        raise DatasetError(
            f"{what} has more than {MOST_CLASSES:,} different classes, and no more can be told apart{hint}"
        )
    if len(labels) == 1:
        raise DatasetError(f"{what} is {shorten(labels[0])} in every row: there is nothing to learn")
    for label in labels:
        if problem := text_problem(label):
            raise DatasetError(f"{what}: the class {shorten(label)} {problem}")
    counts = np.bincount(numbers)
    if counts.min() == 1:
        rare = int(counts.argmin())
        row = int(np.flatnonzero(numbers == rare)[0]) + 1
        raise DatasetError(
            f"{what}: the class {shorten(labels[rare])} has one example (row {row:,}), and needs two or "
            f"more: add some, or leave it out{hint}"
        )
    return Targets(numbers.astype(np.int64), labels)


def _are_classes(values: Array) -> bool:
    if values.dtype.kind not in "fiu":
        return True
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) <= FEW


def _as_values(values: Array, task: str | None, what: str) -> Targets:
    if values.dtype.kind not in "fiu" or values.ndim > 2 or task == CLASSIFICATION:
        kind = "class numbers or texts (N,)" if task == CLASSIFICATION else "numbers, (N,) or (N, K)"
        raise DatasetError(f"{what} must be {kind}, not {values.dtype.name} of shape {values.shape}")
    with np.errstate(over="ignore"):
        array = values.astype(np.float32).reshape(len(values), -1)
    _check_finite(array, what)
    if (large := np.abs(array).max(axis=1) > LARGEST).any():
        row = int(large.argmax()) + 1
        raise DatasetError(
            f"{what}, row {row:,}: must be from {-LARGEST:g} to {LARGEST:g}: give it in a larger unit"
        )
    if (array == array[0]).all():
        raise DatasetError(f"{what} is {array[0, 0]:g} in every row: there is nothing to learn")
    return Targets(array)


def _check_finite(values: Array, what: str) -> None:
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        row = int(finite.reshape(len(values), -1).all(axis=1).argmin()) + 1
        raise DatasetError(f"{what}, row {row:,}: must be finite, in 32 bits")


def _label(value: object) -> str:
    # As many digits as tell it from all others; none behind the point of a whole number, and no -0.
    return str(value + 0).removesuffix(".0") if isinstance(value, np.floating) else str(value)


def _or_values(values: Array) -> str:
    return '; if these are values, say "task": "regression"' if values.dtype.kind in "fiu" else ""
