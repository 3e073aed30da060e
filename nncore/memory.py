"""How much memory a training run takes, from shapes alone: estimates from above, in bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nncore.augmentation import CHUNK_PIXELS
from nncore.evaluation import rows_at_once
from nncore.layers import Layer
from nncore.network import Plan, plan
from nncore.optimizers import BLOCK
from nncore.types import Shape

FLOAT, DOUBLE = 4, 8
# An `Epoch` with its figures; twice, as a checkpoint writes all of them out.
EPOCH = 1000
# Generators, layers, views: what a run has whatever its size.
REST = 30_000
# Times its size, what a convolution in tiles makes of a kernel: 4 × 16/9, and a little.
TILED = 8
# Each layer with the shape of its inputs.
Places = Sequence[tuple[Layer, Shape]]


@dataclass(frozen=True)
class Rows:
    """How many rows a dataset has of each kind, and how many a batch is."""

    train: int
    validation: int
    test: int
    batch: int


def run_bytes(
    layers: Sequence[Layer],
    input_shape: Shape,
    rows: Rows,
    *,
    moments: int,
    standardizes: bool,
    averages: bool,
    augments: bool,
    epochs: int,
) -> int:
    """Return what a run allocates at most beside its dataset.

    `moments` is how many arrays of the weights' size the optimizer keeps; `standardizes` says whether an
    input step learns from the training rows, which it does in float64; `averages` and `augments` whether
    there is an average of the weights, and whether batches are distorted.
    """
    width = math.prod(input_shape)
    shapes = plan(layers, input_shape)
    outputs = shapes.outputs
    sizes = [math.prod(shape) for shape in shapes.arrays.values()]
    answer = math.prod(outputs[-1])
    # At any time one of these: first weights drawn in float64, the input steps fitted, training, testing.
    drawing = FLOAT * sum(sizes) + 2 * DOUBLE * max(sizes, default=0)
    fitting = (FLOAT + DOUBLE) * width * rows.train if standardizes else 0
    training = FLOAT * width * (rows.train + rows.validation) + _targets(answer, rows.train)
    # An average is one array more, and the weights are put aside while it is measured.
    training += _weights(sum(sizes), moments + 2 * averages)
    training += _augmentation(input_shape, rows.batch) if augments else 0
    places = [*zip(layers, [input_shape, *outputs], strict=False)]
    batch = _batch(places, [input_shape, *outputs], rows.batch) + FLOAT * _made_of_weights(shapes)
    training += max(batch, _evaluation(places, shapes, rows.validation))
    testing = FLOAT * (sum(sizes) + width * (rows.validation + rows.test))
    testing += _evaluation(places, shapes, rows.test)
    return max(drawing, fitting, training, testing) + EPOCH * epochs + REST


def _weights(count: int, moments: int) -> int:
    """The weights, their gradient, their best copy and the moments; for a moment a copy and a mask of one."""
    return (3 + moments) * FLOAT * count + (FLOAT + 1) * count + FLOAT * min(BLOCK, count)


def _made_of_weights(shapes: Plan) -> int:
    """What the backward pass makes of the largest weights; of kernels four arrays in tiles of 16 for 9."""
    arrays = shapes.parameters.values()
    return max((math.prod(shape) * (TILED if len(shape) == 4 else 2) for shape in arrays), default=0)


def _targets(answer: int, rows: int) -> int:
    """Targets as floats, and the order of the rows."""
    return (FLOAT * answer + 2 * DOUBLE) * rows


def _batch(places: Places, shapes: Sequence[Shape], rows: int) -> int:
    """The inputs, what each layer leaves for the backward pass, and the gradients on their way through it.

    `shapes` are those of the inputs and of each layer's outputs. A layer that works in blocks has two at
    most.
    """
    kept = math.prod(shapes[0]) + _kept(places)
    return FLOAT * (rows * (kept + 4 * max(map(math.prod, shapes))) + 2 * _blocks(places))


def _kept(places: Places) -> int:
    return sum(layer.kept_size(shape) for layer, shape in places)


def _blocks(places: Places) -> int:
    return max(layer.scratch_size(shape) for layer, shape in places)


def _augmentation(picture: Shape, rows: int) -> int:
    """The distorted batch, two Gaussian matrices, and for a few pictures at a time where pixels are read."""
    height, width = picture[:2]
    matrices, pixels = height**2 + width**2, height * width
    places = 11 * FLOAT * max(CHUNK_PIXELS, pixels) + 9 * DOUBLE * pixels
    return FLOAT * rows * math.prod(picture) + 2 * FLOAT * matrices + places + 200 * rows


def _evaluation(places: Places, shapes: Plan, rows: int) -> int:
    """What the layers leave of a bounded number of rows; answers, and what the figures are made of."""
    at_once, answer = min(rows, rows_at_once(shapes.numbers)), math.prod(shapes.outputs[-1])
    layers = max(_kept(places), shapes.numbers) * at_once + _blocks(places)
    return FLOAT * (layers + 8 * answer * rows) + 64 * rows
