"""How far what comes now is from what a model was made from: the population stability index.

PSI = Σ (aᵢ − eᵢ) · ln(aᵢ / eᵢ) over the bins, of the shares now and then: a symmetric sum of two
Kullback-Leibler divergences. N. Siddiqi, Credit Risk Scorecards (Wiley, 2006), has the usual reading: below
0.1 little has changed, from 0.25 on much. For two samples of one population, n and m rows in B bins, it is
distributed as (1/n + 1/m) · χ² with B − 1 degrees of freedom (B. Yurdakul and J. Naranjo, Statistical
properties of the population stability index, Journal of Risk Model Validation 14/4, 2020): so few rows have a
high index by chance alone, and none is given while that could be 0.25.
"""

import math
from collections.abc import Sequence

import numpy as np

from nncore.types import Array

SOME, MUCH = 0.1, 0.25
# What is added to every bin, so that an empty one has a logarithm.
HALF = 0.5
# The standard normal's 999th of 1000.
UNLIKELY = 3.09


def psi(counts: Array, shares: Sequence[float], rows: int) -> float | None:
    """Return the index of counts now against the shares of `rows` rows, None where either are too few."""
    total, least = counts.sum(), fewest_rows(shares, rows)
    if least is None or total < least:
        return None
    now = (counts + HALF) / (total + HALF * len(shares))
    then = (np.asarray(shares) * rows + HALF) / (rows + HALF * len(shares))
    return float(np.sum((now - then) * np.log(now / then)))


def chance(shares: Sequence[float], rows: int, now: float) -> float:
    """Return what the index is above once in a thousand times where nothing has changed, of `now` rows."""
    return _quantile(shares) * (1 / now + 1 / rows)


def fewest_rows(shares: Sequence[float], rows: int) -> int | None:
    """Return how many rows have to come before there is an index, None where the reference has too few."""
    left = MUCH / _quantile(shares) - 1 / rows
    return math.ceil(1 / left) if left > 1e-9 else None


def level(index: float, by_chance: float) -> str:
    """Return an index in a word."""
    return "little" if index < max(SOME, by_chance) else "some" if index < MUCH else "much"


def _quantile(shares: Sequence[float]) -> float:
    """Return the 999th of 1000 of χ², by E. Wilson and M. Hilferty's cube (1931)."""
    freedom = max(1, sum(share > 0 for share in shares) - 1)
    return freedom * (1 - 2 / (9 * freedom) + UNLIKELY * math.sqrt(2 / (9 * freedom))) ** 3
