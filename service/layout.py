"""What is counted of a version's requests, and where in an array: the same in every worker, and no input."""

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from nncore.artifact import Card
from nncore.reference import (
    BINS,
    MOST_LABELS,
    Distribution,
    bins_of,
    count_features,
    edges_of,
    features,
    features_of_one,
    tenth,
)
from nncore.types import Array, FloatArray

# Examples of one request whose inputs are looked at; its answers are all counted.
MOST_LOOKED_AT = 64

# Requests, answers, examples looked at, the sum of confidences; then inputs and answers.
REQUESTS, ROWS, LOOKED_AT, CONFIDENCE, FIXED = range(5)


class Part:
    """Where a group of features is counted: its bins (none without a reference), and sums and squares.

    Those are of the difference from the reference's mean, so that they lose no digits.
    """

    def __init__(self, known: Sequence[Distribution], width: int, start: int) -> None:
        self.edges = edges_of(known) if known else None
        self.bounds = [list(one.edges) for one in known]
        self.means = [one.mean for one in known] or [0.0] * width
        self.start = start
        self.sums = start + len(known) * BINS
        self.squares = self.sums + width
        self.end = self.squares + width

    def count(self, values: FloatArray, counts: FloatArray) -> bool:
        """Count values (N, F), unless their squares are not finite; tell whether it did."""
        away = values - self.means
        squares = np.einsum("ij,ij->j", away, away)
        if not math.isfinite(squares.sum()):
            return False
        if self.edges is not None:
            bins = bins_of(values, self.edges) + np.arange(self.start, self.sums, BINS)
            counts += np.bincount(bins.ravel(), minlength=len(counts))
        counts[self.sums : self.squares] += away.sum(axis=0)
        counts[self.squares : self.end] += squares
        return True

    def count_one(self, values: Sequence[float], counts: "memoryview[float]") -> bool:
        """Count one example's values: as `count` does, without its dozen calls of NumPy."""
        away = [value - mean for value, mean in zip(values, self.means, strict=True)]
        squares = [one * one for one in away]
        if not math.isfinite(sum(squares)):
            return False
        place = self.start
        for value, bounds in zip(values, self.bounds, strict=False):
            counts[place + bisect_right(bounds, value)] += 1.0
            place += BINS
        for place, difference, square in zip(range(len(away)), away, squares, strict=True):
            counts[self.sums + place] += difference
            counts[self.squares + place] += square
        return True


class Layout:
    """What is counted for a card, and where: the same in every worker."""

    def __init__(self, card: Card) -> None:
        known, width = card.reference, len(card.output.labels)
        shape = card.architecture.input_shape
        self.inputs = Part(known.inputs if known else (), count_features(shape), FIXED)
        self.labels = self.confidence = self.inputs.end
        self.values: Part | None = None
        if card.output.kind == "regression":
            columns = count_features(np.shape(card.known_answers.outputs)[1:])
            self.values = Part(known.values if known else (), columns, self.labels)
            self.size = self.values.end
        else:
            self.confidence += width if width <= MOST_LABELS else 0
            self.size = self.confidence + BINS

    def count_inputs(self, x: Array, counts: FloatArray) -> None:
        """Count some of the raw inputs x: (N, …)."""
        looked_at = x[:: -(-len(x) // MOST_LOOKED_AT)]
        if self.inputs.count(features(looked_at), counts):
            counts[LOOKED_AT] += len(looked_at)

    def count_input(self, example: Array, counts: "memoryview[float]") -> None:
        """Count one raw input: (…)."""
        if self.inputs.count_one(features_of_one(example), counts):
            counts[LOOKED_AT] += 1.0

    def count_answers(self, outputs: FloatArray, counts: FloatArray) -> None:
        """Count a request by what a caller gets: (N, K)."""
        counts[REQUESTS] += 1
        counts[ROWS] += len(outputs)
        if self.values is not None:
            self.values.count(features(outputs), counts)
            return
        sure = outputs.max(axis=1)
        counts[CONFIDENCE] += sure.sum(dtype=np.float64)
        _add(counts, self.confidence, tenth(sure))
        if self.confidence > self.labels:
            _add(counts, self.labels, outputs.argmax(axis=1))

    def count_answer(self, answer: FloatArray, counts: "memoryview[float]") -> None:
        """Count a request of one example by its answer: (K,)."""
        counts[REQUESTS] += 1.0
        counts[ROWS] += 1.0
        if self.values is not None:
            self.values.count_one(features_of_one(answer), counts)
            return
        best = int(answer.argmax())
        sure = float(answer[best])
        counts[CONFIDENCE] += sure
        counts[self.confidence + min(int(answer[best] * BINS), BINS - 1)] += 1.0
        if self.confidence > self.labels:
            counts[self.labels + best] += 1.0


def _add(counts: FloatArray, start: int, places: Array) -> None:
    found = np.bincount(places)
    counts[start : start + len(found)] += found
