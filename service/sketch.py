"""A sketch of what one version was asked and what it answered: sums and counts of a bounded size.

It is one array, in memory or in a file that other workers read. What it holds is aggregates alone.
"""

import math
import mmap
import os
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

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

# What is recent goes back this long at least, and where little comes in three times as long.
RECENT_SECONDS = 86_400.0
# Examples of one request whose inputs are looked at; its answers are all counted.
MOST_LOOKED_AT = 64

# Where in the array: requests, answers, examples looked at, the sum of confidences.
REQUESTS, ROWS, LOOKED_AT, CONFIDENCE, FIXED = range(5)
# When each of two earlier copies of the counts was made.
TIMES = 2


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

    def count(self, x: Array, outputs: FloatArray, counts: FloatArray) -> None:
        """Count a request: raw inputs x (N, …), and what a caller gets for them (N, K)."""
        looked_at = x[:: -(-len(x) // MOST_LOOKED_AT)]
        counts[REQUESTS] += 1
        counts[ROWS] += len(x)
        if self.inputs.count(features(looked_at), counts):
            counts[LOOKED_AT] += len(looked_at)
        if self.values is not None:
            self.values.count(features(outputs), counts)
            return
        sure = outputs.max(axis=1)
        counts[CONFIDENCE] += sure.sum(dtype=np.float64)
        _add(counts, self.confidence, tenth(sure))
        if self.confidence > self.labels:
            _add(counts, self.labels, outputs.argmax(axis=1))

    def count_one(self, example: Array, answer: FloatArray, counts: "memoryview[float]") -> None:
        """Count a request of one example, (…), and its answer, (K,)."""
        counts[REQUESTS] += 1.0
        counts[ROWS] += 1.0
        if self.inputs.count_one(features_of_one(example), counts):
            counts[LOOKED_AT] += 1.0
        if self.values is not None:
            self.values.count_one(features_of_one(answer), counts)
            return
        best = int(answer.argmax())
        sure = float(answer[best])
        counts[CONFIDENCE] += sure
        counts[self.confidence + min(int(answer[best] * BINS), BINS - 1)] += 1.0
        if self.confidence > self.labels:
            counts[self.labels + best] += 1.0


class Sketch:
    """The counts of one worker for a version. Threads may add at once; another worker may read meanwhile."""

    def __init__(self, layout: Layout, now: float, file: Path | None = None) -> None:
        self.layout, self.file, self.used = layout, file, now
        self._lock = threading.Lock()
        size = 8 * (TIMES + 3 * layout.size)
        room = _mapped(file, size) if file else bytearray(size)
        self._all: FloatArray = np.frombuffer(room)
        self._total = self._all[TIMES : TIMES + layout.size]
        self._items = memoryview(room).cast("d")[TIMES : TIMES + layout.size]
        if not self._all[0]:
            self._all[:TIMES] = now

    def add(self, x: Array, outputs: FloatArray, now: float) -> None:
        """Count one request."""
        with self._lock:
            if now - self._all[1] > RECENT_SECONDS:
                roll(self._all, now)
            if len(x) == 1:
                self.layout.count_one(x[0], outputs[0], self._items)
            else:
                self.layout.count(x, outputs, self._total)
        self.used = now

    def copy(self) -> FloatArray:
        """Return the array as it is, for `recent_of`."""
        return self._all.copy()

    def drop(self) -> None:
        """Remove the file; whoever still adds adds to nothing."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def read(file: Path, layout: Layout) -> FloatArray | None:
    """Return another worker's array, None where the file is none of this layout."""
    data = np.fromfile(file)
    return data if len(data) == TIMES + 3 * layout.size and data[0] else None


def roll(data: FloatArray, now: float) -> None:
    """Make the newer copy the older one, and a new one of the counts, where it is a day old."""
    total, older, newer = data[TIMES:].reshape(3, -1)
    age = now - data[1]
    if age > 2 * RECENT_SECONDS:
        # Whatever came since then came in the first of these days, or there would be a newer copy.
        older[...], data[0] = total, now
        newer[...], data[1] = total, now
    elif age > RECENT_SECONDS:
        older[...], data[0] = newer, data[1]
        newer[...], data[1] = total, now


def recent_of(data: FloatArray, now: float) -> tuple[float, FloatArray, FloatArray]:
    """Return since when what is recent was counted, its counts, and those since the start."""
    roll(data, now)
    total, older, _ = data[TIMES:].reshape(3, -1)
    return float(data[0]), total - older, total


def _add(counts: FloatArray, start: int, places: Array) -> None:
    found = np.bincount(places)
    counts[start : start + len(found)] += found


def _mapped(file: Path, size: int) -> mmap.mmap:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as opened:
        # Taken at once: a write into a mapped file on a full disk would kill the worker.
        os.posix_fallocate(opened.fileno(), 0, size)
        return mmap.mmap(opened.fileno(), size)
