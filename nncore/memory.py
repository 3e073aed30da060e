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
    batch = _batch(layers, [input_shape, *outputs], rows.batch) + 2 * FLOAT * max(sizes, default=0)
    training += max(batch, _evaluation(shapes, rows.validation))
    testing = FLOAT * (sum(sizes) + width * (rows.validation + rows.test)) + _evaluation(shapes, rows.test)
    return max(drawing, fitting, training, testing) + EPOCH * epochs + REST


def _weights(count: int, moments: int) -> int:
    """The weights, their gradient, their best copy and the moments; for a moment a copy and a mask of one."""
    return (3 + moments) * FLOAT * count + (FLOAT + 1) * count + FLOAT * min(BLOCK, count)


def _targets(answer: int, rows: int) -> int:
    """Targets as floats, and the order of the rows."""
    return (FLOAT * answer + 2 * DOUBLE) * rows


def _batch(layers: Sequence[Layer], shapes: Sequence[Shape], rows: int) -> int:
    """The inputs, what each layer leaves for the backward pass, and the gradients on their way through it.

    `shapes` are those of the inputs and of each layer's outputs. A layer that works in blocks has two at
    most.
    """
    places = list(zip(layers, shapes, strict=False))
    kept = math.prod(shapes[0]) + sum(layer.kept_size(shape) for layer, shape in places)
    blocks = 2 * max(layer.scratch_size(shape) for layer, shape in places)
    return FLOAT * (rows * (kept + 4 * max(map(math.prod, shapes))) + blocks)


def _augmentation(picture: Shape, rows: int) -> int:
    """The distorted batch, two Gaussian matrices, and for a few pictures at a time where pixels are read."""
    height, width = picture[:2]
    matrices, pixels = height**2 + width**2, height * width
    places = 11 * FLOAT * max(CHUNK_PIXELS, pixels) + 9 * DOUBLE * pixels
    return FLOAT * rows * math.prod(picture) + 2 * FLOAT * matrices + places + 200 * rows


def _evaluation(shapes: Plan, rows: int) -> int:
    """The layers' outputs, a bounded number of rows at a time; answers, and what the figures are made of."""
    layers, answer = shapes.numbers, math.prod(shapes.outputs[-1])
    return FLOAT * (layers * min(rows, rows_at_once(layers)) + 8 * answer * rows) + 64 * rows
