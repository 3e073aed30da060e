"""Optimizers: how a gradient moves the weights. Each works in place on flat arrays (P,)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nncore.config import number
from nncore.types import FloatArray

State = dict[str, FloatArray]

# Elements worked on at a time, so that weights, gradients and moments stay in cache from one pass to the
# next. Half as many cost Adam 10 % more, in calls; with more nothing is gained.
BLOCK = 65_536


class Optimizer(Protocol):
    """What `fit` asks of an optimizer; its hyper-parameters are frozen, its state is handed in."""

    @property
    def learning_rate(self) -> float:
        """How far a step goes, before a schedule."""

    @property
    def weight_decay(self) -> float:
        """The share of each weight that a step takes away, times the learning rate."""

    def start(self, weights: FloatArray) -> State:
        """Return the state before the first step: zeros like the weights, by name."""

    def step(
        self, weights: FloatArray, gradient: FloatArray, state: State, *, count: int, learning_rate: float
    ) -> None:
        """Move the weights by the gradient; `count` is 1 at the first step."""


@dataclass(frozen=True)
class SGD:
    """w -= η·v with v = μ·v + g; with `nesterov`, w -= η·(g + μ·v) (Sutskever et al. 2013).

    `momentum` is μ; at 0 this is plain gradient descent. `weight_decay` is decoupled, as in AdamW.
    """

    learning_rate: float = number(0.1, above=0, maximum=1000)
    momentum: float = number(0.0, minimum=0, below=1)
    nesterov: bool = False
    weight_decay: float = number(0.0, minimum=0, maximum=1)

    def start(self, weights: FloatArray) -> State:
        """Return the velocity, where there is momentum."""
        return {"velocity": np.zeros_like(weights)} if self.momentum else {}

    def step(
        self, weights: FloatArray, gradient: FloatArray, state: State, *, count: int, learning_rate: float
    ) -> None:
        """Move the weights by the gradient."""
        velocity = state.get("velocity")
        for block, scratch in _blocks(weights):
            w, g = weights[block], gradient[block]
            direction = g
            if velocity is not None:
                v = velocity[block]
                v *= self.momentum
                v += g
                direction = v
                if self.nesterov:
                    np.multiply(v, self.momentum, out=scratch)
                    scratch += g
                    direction = scratch
            np.multiply(direction, learning_rate, out=scratch)
            w -= scratch
        if velocity is not None:
            _drop_the_tiniest(velocity, count)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015); with `weight_decay`, AdamW (Loshchilov & Hutter 2019)."""

    learning_rate: float = number(0.001, above=0, maximum=1000)
    beta1: float = number(0.9, minimum=0, below=1)
    beta2: float = number(0.999, minimum=0, below=1)
    epsilon: float = number(1e-8, above=0, maximum=1)
    weight_decay: float = number(0.0, minimum=0, maximum=1)

    def start(self, weights: FloatArray) -> State:
        """Return the moving means of the gradient and of its square, each without its factor 1 - β."""
        return {"mean": np.zeros_like(weights), "square": np.zeros_like(weights)}

    def step(
        self, weights: FloatArray, gradient: FloatArray, state: State, *, count: int, learning_rate: float
    ) -> None:
        """Move the weights by η·m̂ / (√v̂ + ε).

        All constants are gathered in `rate` and `epsilon`: two passes over the arrays less of twelve.
        """
        correction = math.sqrt((1 - self.beta2**count) / (1 - self.beta2))
        rate = learning_rate * correction * (1 - self.beta1) / (1 - self.beta1**count)
        epsilon = self.epsilon * correction
        for block, scratch in _blocks(weights):
            w, g, mean, square = weights[block], gradient[block], state["mean"][block], state["square"][block]
            mean *= self.beta1
            mean += g
            np.multiply(g, g, out=scratch)
            square *= self.beta2
            square += scratch
            np.sqrt(square, out=scratch)
            scratch += epsilon
            np.divide(mean, scratch, out=scratch)
            scratch *= rate
            w -= scratch
        _drop_the_tiniest(state["mean"], count)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    weight_decay: float = number(0.01, minimum=0, maximum=1)


def _blocks(weights: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    scratch = np.empty(min(BLOCK, weights.size), weights.dtype)
    for start in range(0, weights.size, BLOCK):
        stop = min(start + BLOCK, weights.size)
        yield slice(start, stop), scratch[: stop - start]


def _drop_the_tiniest(moment: FloatArray, count: int) -> None:
    """Set to zero, now and then, what is about to leave the range of normal numbers.

    Where the gradient stays zero, as for the pixels of a margin, a moment decays into subnormal numbers,
    on which processors are slow, and never ends: 0.9 of the smallest one rounds to itself. Adam's steps
    on MNIST took 14 % longer.
    """
    if count % 128 == 0:
        # 0.9 to the power of 128 is 1e-6: nothing gets there before it is looked at again.
        moment[np.abs(moment) < 1e8 * np.finfo(moment.dtype).tiny] = 0


OPTIMIZERS: dict[str, type] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
