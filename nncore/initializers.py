"""First weights, drawn so that activations keep their scale from layer to layer."""

import math
from collections.abc import Callable

import numpy as np

from nncore.types import FloatArray

Initializer = Callable[[FloatArray, np.random.Generator], None]


def he(weight: FloatArray, rng: np.random.Generator) -> None:
    """Fill weight (D, K) from N(0, 2/D), for layers before a ReLU (He et al. 2015)."""
    _normal(weight, math.sqrt(2 / weight.shape[0]), rng)


def glorot(weight: FloatArray, rng: np.random.Generator) -> None:
    """Fill weight (D, K) from N(0, 2/(D+K)), for tanh, sigmoid and outputs (Glorot & Bengio 2010)."""
    _normal(weight, math.sqrt(2 / sum(weight.shape)), rng)


def _normal(weight: FloatArray, deviation: float, rng: np.random.Generator) -> None:
    # Drawn in float64 and rounded, so that a float32 and a float64 network start alike.
    weight[...] = rng.standard_normal(weight.shape) * deviation


INITIALIZERS: dict[str, Initializer] = {"glorot": glorot, "he": he}
