"""Gradient checks along random directions: two evaluations whatever the number of parameters."""

from collections.abc import Callable

import numpy as np

from nncore.types import FloatArray

# In a value of f, in units of its last place: a network adds up some hundred numbers.
ROUNDINGS = 32


def directional_error(
    function: Callable[[FloatArray], float],
    point: FloatArray,
    gradient: FloatArray,
    rng: np.random.Generator,
    step: float = 1e-6,
) -> float:
    """Return how far the gradient at a point is from the slope measured along one random direction.

    The slope is the central difference (f(p + εd) - f(p - εd)) / 2ε, to be equal to gradient·d; the
    difference, but for what rounding of f explains, is given relative to the larger of the two. Everything in
    float64.
    """
    direction = rng.standard_normal(point.shape)
    direction /= np.linalg.norm(direction) or 1.0
    ahead, behind = function(point + step * direction), function(point - step * direction)
    measured = (ahead - behind) / (2 * step)
    claimed = float(np.sum(gradient * direction))
    rounding = ROUNDINGS * np.finfo(np.float64).eps * (abs(ahead) + abs(behind)) / (2 * step)
    difference = max(abs(measured - claimed) - rounding, 0.0)
    scale = max(abs(measured), abs(claimed))
    return difference / scale if scale > 1e-8 else difference
