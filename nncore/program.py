"""Programs: what is left to do of a network outside training, stage by stage, and where each works."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nncore import sequence
from nncore.averaging import MEANS
from nncore.ensemble import Ensemble
from nncore.layers import Dropout, Flatten, Layer
from nncore.network import NAMES, Network
from nncore.types import FloatArray, Shape, Views

# Rows sent through the network at a time: enough for BLAS.
MOST_ROWS = 128
# Fewer where a thread's buffers would have more numbers than these, 4 MB: a convolutional network, 50
# pictures at a time, takes 5 % longer with half of it, and hardly less with more. Weights pass through the
# cache once for all rows: where they are larger, buffers may be as large. More than 16 MB are never taken.
BUFFERED = 1 << 20
MOST_BUFFERED = 4 << 20

# A network's layers write to two buffers in turn; an ensemble's members to two that its input is not in, and
# their answers wait in one for each other.
INPUTS, ANSWERS, BUFFERS = 0, 3, 4


class Slot(NamedTuple):
    """Where rows lie: which buffer, and how many numbers a row are in it before them."""

    buffer: int
    start: int = 0


@dataclass(frozen=True)
class Stage:
    """A layer's work: `place` names it as its arrays are named, `2` or `0.1.2` in an ensemble."""

    place: str
    layer: Layer
    views: Views
    input_shape: Shape
    output_shape: Shape
    source: Slot
    target: Slot

    @property
    def name(self) -> str:
        """What is done, in the words of a recipe."""
        return NAMES[type(self.layer)]

    @property
    def scratch_size(self) -> int:
        """How many numbers `run` needs room for beside its outputs."""
        return self.layer.scratch_size(self.input_shape)

    @property
    def multiply_adds(self) -> int:
        """How many a row takes by the definition of what is worked out, which may be done with fewer."""
        return self.layer.multiply_adds(self.input_shape)

    def run(self, x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
        """Write the outputs for x into `out`."""
        self.layer.infer(self.views, x, out, scratch)


class _Keep(Stage):
    """A member's outputs put beside those of the others."""

    name = "answer"
    scratch_size = 0
    multiply_adds = 0

    def run(self, x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
        np.copyto(out, x)


class _Mean(Stage):
    """What an ensemble makes of its members' outputs."""

    name = "mean"
    scratch_size = 0
    multiply_adds = 0

    def run(self, x: FloatArray, out: FloatArray, scratch: FloatArray) -> None:
        assert isinstance(self.layer, Ensemble)
        answers = x.reshape(len(self.layer.members), *out.shape)
        np.copyto(out, MEANS[self.layer.output](answers))


class Program:
    """A network as it is served: what is done, one stage after another, and where the outputs are then.

    Dropout and Flatten are no work. A layer that works in place stays in its input's buffer.
    """

    def __init__(self, network: Network) -> None:
        self.input_shape, self.output_shape = network.input_shape, network.output_shape
        views = network.views_of(network.arrays)
        self.stages: list[Stage] = []
        self.end = self._add(network.layers, views, self.input_shape, Slot(INPUTS), (0, 1), "")
        self.buffer_sizes = self._measure()
        weights = network.flat.size
        room = min(max(BUFFERED, weights), MOST_BUFFERED)
        self.rows_at_once = min(MOST_ROWS, max(1, room // sum(self.buffer_sizes)))

    def _add(
        self,
        layers: Sequence[Layer],
        views: Sequence[Views],
        shape: Shape,
        source: Slot,
        buffers: tuple[int, int],
        path: str,
    ) -> Slot:
        """Add the work of layers in a row, which may write to two buffers; return where its outputs are."""
        for place, (layer, own) in enumerate(zip(layers, views, strict=True)):
            output, here = layer.output_shape(shape), f"{path}{place}"
            target = Slot(buffers[1] if source.buffer == buffers[0] else buffers[0])
            if isinstance(layer, Ensemble):
                self._add_members(layer, own, shape, source, here)
                answers = (math.prod(output) * len(layer.members),)
                self.stages.append(_Mean(here, layer, {}, answers, output, Slot(ANSWERS), target))
                source = target
            elif not isinstance(layer, Dropout | Flatten):
                if layer.works_in_place and source.buffer in buffers:
                    target = source
                own = layer.prepared(own, shape)
                self.stages.append(Stage(here, layer, own, shape, output, source, target))
                source = target
            shape = output
        return source

    def _add_members(self, ensemble: Ensemble, views: Views, shape: Shape, source: Slot, path: str) -> None:
        first, second = (buffer for buffer in range(ANSWERS) if buffer != source.buffer)
        output = ensemble.output_shape(shape)
        members = sequence.split(views, len(ensemble.members))
        for place, (layers, own) in enumerate(zip(ensemble.members, members, strict=True)):
            parts, here = sequence.split(own, len(layers)), f"{path}.{place}"
            end = self._add(layers, parts, shape, source, (first, second), f"{here}.")
            answer = Slot(ANSWERS, place * math.prod(output))
            self.stages.append(_Keep(here, ensemble, {}, output, output, end, answer))

    def _measure(self) -> list[int]:
        """Return how many numbers of one row each buffer must hold."""
        sizes = [0] * BUFFERS
        sizes[INPUTS] = math.prod(self.input_shape)
        for stage in self.stages:
            buffer, start = stage.target
            sizes[buffer] = max(sizes[buffer], start + math.prod(stage.output_shape))
        return sizes
