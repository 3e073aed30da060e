"""What versions are asked and what they answer, sketched by every worker and read together by any of them."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nncore.types import Array, FloatArray
from service.layout import Layout
from service.sketch import Sketch, read, recent_of
from service.tally import Tally

if TYPE_CHECKING:
    from service.loading import Served

# Of one worker; the one that was not used for longest makes room for another, and its counts go.
MOST_SKETCHES = 200
FOLDER = "sketches"

logger = logging.getLogger(__name__)


class Monitoring:
    """The sketches of this worker's versions, and the way to those of the others."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._sketches: dict[tuple[str, int, str], Sketch] = {}
        self._lock = threading.Lock()

    def record(self, served: "Served", x: Array, outputs: FloatArray) -> None:
        """Count one request: raw inputs (N, …) as the predictor takes them, and its answers (N, K)."""
        sketch = self._sketches.get((served.model, served.version, served.sha256))
        (sketch or self._open(served)).add(x, outputs, time.time())

    def counts(self, served: "Served") -> tuple[float, FloatArray, FloatArray, Layout]:
        """Return since when a version's recent counts are, those, those since the start, and their layout.

        Those of all workers together, and of workers that were.
        """
        now, layout = time.time(), Layout(served.predictor.card)
        since, recent, total = now, np.zeros(layout.size), np.zeros(layout.size)
        for data in self._arrays(served, layout):
            begun, lately, ever = recent_of(data, now)
            since = min(since, begun)
            recent += lately
            total += ever
        return since, recent, total, layout

    def _arrays(self, served: "Served", layout: Layout) -> Iterator[FloatArray]:
        mine = self._sketches.get((served.model, served.version, served.sha256))
        folder = self._folder(served)
        if mine is not None and (mine.file is None or folder is None):
            yield mine.copy()
        for file in folder.glob("*") if folder else ():
            data = read(file, layout)
            if data is not None:
                yield data

    def _open(self, served: "Served") -> Sketch:
        with self._lock:
            key = served.model, served.version, served.sha256
            if key in self._sketches:
                return self._sketches[key]
            if len(self._sketches) >= MOST_SKETCHES:
                idle = min(self._sketches, key=lambda name: self._sketches[name].used)
                self._sketches.pop(idle).drop()
            self._sketches[key] = self._made(served)
            return self._sketches[key]

    def _made(self, served: "Served") -> Sketch:
        layout, now, folder = Layout(served.predictor.card), time.time(), self._folder(served)
        try:
            return Sketch(layout, now, folder / self.tally.place if folder else None)
        except OSError as error:
            logger.warning("what %s answers is counted for one worker alone: %s", served.model, error)
            return Sketch(layout, now)

    def _folder(self, served: "Served") -> Path | None:
        if self.tally.path is None:
            return None
        return self.tally.path / FOLDER / served.model / f"{served.version}-{served.sha256[:12]}"
