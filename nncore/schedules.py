"""Schedules: by what factor the learning rate is scaled as a run goes on."""

import math
from dataclasses import dataclass
from typing import Protocol

from nncore.config import number


class Schedule(Protocol):
    """What `fit` asks of a schedule."""

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the factor at a moment of the run: `epoch` runs from 0 to `epochs`, fractions included."""


@dataclass(frozen=True)
class Constant:
    """The learning rate as it is."""

    def factor(self, epoch: float, epochs: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """Times `gamma` after every `every` epochs."""

    every: int = number(minimum=1)
    gamma: float = number(0.1, above=0, maximum=1)

    def factor(self, epoch: float, epochs: int) -> float:
        """Return gamma to the number of steps done."""
        return float(self.gamma ** (int(epoch) // self.every))


@dataclass(frozen=True)
class Cosine:
    """From 1 down to `final` along half a cosine (Loshchilov & Hutter 2017, without restarts)."""

    final: float = number(0.0, minimum=0, maximum=1)

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the cosine's height, scaled to [final, 1]."""
        return _cosine(1.0, self.final, epoch / epochs)


@dataclass(frozen=True)
class OneCycle:
    """Up from `start` to 1 over the share `warmup` of the run, then down to `final` (Smith 2018)."""

    warmup: float = number(0.25, above=0, below=1)
    start: float = number(0.04, minimum=0, maximum=1)
    final: float = number(0.0001, minimum=0, maximum=1)

    def factor(self, epoch: float, epochs: int) -> float:
        """Return the height of two half cosines laid end to end."""
        progress = epoch / epochs
        if progress < self.warmup:
            return _cosine(self.start, 1.0, progress / self.warmup)
        return _cosine(1.0, self.final, (progress - self.warmup) / (1 - self.warmup))


def _cosine(begin: float, end: float, progress: float) -> float:
    return end + (begin - end) * (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: dict[str, type] = {"constant": Constant, "cosine": Cosine, "one_cycle": OneCycle, "step": Step}
