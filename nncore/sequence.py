"""Layers in a row: their shapes planned, and the way through them forward and back.

Functions of layers and the arrays that belong to them, `views`: one mapping a layer, under the names that the
arrays have inside it. A whole network is such a row, and so is each member of an ensemble.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nncore.errors import RecipeError
from nncore.layers import Cache, Layer
from nncore.types import FloatArray, Shape, Views

# 50 million float32 parameters are 200 MB, and four times that with Adam: far from small.
MOST_PARAMETERS = 50_000_000
# Of all layers together, for one example: a predictor has room for them times the rows it works on at once. A
# few hundred bytes can ask for a thousand layers of 65,536.
MOST_OUTPUTS = 1 << 20
# For one example: some 20 ms on a core. A file of a few megabytes can ask for a thousand times as much.
MOST_MULTIPLY_ADDS = 1 << 30
# Numbers that a layer works in beside its outputs: a thread that answers has room for them, 64 MB.
MOST_SCRATCH = 1 << 24


@dataclass(frozen=True)
class Plan:
    """The shapes of a network's arrays by name, `0.weight`, and the output shape of every layer.

    `parameters` are what an optimizer moves, `state` what training batches leave behind; `numbers` is how
    many numbers an example becomes on its way, and `multiply_adds` how many that takes, layers inside layers
    included.
    """

    parameters: dict[str, Shape]
    state: dict[str, Shape]
    outputs: list[Shape]
    numbers: int
    multiply_adds: int

    @property
    def arrays(self) -> dict[str, Shape]:
        """Everything that a model file holds."""
        return self.parameters | self.state


def plan(layers: Sequence[Layer], input_shape: Shape, path: str = "network") -> Plan:
    """Return the shapes of everything in a network.

    Raises RecipeError with the place of the layer that cannot work, before anything is allocated; `path` is
    where the layers stand.
    """
    if not layers:
        raise RecipeError({path: "must have at least one layer"})
    parameters: dict[str, Shape] = {}
    state: dict[str, Shape] = {}
    outputs: list[Shape] = []
    shape, total, numbers, products = input_shape, 0, 0, 0
    for place, layer in enumerate(layers):
        here = f"{path}[{place}]"
        try:
            outputs.append(layer.output_shape(shape))
        except ValueError as error:
            raise RecipeError({here: str(error)}) from None
        except RecipeError as error:
            raise RecipeError({f"{here}.{inner}": text for inner, text in error.problems.items()}) from None
        for mine, inner in (
            (parameters, layer.parameter_shapes(shape)),
            (state, layer.state_shapes(shape)),
        ):
            mine.update({f"{place}.{name}": inner_shape for name, inner_shape in inner.items()})
            total += sum(map(math.prod, inner.values()))
        numbers += layer.numbers(shape)
        products += layer.multiply_adds(shape)
        if (scratch := layer.scratch_size(shape)) > MOST_SCRATCH:
            raise RecipeError({here: f"works in {scratch:,} numbers at once, more than {MOST_SCRATCH:,}"})
        shape = outputs[-1]
        if total > MOST_PARAMETERS:
            raise RecipeError({here: f"more than {MOST_PARAMETERS:,} parameters in all"})
    if numbers > MOST_OUTPUTS:
        what = f"its layers give {numbers:,} numbers an example, more than {MOST_OUTPUTS:,}"
        raise RecipeError({path: what})
    if products > MOST_MULTIPLY_ADDS:
        what = f"takes {products:,} multiply-adds an example, more than {MOST_MULTIPLY_ADDS:,}"
        raise RecipeError({path: what})
    return Plan(parameters, state, outputs, numbers, products)


def split(arrays: Views, count: int) -> list[Views]:
    """Return what belongs to each of `count` places, `0.weight` as `weight` of the first."""
    parts: list[dict[str, FloatArray]] = [{} for _ in range(count)]
    for name, array in arrays.items():
        place, _, inner = name.partition(".")
        parts[int(place)][inner] = array
    return list(parts)


def initialize(layers: Sequence[Layer], views: Sequence[Views], rng: np.random.Generator) -> None:
    """Draw the first weights, layer by layer."""
    for layer, own in zip(layers, views, strict=True):
        layer.initialize(own, rng)


def forward(
    layers: Sequence[Layer], views: Sequence[Views], x: FloatArray, rng: np.random.Generator | None
) -> tuple[FloatArray, list[Cache]]:
    """Return the outputs of the last layer, and what each leaves for `backward`."""
    caches = []
    for layer, own in zip(layers, views, strict=True):
        x, cache = layer.forward(own, x, rng)
        caches.append(cache)
    return x, caches


def backward(
    layers: Sequence[Layer],
    views: Sequence[Views],
    gradients: Sequence[Views],
    caches: Sequence[Cache],
    dy: FloatArray,
    *,
    wants_dx: bool,
) -> FloatArray | None:
    """Write the gradients of all parameters; return dx if wanted.

    The first layer's dx costs as much as its dW and only a saliency map or a gradient check asks for it.
    """
    first = next((i for i, own in enumerate(gradients) if own), 0)
    for i in reversed(range(len(layers))):
        if i < first and not wants_dx:
            return None
        dx = layers[i].backward(views[i], gradients[i], caches[i], dy, wants_dx=wants_dx or i > first)
        if dx is None:
            return None
        dy = dx
    return dy if wants_dx else None


def fold(layers: Sequence[Layer], views: Sequence[Views], caches: Sequence[Cache]) -> None:
    """Move the state by what a training batch's forward pass left behind."""
    for layer, own, cache in zip(layers, views, caches, strict=True):
        layer.fold(own, cache)
