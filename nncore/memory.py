"""How much memory a training run takes, from shapes alone: estimates from above, in bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nncore.evaluation import rows_at_once
from nncore.layers import Dropout, Flatten, Layer
from nncore.network import plan
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
    layers: Sequence[Layer], input_shape: Shape, rows: Rows, *, moments: int, standardizes: bool, epochs: int
) -> int:
    """Return what a run allocates at most beside its dataset.

    `moments` is how many arrays of the weights' size the optimizer keeps; `standardizes` says whether an
    input step learns from the training rows, which it does in float64.
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
    training += _weights(sum(sizes), moments)
    training += max(_batch(layers, width, outputs, rows.batch), _evaluation(outputs, rows.validation))
    testing = FLOAT * (sum(sizes) + width * (rows.validation + rows.test)) + _evaluation(outputs, rows.test)
    return max(drawing, fitting, training, testing) + EPOCH * epochs + REST


def _weights(count: int, moments: int) -> int:
    """The weights, their gradient, their best copy and the moments; for a moment a copy and a mask of one."""
    return (3 + moments) * FLOAT * count + (FLOAT + 1) * count + FLOAT * min(BLOCK, count)


def _targets(answer: int, rows: int) -> int:
    """Targets as floats, and the order of the rows."""
    return (FLOAT * answer + 2 * DOUBLE) * rows


def _batch(layers: Sequence[Layer], width: int, outputs: Sequence[Shape], rows: int) -> int:
    """The inputs, what each layer leaves for the backward pass, and the gradients on their way through it."""
    widths = [math.prod(shape) for shape in outputs]
    # A mask lies beside what it lets through; flattening makes no new array.
    kept = sum(
        0 if isinstance(layer, Flatten) else size * (2 if isinstance(layer, Dropout) else 1)
        for layer, size in zip(layers, widths, strict=True)
    )
    return FLOAT * rows * (width + kept + 4 * max(widths))


def _evaluation(outputs: Sequence[Shape], rows: int) -> int:
    """The layers' outputs, a bounded number of rows at a time; answers, and what the figures are made of."""
    layers = sum(math.prod(shape) for shape in outputs)
    return FLOAT * (layers * min(rows, rows_at_once(outputs)) + 8 * math.prod(outputs[-1]) * rows) + 64 * rows
