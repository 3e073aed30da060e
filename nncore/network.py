"""A network: layers in a row, and their parameters in one flat buffer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nncore.config import to_json
from nncore.convolution import Conv2D
from nncore.errors import RecipeError
from nncore.layers import Cache, Dense, Dropout, Flatten, Layer, ReLU, Sigmoid, Tanh
from nncore.normalization import BatchNorm
from nncore.parameters import Parameters
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.types import FloatArray, Shape, Views

# The allow-list: a model file can name these and nothing else.
LAYERS: dict[str, type] = {
    "batch_norm": BatchNorm,
    "conv2d": Conv2D,
    "dense": Dense,
    "dropout": Dropout,
    "flatten": Flatten,
    "global_average_pooling": GlobalAveragePooling,
    "max_pool2d": MaxPool2D,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
}

# 50 million float32 parameters are 200 MB, and four times that with Adam: far from small.
MOST_PARAMETERS = 50_000_000
# Of all layers together, for one example: a predictor has room for them times the rows it works on at once. A
# few hundred bytes can ask for a thousand layers of 65,536.
MOST_OUTPUTS = 1 << 20


@dataclass(frozen=True)
class Plan:
    """The shapes of a network's arrays by name, `0.weight`, and the output shape of every layer.

    `parameters` are what an optimizer moves, `state` what training batches leave behind.
    """

    parameters: dict[str, Shape]
    state: dict[str, Shape]
    outputs: list[Shape]

    @property
    def arrays(self) -> dict[str, Shape]:
        """Everything that a model file holds."""
        return self.parameters | self.state


class Network:
    """Layers applied one after the other.

    `input_shape` is that of one example. Arrays are named by their layer's place, `0.weight`, and start at
    zero until `initialize`. `flat` is all of them in one buffer: the parameters first, then the state.
    """

    def __init__(self, layers: Sequence[Layer], input_shape: Shape, dtype: DTypeLike = np.float32) -> None:
        self.layers = tuple(layers)
        self.input_shape = input_shape
        shapes = plan(self.layers, input_shape)
        self.layer_shapes = shapes.outputs
        self.flat: FloatArray = np.zeros(sum(map(math.prod, shapes.arrays.values())), dtype)
        self.parameters = Parameters(shapes.parameters, dtype, self.flat)
        self.state = Parameters(shapes.state, dtype, self.flat[self.parameters.flat.size :])
        self._views = self.views_of(self.arrays)

    @property
    def arrays(self) -> dict[str, FloatArray]:
        """Parameters and state by name."""
        return {**self.parameters, **self.state}

    @property
    def output_shape(self) -> Shape:
        """The shape of the output for one example."""
        return self.layer_shapes[-1]

    def views_of(self, arrays: Views) -> list[Views]:
        """Return, layer by layer, the views that belong to it, under their names inside the layer."""
        views: list[dict[str, FloatArray]] = [{} for _ in self.layers]
        for name, array in arrays.items():
            place, _, inner = name.partition(".")
            views[int(place)][inner] = array
        return list(views)

    def config(self) -> list[dict[str, Any]]:
        """Return the layers as JSON data; a recipe's `network` reads the same form."""
        return [to_json(layer, LAYERS) for layer in self.layers]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the first weights, layer by layer."""
        for layer, views in zip(self.layers, self._views, strict=True):
            layer.initialize(views, rng)

    def forward(
        self, x: FloatArray, rng: np.random.Generator | None = None
    ) -> tuple[FloatArray, list[Cache]]:
        """Return the outputs and the caches for `backward`.

        x: (N, *input_shape) → (N, *output_shape). Without `rng` Dropout is off and BatchNorm takes its
        running statistics, as in inference.
        """
        caches = []
        for layer, views in zip(self.layers, self._views, strict=True):
            x, cache = layer.forward(views, x, rng)
            caches.append(cache)
        return x, caches

    def backward(
        self, caches: Sequence[Cache], dy: FloatArray, gradients: Sequence[Views], *, wants_dx: bool = False
    ) -> FloatArray | None:
        """Write the gradients of all parameters into the views; return dx if wanted.

        dy: (N, *output_shape), the gradient of the loss by the outputs. The first layer's dx costs as
        much as its dW and only a saliency map or a gradient check asks for it.
        """
        first = next((i for i, layer_views in enumerate(gradients) if layer_views), 0)
        for i in reversed(range(len(self.layers))):
            if i < first and not wants_dx:
                return None
            dx = self.layers[i].backward(
                self._views[i], gradients[i], caches[i], dy, wants_dx=wants_dx or i > first
            )
            if dx is None:
                return None
            dy = dx
        return dy if wants_dx else None

    def fold(self, caches: Sequence[Cache]) -> None:
        """Move the state by what a training batch's forward pass left behind."""
        for layer, views, cache in zip(self.layers, self._views, caches, strict=True):
            layer.fold(views, cache)


def plan(layers: Sequence[Layer], input_shape: Shape) -> Plan:
    """Return the shapes of everything in a network.

    Raises RecipeError with the place of the layer that cannot work, before anything is allocated.
    """
    if not layers:
        raise RecipeError({"network": "must have at least one layer"})
    shapes = Plan({}, {}, [])
    shape, total = input_shape, 0
    for place, layer in enumerate(layers):
        try:
            shapes.outputs.append(layer.output_shape(shape))
        except ValueError as error:
            raise RecipeError({f"network[{place}]": str(error)}) from None
        for mine, inner in (
            (shapes.parameters, layer.parameter_shapes(shape)),
            (shapes.state, layer.state_shapes(shape)),
        ):
            mine.update({f"{place}.{name}": inner_shape for name, inner_shape in inner.items()})
            total += sum(map(math.prod, inner.values()))
        shape = shapes.outputs[-1]
        if total > MOST_PARAMETERS:
            raise RecipeError({f"network[{place}]": f"more than {MOST_PARAMETERS:,} parameters in all"})
    numbers = sum(map(math.prod, shapes.outputs))
    if numbers > MOST_OUTPUTS:
        what = f"its layers give {numbers:,} numbers an example, more than {MOST_OUTPUTS:,}"
        raise RecipeError({"network": what})
    return shapes
