"""A stopwatch for the parts of what is done again and again, and how fast the machine itself is."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

# A product of so many rows and columns is as quick as any, and takes a few milliseconds.
PEAK_SIDE = 512
PEAK_SECONDS = 0.2
FEWEST_PASSES = 3


class Stopwatch:
    """Measures how long each part takes, in one pass after another; parts are known by their names."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = defaultdict(float)
        self._calls = 0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with the time that it takes counted as the part's."""
        clock = time.perf_counter

        def run(*arguments: Any, **keywords: Any) -> Any:
            self._calls += 1
            began = clock()
            result = function(*arguments, **keywords)
            self._spent[part] += clock() - began
            return result

        return run

    def measure(self, whole: Callable[[], object], seconds: float, rest: str = "rest") -> dict[str, float]:
        """Do the whole again and again, for so long; return the median seconds of each part, and of the rest.

        Parts are those that were done, in the order in which they were first ended.
        """
        own = self._measure_itself()
        whole()
        passes: list[list[float]] = []
        ends = time.perf_counter() + seconds
        while len(passes) < FEWEST_PASSES or time.perf_counter() < ends:
            self._spent.clear()
            self._calls = 0
            began = time.perf_counter()
            whole()
            took = time.perf_counter() - began
            parts = [*self._spent.values()]
            passes.append([*parts, max(0.0, took - sum(parts) - self._calls * own)])
        return dict(zip((*self._spent, rest), np.median(passes, axis=0).tolist(), strict=True))

    def _measure_itself(self) -> float:
        """Return what a call costs that is counted as nobody's: half a microsecond."""
        nothing = self.timed("nothing", lambda: None)
        costs = []
        for _ in range(1000):
            before, began = self._spent["nothing"], time.perf_counter()
            nothing()
            costs.append(time.perf_counter() - began - (self._spent["nothing"] - before))
        self._spent.clear()
        return float(np.median(costs))


class Timed:
    """A thing that does what it did, but for the methods given in place of its own."""

    def __init__(self, thing: Any, **methods: Callable[..., Any]) -> None:
        self._thing = thing
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def peak() -> float:
    """Return how many multiply-adds a second a large float32 matrix product reaches here and now."""
    square = np.random.default_rng(0).random((PEAK_SIDE, PEAK_SIDE), np.float32)
    room = np.empty_like(square)
    best, ends = np.inf, time.perf_counter() + PEAK_SECONDS
    while time.perf_counter() < ends:
        began = time.perf_counter()
        np.matmul(square, square, out=room)
        best = min(best, time.perf_counter() - began)
    return PEAK_SIDE**3 / best
