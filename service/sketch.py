"""A sketch of what one version was asked and answered: counts of a bounded size, as `layout` has them.

It is one array, in memory or in a file that other workers read.
"""

import mmap
import os
import threading
from pathlib import Path

import numpy as np

from nncore.types import Array, FloatArray
from service.layout import LOOKED_AT, Layout

# What is recent goes back this long at least, and where little comes in three times as long.
RECENT_SECONDS = 86_400.0
# Once there are enough of them, a worker looks at a hundred requests' inputs a second: all would cost every
# request 5 µs and more, and tell no more than these.
ENOUGH, PAUSE_SECONDS = 1000, 0.01
# Before the counts and two earlier copies of them: when each copy was made.
TIMES = 2


class Sketch:
    """The counts of one worker for a version. Threads may add at once; another worker may read meanwhile."""

    def __init__(self, layout: Layout, now: float, file: Path | None = None) -> None:
        self.layout, self.file, self.used = layout, file, now
        self._lock = threading.Lock()
        self._next_look = 0.0
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
            looks = now >= self._next_look or self._items[LOOKED_AT] < ENOUGH
            if looks:
                self._next_look = now + PAUSE_SECONDS
            if len(x) == 1:
                self.layout.count_answer(outputs[0], self._items)
                if looks:
                    self.layout.count_input(x[0], self._items)
            else:
                self.layout.count_answers(outputs, self._total)
                if looks:
                    self.layout.count_inputs(x, self._total)
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


def _mapped(file: Path, size: int) -> mmap.mmap:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+b") as opened:
        # Taken at once: a write into a mapped file on a full disk would kill the worker.
        os.posix_fallocate(opened.fileno(), 0, size)
        return mmap.mmap(opened.fileno(), size)
