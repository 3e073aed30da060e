"""What inputs and answers looked like when a model was made: what those of callers are compared with later.

A card keeps it as aggregates alone, of bounded size: for each column the bins that hold equal shares of the
training rows; of pictures and of tables wider than 64 numbers, those of a few figures an example; and of the
answers to the rows held out the share of each label, and how sure they were.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nncore.config import entries, number
from nncore.types import Array, FloatArray, Shape

# An example of more numbers than this is told by the figures below.
MOST_COLUMNS = 64
FIGURES = ("mean", "deviation", "share of zeros", "largest")
# Deciles are what the population stability index is usually taken on.
BINS = 10
# Fewer rows say too little: the index of a sample compared with itself would be about a bin a row.
FEWEST_ROWS, ROWS_A_BIN = 50, 25
# Those looked at, evenly spread over the dataset; and the numbers in them, where they are all needed at once.
MOST_ROWS, MOST_NUMBERS = 10_000, 4 << 20
# Significant digits of a bin's edge, seen against the spread of all: more would be somebody's own value.
DIGITS = 3
MOST_LABELS = 1000


def _between(fewest: int, most: int) -> Any:
    return dataclasses.field(metadata={"lengths": ((fewest, most),)})


@dataclass(frozen=True)
class Distribution:
    """How numbers are spread: `shares[i]` of them lie from `edges[i - 1]` on and below `edges[i]`."""

    mean: float
    edges: tuple[float, ...] = _between(1, BINS - 1)
    shares: tuple[float, ...] = _between(2, BINS)
    deviation: float = number(minimum=0)


@dataclass(frozen=True)
class Reference:
    """Of `rows` training rows the inputs, as `features` has them; of `held_out` others the answers.

    Of classes these are the share of each label in the order of the output's, and of confidences the share
    in each tenth from 0 to 1; of a regression the values. All empty where too few rows were held out.
    """

    rows: int = number(minimum=FEWEST_ROWS)
    inputs: tuple[Distribution, ...] = _between(1, MOST_COLUMNS)
    held_out: int = number(0, minimum=0)
    labels: tuple[float, ...] = entries(MOST_LABELS)
    confidence: tuple[float, ...] = entries(BINS)
    values: tuple[Distribution, ...] = entries(MOST_COLUMNS)


def refer(inputs: Array, outputs: FloatArray, kind: str) -> Reference | None:
    """Return the reference of raw training inputs (N, …) and of what is answered to rows held out, (M, K).

    None where the rows are too few to compare anything with.
    """
    if len(inputs) < FEWEST_ROWS:
        return None
    some = spread(inputs)
    known = Reference(len(some), _distributions(some))
    if len(outputs) < FEWEST_ROWS:
        return known
    if kind == "regression":
        return dataclasses.replace(known, held_out=len(outputs), values=_distributions(outputs))
    if outputs.shape[1] > MOST_LABELS:
        return known
    labels = np.bincount(outputs.argmax(axis=1), minlength=outputs.shape[1])
    confidence = np.bincount(tenth(outputs.max(axis=1)), minlength=BINS)
    return dataclasses.replace(
        known, held_out=len(outputs), labels=_shares(labels), confidence=_shares(confidence)
    )


def spread(rows: Array, most_numbers: int | None = None) -> Array:
    """Return at most 10,000 rows (N, …), evenly spread over all, and no more numbers than that."""
    width = max(1, math.prod(rows.shape[1:]))
    most = MOST_ROWS if most_numbers is None else min(MOST_ROWS, max(1, most_numbers // width))
    return rows[:: -(-len(rows) // most)] if len(rows) > most else rows


def features(x: Array) -> FloatArray:
    """Return what is looked at of examples (N, …), as (N, F): their numbers, or of many four figures."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    width = flat.shape[1]
    if width <= MOST_COLUMNS:
        return flat
    return np.array([_figures(row) for row in flat])


def features_of_one(example: Array) -> Sequence[float]:
    """Return what `features` does of one example, in a third of the time."""
    flat = example.reshape(-1)
    return flat.tolist() if len(flat) <= MOST_COLUMNS else _figures(flat.astype(np.float64))


def _figures(row: FloatArray) -> tuple[float, float, float, float]:
    # As products: a fraction of a reduction's time.
    width = len(row)
    mean = float(row.dot(_ones(width))) / width
    # Rounding may leave a constant row's a little below zero.
    deviation = math.sqrt(max(float(row.dot(row)) / width - mean * mean, 0.0))
    return mean, deviation, 1 - np.count_nonzero(row) / width, float(row.max())


