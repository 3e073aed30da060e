"""What a dataset is, in figures: rows, columns, classes, and the first rows as a person reads them."""

from typing import Any

import numpy as np

from nncore.columns import decode_rows
from nncore.datasets.dataset import Dataset
from nncore.datasets.sources import CLASSIFICATION, REGRESSION
from nncore.types import Array

FIRST_ROWS = 5
# Numbers of a first row that are shown; of pictures there is a sheet instead.
MOST_NUMBERS = 100
FIGURES = ("min", "max", "mean", "deviation")
# Rows whose float64 are worked out at once: those of a large table would take twice its memory.
BLOCK = 4096


def summarize(dataset: Dataset) -> dict[str, Any]:
    """Return what is worth knowing of a dataset, as JSON; figures and first rows are of the training part."""
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    about: dict[str, Any] = {
        "task": CLASSIFICATION if dataset.labels else REGRESSION,
        "rows": {name: len(part) for name, part in parts.items()},
        "input_shape": list(dataset.train.inputs.shape[1:]),
        "columns": _columns(dataset),
    }
    if dataset.labels:
        counts = {n: np.bincount(part.targets, minlength=len(dataset.labels)) for n, part in parts.items()}
        about["classes"] = [
            {"label": label} | {name: int(count[number]) for name, count in counts.items()}
            for number, label in enumerate(dataset.labels)
        ]
    else:
        about["target"] = _shown(_figures(dataset.train.targets.reshape(-1, 1))[0])
    if dataset.picture is None:
        about["first"] = _first(dataset)
    return about


def _columns(dataset: Dataset) -> list[dict[str, Any]]:
    if not dataset.columns:
        return []
    columns: list[dict[str, Any]] = []
    start, inputs = 0, dataset.train.inputs
    figures = _figures(inputs)
    for column in dataset.columns:
        here = figures[start : start + column.width]
        start += column.width
        if column.categories:
            counts = [round(found["mean"] * len(inputs)) for found in here]
            categories = dict(zip(column.categories, counts, strict=True))
            columns.append({"name": column.name, "kind": "categorical", "categories": categories})
        else:
            columns.append({"name": column.name, "kind": "numeric"} | _shown(here[0]))
    return columns


def _figures(numbers: Array) -> list[dict[str, float]]:
    """Return the figures of each column of (N, D) numbers, a block of rows after the other."""
    starts = range(0, len(numbers), BLOCK)
    mean = numbers.mean(axis=0, dtype=np.float64)
    squares = sum(np.square(numbers[start : start + BLOCK] - mean).sum(axis=0) for start in starts)
    found = (numbers.min(axis=0), numbers.max(axis=0), mean, np.sqrt(squares / len(numbers)))
    return [dict(zip(FIGURES, values, strict=True)) for values in np.stack(found, axis=1).tolist()]


def _shown(figures: dict[str, float]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in figures.items()}


def _first(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the first rows: columns by name, or as many numbers as are shown; and the target."""
    few = dataset.train.inputs[:FIRST_ROWS]
    rows: list[Any] = decode_rows(dataset.columns, few) if dataset.columns else _flat(few)
    targets = dataset.train.targets[:FIRST_ROWS].tolist()
    if dataset.labels:
        shown: list[Any] = [dataset.labels[number] for number in targets]
    else:
        shown = [_rounded(values[0]) if len(values) == 1 else [*map(_rounded, values)] for values in targets]
    return [{"inputs": row, "target": target} for row, target in zip(rows, shown, strict=True)]


def _flat(inputs: Array) -> list[list[float]]:
    return [[_rounded(x) for x in row] for row in inputs.reshape(len(inputs), -1)[:, :MOST_NUMBERS].tolist()]


def _rounded(value: Any) -> float:
    """As many digits as a float32 has."""
    return float(f"{float(value):.7g}")
