"""The input pipeline that is saved with a model: what turns what a caller sends into network inputs.

A picture is first turned into numbers (`pictures`), then every array goes through the same steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from nncore.columns import MOST_WIDTH
from nncore.config import entries, number
from nncore.errors import InputError
from nncore.pictures import normalize_digit, resize_picture
from nncore.types import Array, ByteArray, FloatArray


class Step(Protocol):
    """One step of a pipeline, on a batch."""

    def fit(self, inputs: Array) -> "Step":
        """Return the step with what it has to learn from the training inputs filled in."""

    def apply(self, x: Array, out: FloatArray) -> FloatArray:
        """Write the result for x, (N, …), into `out` and return it; x may be `out`."""

    def backward(self, dy: FloatArray) -> FloatArray:
        """Return the gradient by x from that by the result: both (N, …)."""


@dataclass(frozen=True)
class Scale:
    """x / divide_by."""

    divide_by: float = number(above=0)

    def fit(self, inputs: Array) -> "Scale":
        """Return the step itself."""
        return self

    def apply(self, x: Array, out: FloatArray) -> FloatArray:
        """Return x / divide_by in `out`."""
        np.multiply(x, 1 / self.divide_by, out=out, casting="same_kind")
        return out

    def backward(self, dy: FloatArray) -> FloatArray:
        """Return dy / divide_by."""
        dx: FloatArray = dy * (1 / self.divide_by)
        return dx


@dataclass(frozen=True)
class Standardize:
    """(x - mean) / deviation, column by column; both are learned from the training inputs."""

    mean: tuple[float, ...] = entries(MOST_WIDTH)
    deviation: tuple[float, ...] = entries(MOST_WIDTH)

    def fit(self, inputs: Array) -> "Standardize":
        """Return the step with mean and deviation of the columns of inputs: (N, D)."""
        if inputs.ndim != 2:
            raise InputError(f"standardize works on columns, not on inputs of shape {inputs.shape[1:]}")
        deviation = inputs.std(axis=0, dtype=np.float64)
        # A constant column carries nothing; dividing by one keeps it at zero. Its deviation may be a rounding
        # error instead of zero.
        deviation[inputs.max(axis=0) == inputs.min(axis=0)] = 1
        mean = inputs.mean(axis=0, dtype=np.float64)
        return Standardize(tuple(mean.tolist()), tuple(deviation.tolist()))

    def apply(self, x: Array, out: FloatArray) -> FloatArray:
        """Return the standardised x in `out`."""
        mean, deviation = self._rows.astype(out.dtype)
        np.subtract(x, mean, out=out, casting="same_kind")
        out /= deviation
        return out

    def backward(self, dy: FloatArray) -> FloatArray:
        """Return dy / deviation, column by column."""
        dx: FloatArray = dy / self._rows[1].astype(dy.dtype)
        return dx

    @cached_property
    def _rows(self) -> FloatArray:
        # Tuples of 784 numbers take as long to be made arrays of as a small network to answer.
        return np.array([self.mean, self.deviation])


# Each goes over all the data once more.
MOST_STEPS = 16
STEPS: dict[str, type] = {"scale": Scale, "standardize": Standardize}


def apply_steps(steps: Sequence[Step], x: Array, out: FloatArray) -> FloatArray:
    """Send x, (N, …), through the steps into `out` and return it."""
    if not steps:
        np.copyto(out, x, casting="same_kind")
    for step in steps:
        x = step.apply(x, out)
    return out


def back_through_steps(steps: Sequence[Step], dy: FloatArray) -> FloatArray:
    """Return the gradient by raw inputs, (N, …), from that by what the steps made of them."""
    for step in reversed(steps):
        dy = step.backward(dy)
    return dy


@dataclass(frozen=True)
class DigitPicture:
    """A grey picture of one digit, cropped, scaled and centred the way MNIST was made."""

    channels = 1

    def check(self, shape: tuple[int, ...]) -> str | None:
        """Return what is wrong with a network input of this shape, None if it fits."""
        return None if shape in ((28, 28), (784,)) else f"a digit picture gives 28×28 numbers, not {shape}"

    def prepare(self, picture: ByteArray) -> FloatArray:
        """Return (28, 28) numbers in 0-255, white ink on black, from a picture (H, W)."""
        return normalize_digit(picture)


@dataclass(frozen=True)
class ResizedPicture:
    """Any picture, grey (`channels` 1) or colour (3), brought to one size."""

    height: int = number(minimum=1, maximum=1024)
    width: int = number(minimum=1, maximum=1024)
    channels: int = number(1, minimum=1, maximum=3)

    def check(self, shape: tuple[int, ...]) -> str | None:
        """Return what is wrong with a network input of this shape, None if it fits."""
        if self.channels == 2:
            return "pictures have 1 channel or 3, not 2"
        mine: Any = (self.height, self.width) + ((3,) if self.channels == 3 else ())
        return None if shape == mine else f"the picture gives {mine} numbers, the network takes {shape}"

    def prepare(self, picture: ByteArray) -> FloatArray:
        """Return (height, width) or (height, width, 3) numbers in 0-255 from a picture of any size."""
        return resize_picture(picture, self.height, self.width)


Picture = DigitPicture | ResizedPicture
PICTURES: dict[str, type] = {"digit": DigitPicture, "resize": ResizedPicture}