@functools.lru_cache(maxsize=8)
def _ones(width: int) -> FloatArray:
    return np.ones(width)


def count_features(shape: Shape) -> int:
    """Return how many features examples of a shape have."""
    width = math.prod(shape)
    return width if width <= MOST_COLUMNS else len(FIGURES)


def edges_of(distributions: Sequence[Distribution]) -> FloatArray:
    """Return the edges as (F, 9), filled up with infinity."""
    edges = np.full((len(distributions), BINS - 1), np.inf)
    for row, one in zip(edges, distributions, strict=True):
        row[: len(one.edges)] = one.edges
    return edges


def bins_of(values: FloatArray, edges: FloatArray) -> Array:
    """Return in which bin each value lies: values (N, F), edges (F, 9), bins (N, F)."""
    bins: Array = np.add.reduce(values[:, :, None] >= edges, axis=2, dtype=np.intp)
    return bins


def tenth(shares: FloatArray) -> Array:
    """Return in which tenth from 0 to 1 each share lies, 1 in the last."""
    tenths: Array = (shares * BINS).astype(np.intp)
    return np.minimum(tenths, BINS - 1, out=tenths)


def reference_problem(known: Reference, shape: Shape, kind: str, labels: int) -> str | None:
    """Return what is wrong with a reference that somebody else has written down, None where nothing is."""
    if len(known.inputs) != count_features(shape):
        return f"inputs: {len(known.inputs)} of them, where examples have {count_features(shape)} features"
    if (known.values and kind != "regression") or ((known.labels or known.confidence) and not labels):
        return f"answers of another kind than {kind}"
    if len(known.labels) not in (0, labels) or len(known.confidence) not in (0, BINS):
        return f"labels: {len(known.labels)} shares and {len(known.confidence)} of confidence"
    if bool(known.labels) != bool(known.confidence):
        return "labels and confidence: one of them is missing"
    if bool(known.labels or known.values) != bool(known.held_out):
        return f"held_out: {known.held_out} rows"
    for one in (*known.inputs, *known.values):
        if len(one.shares) != len(one.edges) + 1:
            return f"{len(one.edges)} edges and {len(one.shares)} shares"
        if any(low >= high for low, high in zip(one.edges, one.edges[1:], strict=False)):
            return "edges that do not rise"
    all_shares = [one.shares for one in (*known.inputs, *known.values)] + [known.labels, known.confidence]
    if not all(_are_shares(shares) for shares in all_shares if shares):
        return "shares that are below 0, or do not add up to 1"
    return None


def _distributions(x: Array) -> tuple[Distribution, ...]:
    # Examples may be large: some at a time.
    step = max(1, (1 << 20) // max(1, math.prod(x.shape[1:])))
    parts = [features(x[start : start + step]) for start in range(0, len(x), step)]
    return tuple(map(_distribution, np.concatenate(parts).T))


def _distribution(values: FloatArray) -> Distribution:
    edges = _edges(values, min(BINS, len(values) // ROWS_A_BIN))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    mean, deviation = (float(f"{figure:.6g}") for figure in (values.mean(), values.std()))
    return Distribution(mean, tuple(edges.tolist()), _shares(counts), deviation)


def _edges(values: FloatArray, bins: int) -> FloatArray:
    distinct = np.unique(values)
    if len(distinct) == 1:
        # Whatever else comes lies in another bin than all that was seen.
        near = max(abs(float(distinct[0])), 1.0) * 1e-3
        return np.array([distinct[0] - near, distinct[0] + near])
    if len(distinct) <= bins:
        between: FloatArray = (distinct[1:] + distinct[:-1]) / 2
        return between
    edges = np.quantile(values, np.arange(1, bins) / bins)
    size = (edges[-1] - edges[0]) or (distinct[-1] - distinct[0])
    rounded: FloatArray = np.unique(np.round(edges, DIGITS - math.floor(math.log10(size))))
    return rounded


def _shares(counts: Array) -> tuple[float, ...]:
    return tuple((counts / counts.sum()).round(6).tolist())


def _are_shares(shares: Sequence[float]) -> bool:
    return min(shares) >= 0 and abs(sum(shares) - 1) < 1e-3
