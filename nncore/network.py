"""A network: layers in a row, and their parameters in one flat buffer."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nncore import sequence
from nncore.config import to_json
from nncore.ensemble import Ensemble
from nncore.kinds import KINDS
from nncore.layers import Cache, Layer
from nncore.parameters import Parameters
from nncore.sequence import MOST_OUTPUTS, MOST_PARAMETERS, Plan, plan
from nncore.types import FloatArray, Shape, Views

# What a caller of a network needs to name is to be had here.
__all__ = ["LAYERS", "MOST_OUTPUTS", "MOST_PARAMETERS", "Network", "Plan", "plan"]

# All that a model file can name: an ensemble's members hold the others, and no ensembles.
LAYERS: dict[str, type] = KINDS | {"ensemble": Ensemble}
NAMES = {kind: name for name, kind in LAYERS.items()}


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
        # How many an example becomes on its way through all layers.
        self.numbers = shapes.numbers
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
        return sequence.split(arrays, len(self.layers))

    def config(self) -> list[dict[str, Any]]:
        """Return the layers as JSON data; a recipe's `network` reads the same form."""
        return [to_json(layer, LAYERS) for layer in self.layers]

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the first weights, layer by layer."""
        sequence.initialize(self.layers, self._views, rng)

    def forward(
        self, x: FloatArray, rng: np.random.Generator | None = None
    ) -> tuple[FloatArray, list[Cache]]:
        """Return the outputs and the caches for `backward`.

        x: (N, *input_shape) → (N, *output_shape). Without `rng` Dropout is off and BatchNorm takes its
        running statistics, as in inference.
        """
        return sequence.forward(self.layers, self._views, x, rng)

    def backward(
        self, caches: Sequence[Cache], dy: FloatArray, gradients: Sequence[Views], *, wants_dx: bool = False
    ) -> FloatArray | None:
        """Write the gradients of all parameters into the views; return dx if wanted.

        dy: (N, *output_shape), the gradient of the loss by the outputs. The first layer's dx costs as
        much as its dW and only a saliency map or a gradient check asks for it.
        """
        return sequence.backward(self.layers, self._views, gradients, caches, dy, wants_dx=wants_dx)

    def fold(self, caches: Sequence[Cache]) -> None:
        """Move the state by what a training batch's forward pass left behind."""
        sequence.fold(self.layers, self._views, caches)
