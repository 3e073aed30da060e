"""Ensemble: several networks asked the same, and the mean of what they say (Hansen & Salamon 1990)."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nncore import sequence
from nncore.averaging import MEANS, SHARES
from nncore.config import MOST_ENTRIES, choice, tagged
from nncore.errors import RecipeError
from nncore.kinds import KINDS
from nncore.layers import Cache, Layer
from nncore.types import FloatArray, Shape, Views

# How many members an ensemble has.
FEWEST, MOST = 2, 64
# `infer` works on so many rows at a time, fewer where their way through a member takes more than 4 MB.
MOST_ROWS = 128
MOST_ROOM = 1 << 20


class _Way(NamedTuple):
    """How `infer` goes: how many rows at once, and the numbers that need room.

    `widest` and `answers` are those of a row, `shared` those that all rows need together; `shapes` are the
    outputs of each layer of each member.
    """

    rows: int
    widest: int
    answers: int
    shared: int
    shapes: tuple[tuple[Shape, ...], ...]

    @property
    def size(self) -> int:
        return self.rows * (2 * self.widest + self.answers) + self.shared


@dataclass(frozen=True)
class Ensemble(Layer):
    """Networks on the same input whose answers are averaged: (N, …) → (N, K). Each weighs the same.

    `output` says what an answer is. Of `classes` y is the log of the mean of the members' softmax, of
    `binary` the logit of the mean of their sigmoids, so that y's own softmax or sigmoid is that mean. Of a
    `regression` y is the mean of the values. Arrays are named by member and layer, `1.3.weight`.
    """

    members: tuple[tuple[Layer, ...], ...] = tagged(KINDS, lengths=((FEWEST, MOST), (1, MOST_ENTRIES)))
    output: str = choice(MEANS, default="classes")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (K,), the shape that all members give."""
        shape = self._plans(input_shape)[0].outputs[-1]
        if len(shape) != 1:
            raise ValueError(f"an ensemble is of networks with flat outputs, not {shape}")
        if self.output == "classes" and shape == (1,):
            raise ValueError('one output an example is no classes: say "output": "binary", or "regression"')
        return shape

    def parameter_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return what the members learn, `0.weight` of the second as `1.0.weight`."""
        return _named(plan.parameters for plan in self._plans(input_shape))

    def state_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return what batches leave behind in the members."""
        return _named(plan.state for plan in self._plans(input_shape))

    def numbers(self, input_shape: Shape) -> int:
        """Return how many numbers an example becomes in all members, and their mean."""
        plans = self._plans(input_shape)
        return sum(plan.numbers for plan in plans) + math.prod(plans[0].outputs[-1])

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return how many an example takes in all members."""
        return sum(plan.multiply_adds for plan in self._plans(input_shape))

    def kept_size(self, input_shape: Shape) -> int:
        """Return what all members leave, their answers, and the gradients on their way through one."""
        kept = widest = 0
        for layers, plan in zip(self.members, self._plans(input_shape), strict=True):
            shapes = [input_shape, *plan.outputs]
            kept += sum(layer.kept_size(shape) for layer, shape in zip(layers, shapes, strict=False))
            widest = max(widest, *map(math.prod, shapes))
        return kept + 4 * len(self.members) * math.prod(shapes[-1]) + 4 * widest

    def scratch_size(self, input_shape: Shape) -> int:
        """Return the room for a block of rows on their way through one member, and for all answers."""
        return _way(self.members, input_shape).size

    def initialize(self, views: Views, rng: np.random.Generator) -> None:
        """Draw the first weights, member by member."""
        for layers, own in zip(self.members, self._views(views), strict=True):
            sequence.initialize(layers, own, rng)

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y, and what the members leave with their answers; they draw from `rng` in turn."""
        passes = [
            sequence.forward(layers, own, x, rng)
            for layers, own in zip(self.members, self._views(views), strict=True)
        ]
        answers = np.stack([y for y, _ in passes])
        return MEANS[self.output](answers), ([caches for _, caches in passes], answers)

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Write the gradients of all members; return the sum of their dx if wanted."""
        caches, answers = cache
        dx = None
        for layers, own, own_gradients, left, share in zip(
            self.members,
            self._views(views),
            self._views(gradients),
            caches,
            SHARES[self.output](answers, dy),
            strict=True,
        ):
            mine = sequence.backward(layers, own, own_gradients, left, share, wants_dx=wants_dx)
            # Never in place: what a member returns may be the array that it was given.
            dx = mine if dx is None or mine is None else dx + mine
        return dx

    def fold(self, state: Views, cache: Cache) -> None:
        """Move the members' running statistics."""
        for layers, own, left in zip(self.members, self._views(state), cache[0], strict=True):
            sequence.fold(layers, own, left)

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`, a block of rows at a time."""
        way = _way(self.members, x.shape[1:])
        if scratch is None:
            way = way._replace(rows=min(way.rows, max(len(x), 1)))
            scratch = np.empty(way.size, x.dtype)
        inner = self._views(views)
        width = way.rows * way.widest
        buffers, rest = (scratch[:width], scratch[width : 2 * width]), scratch[2 * width :]
        for start in range(0, len(x), way.rows):
            block = x[start : start + way.rows]
            answers = rest[: way.answers * len(block)].reshape(len(self.members), len(block), -1)
            shared = rest[way.answers * way.rows :]
            for member in zip(self.members, inner, way.shapes, answers, strict=True):
                _infer(*member, block, buffers, shared)
            out[start : start + way.rows] = MEANS[self.output](answers)
        return out

    def _plans(self, input_shape: Shape) -> list[sequence.Plan]:
        return _plan(self.members, input_shape)

    def _views(self, views: Views) -> list[list[Views]]:
        """Return the arrays of each layer of each member."""
        members = sequence.split(views, len(self.members))
        return [sequence.split(own, len(layers)) for layers, own in zip(self.members, members, strict=True)]


# A network that holds an ensemble asks for this half a dozen times while it is planned.
@functools.lru_cache(maxsize=64)
def _plan(members: tuple[tuple[Layer, ...], ...], input_shape: Shape) -> list[sequence.Plan]:
    """Plan each member; raises RecipeError with the place of what is wrong in it."""
    plans = [sequence.plan(layers, input_shape, f"members[{place}]") for place, layers in enumerate(members)]
    first = plans[0].outputs[-1]
    for place, plan in enumerate(plans):
        if plan.outputs[-1] != first:
            what = f"gives {plan.outputs[-1]} numbers an example, the first member {first}"
            raise RecipeError({f"members[{place}]": what})
    return plans


# A request of one row would take a tenth longer if shapes were told anew.
@functools.lru_cache(maxsize=64)
def _way(members: tuple[tuple[Layer, ...], ...], input_shape: Shape) -> _Way:
    widest = answers = shared = 0
    shapes = []
    for layers in members:
        shape, outputs = input_shape, []
        for layer in layers:
            shared = max(shared, layer.scratch_size(shape))
            shape = layer.output_shape(shape)
            outputs.append(shape)
            widest = max(widest, math.prod(shape))
        shapes.append(tuple(outputs))
        answers += math.prod(shape)
    rows = min(MOST_ROWS, max(1, MOST_ROOM // (2 * widest + answers)))
    return _Way(rows, widest, answers, shared, tuple(shapes))


def _named(members: Iterable[Mapping[str, Shape]]) -> dict[str, Shape]:
    return {
        f"{place}.{name}": shape for place, shapes in enumerate(members) for name, shape in shapes.items()
    }


def _infer(
    layers: Sequence[Layer],
    views: Sequence[Views],
    shapes: Sequence[Shape],
    answer: FloatArray,
    x: FloatArray,
    buffers: Sequence[FloatArray],
    scratch: FloatArray,
) -> None:
    """Write a member's answer; each layer works in the one of two buffers in which its input is not."""
    here, there = buffers
    for layer, own, shape in zip(layers, views, shapes, strict=True):
        size = len(x) * math.prod(shape)
        y = layer.infer(own, x, there[:size].reshape(len(x), *shape), scratch)
        if np.may_share_memory(y, there):
            here, there = there, here
        x = y
    answer[...] = x
