"""How many inferences each version has answered, how many failed, and the time they took: of all workers.

The counters lie in memory that the workers share, made before they fork. They begin at zero with the service,
and a worker that dies takes none with it.
"""

import fcntl
import mmap
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nncore.types import Array

# Versions counted at once; the one asked longest ago makes room for another.
MOST_VERSIONS = 1024
# A model's name has at most 64 characters, a version's number at most 9.
_KEY = np.dtype("S80")
_COUNTERS = 10
LAST_MS, INFERENCES, EXECUTIONS, SUCCESSES, SUCCESS_NS = range(5)
FAILURES, FAILURE_NS, INPUT_NS, INFER_NS, OUTPUT_NS = range(5, _COUNTERS)


class Watch:
    """Takes the times of one request: `lap` after each of its parts, input, inference and output."""

    def __init__(self) -> None:
        self.began = time.perf_counter_ns()
        self.laps: list[int] = []
        self.rows = 0

    def lap(self) -> None:
        """Note that a part has ended."""
        self.laps.append(time.perf_counter_ns())

    def counted(self) -> list[int]:
        """Return what the request adds to the counters."""
        took = time.perf_counter_ns() - self.began
        if len(self.laps) < 3:
            return [0, 0, 0, 0, 0, 1, took, 0, 0, 0]
        read, answered, written = self.laps
        parts = read - self.began, answered - read, written - answered
        return [0, self.rows, 1, 1, took, 0, 0, *parts]


class Statistics:
    """Counters by model and version."""

    def __init__(self) -> None:
        room = mmap.mmap(-1, MOST_VERSIONS * (_KEY.itemsize + 8 * _COUNTERS))
        end = MOST_VERSIONS * _KEY.itemsize
        self._keys = np.frombuffer(room, _KEY, MOST_VERSIONS)
        self._counters: Array = np.frombuffer(room, np.int64, offset=end).reshape(MOST_VERSIONS, _COUNTERS)
        # The kernel takes a file's lock back from a process that dies. Threads share it, and need their own.
        self._file, path = tempfile.mkstemp()
        Path(path).unlink()
        weakref.finalize(self, os.close, self._file)
        self._threads = threading.Lock()
        self._places: dict[bytes, int] = {}

    @contextmanager
    def request(self, model: str, version: int) -> Iterator[Watch]:
        """Count a request; one that does not come to its last lap has failed."""
        watch = Watch()
        try:
            yield watch
        finally:
            self._add(f"{model}/{version}".encode(), watch.counted())

    def of(self, model: str, version: int | None = None) -> list[dict[str, Any]]:
        """Return the statistics of a model's versions that were asked, or of one, which may not have been."""
        with self._locked():
            found = {
                int(key.rpartition(b"/")[2]): counters
                for key, counters in zip(self._keys.tolist(), self._counters.tolist(), strict=True)
                if key.rpartition(b"/")[0] == model.encode()
            }
        if version is not None:
            found = {version: found.get(version, [0] * _COUNTERS)}
        return [_document(model, number, found[number]) for number in sorted(found)]

    def _add(self, key: bytes, counted: list[int]) -> None:
        with self._locked():
            place = self._places.get(key)
            if place is None or self._keys[place] != key:
                place = self._places[key] = self._place(key)
            self._counters[place] += counted
            self._counters[place, LAST_MS] = int(time.time() * 1000)

    def _place(self, key: bytes) -> int:
        """Return where a version is counted, which another worker may have decided."""
        places = np.flatnonzero(self._keys == key)
        if len(places):
            return int(places[0])
        place = int(self._counters[:, LAST_MS].argmin())
        self._counters[place] = 0
        self._keys[place] = key
        return place

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


def _document(model: str, version: int, counters: list[int]) -> dict[str, Any]:
    successes = counters[SUCCESSES]

    def part(place: int) -> dict[str, int]:
        return {"count": successes, "ns": counters[place]}

    return {
        "name": model,
        "version": str(version),
        "last_inference": counters[LAST_MS],
        "inference_count": counters[INFERENCES],
        "execution_count": counters[EXECUTIONS],
        "inference_stats": {
            "success": part(SUCCESS_NS),
            "fail": {"count": counters[FAILURES], "ns": counters[FAILURE_NS]},
            "compute_input": part(INPUT_NS),
            "compute_infer": part(INFER_NS),
            "compute_output": part(OUTPUT_NS),
        },
    }
