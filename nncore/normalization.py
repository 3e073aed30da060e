"""BatchNorm: each channel brought to zero mean and unit variance over a batch (Ioffe & Szegedy 2015)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nncore import ops
from nncore.config import number
from nncore.layers import Cache, Layer
from nncore.types import FloatArray, Shape, Views

# Numbers worked on at a time, so that they stay in cache from one pass to the next.
BLOCK = 32_768


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y = scale · (x - mean) / √(variance + epsilon) + shift, channel by channel: (N, C) or (N, H, W, C).

    In training mean and variance are those of the batch, over all axes but the last; outside training they
    are running ones, which each batch moves by a share of 1 - `momentum`.
    """

    works_in_place = True

    momentum: float = number(0.9, minimum=0, below=1)
    epsilon: float = number(1e-5, above=0, maximum=1)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape itself."""
        if len(input_shape) not in (1, 3):
            what = "(features) or (height, width, channels)"
            raise ValueError(f"batch_norm takes {what}, not {input_shape}")
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return scale and shift, the paper's γ and β: (C,)."""
        return {"scale": input_shape[-1:], "shift": input_shape[-1:]}

    def state_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return the running mean and variance: (C,)."""
        return {"mean": input_shape[-1:], "variance": input_shape[-1:]}

    def initialize(self, views: Views, rng: np.random.Generator) -> None:
        """Start as the identity."""
        for name, value in {"scale": 1, "shift": 0, "mean": 0, "variance": 1}.items():
            views[name][...] = value

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y, and x with its mean, variance and number of rows, which is None outside training."""
        if rng is None:
            mean, variance, count = views["mean"], views["variance"], None
        else:
            (mean, variance), count = _moments(x), _count(x)
        y = np.empty(x.shape, x.dtype)
        _transform(x, mean, views["scale"] / np.sqrt(variance + self.epsilon), views["shift"], y)
        return y, (x, mean, variance, count)

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Write the gradients by scale and shift; return dx, in training through mean and variance too.

        With x̂ the normalized x: dx = scale/σ · (dy - mean(dy) - x̂ · mean(dy · x̂)).
        """
        x, mean, variance, count = cache
        inverse = 1 / np.sqrt(variance + self.epsilon)
        shift, scale = _sums(x, mean, dy)
        scale *= inverse
        gradients["shift"][...], gradients["scale"][...] = shift, scale
        if not wants_dx:
            return None
        factor = views["scale"] * inverse
        dx = np.empty(dy.shape, dy.dtype)
        if count is None:
            _transform(dy, np.zeros_like(mean), factor, np.zeros_like(mean), dx)
        else:
            _back_through_moments(x, mean, dy, factor, -factor * inverse * scale / count, shift / count, dx)
        return dx

    def fold(self, state: Views, cache: Cache) -> None:
        """Move the running mean and variance towards the batch's; the variance is that of a sample.

        A batch with one number a channel, the last of an epoch say, has none and moves nothing.
        """
        _, mean, variance, count = cache
        if count < 2:
            return
        share = 1 - self.momentum
        for running, batch in (
            (state["mean"], mean),
            (state["variance"], variance * count / (count - 1)),
        ):
            running += share * (batch - running)

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`, which may be x."""
        factor = views["scale"] / np.sqrt(views["variance"] + self.epsilon)
        return _transform(x, views["mean"], factor, views["shift"], out)


def _moments(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of each channel; two passes, as E[x²] - E[x]² loses digits."""
    count = _count(x)
    wide = ops.wide_rows(x)
    mean = ops.sum_channels(wide, x.shape[-1]) / count
    square = np.zeros(wide.shape[1], x.dtype)
    means = ops.across(mean, wide)
    for block, room in _blocks_with_room(wide):
        np.subtract(wide[block], means, out=room)
        room *= room
        square += ops.sum_rows(room)
    return mean, square.reshape(-1, x.shape[-1]).sum(axis=0) / count


def _count(x: FloatArray) -> int:
    """Return the numbers of a channel; one where there are none, to divide by."""
    count: int = x.size // x.shape[-1]
    return max(count, 1)


def _transform(
    x: FloatArray, mean: FloatArray, factor: FloatArray, shift: FloatArray, out: FloatArray
) -> FloatArray:
    """Write (x - mean) · factor + shift into `out`, which may be x."""
    wide, target = ops.wide_rows(x), ops.wide_target(out)
    means, factors, shifts = (ops.across(vector, wide) for vector in (mean, factor, shift))
    for block in _blocks(wide):
        y = np.subtract(wide[block], means, out=target[block])
        y *= factors
        y += shifts
    return out


def _sums(x: FloatArray, mean: FloatArray, dy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return for each channel the sum of dy, and of dy · (x - mean)."""
    wide, wide_dy, channels = ops.wide_rows(x), ops.wide_rows(dy), x.shape[-1]
    means = ops.across(mean, wide)
    product = np.zeros(wide.shape[1], x.dtype)
    for block, room in _blocks_with_room(wide):
        np.subtract(wide[block], means, out=room)
        room *= wide_dy[block]
        product += ops.sum_rows(room)
    return ops.sum_channels(wide_dy, channels), product.reshape(-1, channels).sum(axis=0)


def _back_through_moments(
    x: FloatArray,
    mean: FloatArray,
    dy: FloatArray,
    factor: FloatArray,
    slope: FloatArray,
    mean_dy: FloatArray,
    dx: FloatArray,
) -> None:
    """Write factor · (dy - mean_dy) + slope · (x - mean) into dx, in the fewest passes."""
    wide, wide_dy, wide_dx = ops.wide_rows(x), ops.wide_rows(dy), ops.wide_target(dx)
    factors, slopes = ops.across(factor, wide), ops.across(slope, wide)
    constants = ops.across(-factor * mean_dy - slope * mean, wide)
    for block, room in _blocks_with_room(wide):
        np.multiply(wide[block], slopes, out=room)
        room += constants
        y = np.multiply(wide_dy[block], factors, out=wide_dx[block])
        y += room


def _blocks(wide: FloatArray) -> Iterator[slice]:
    """Yield slices of rows."""
    rows = max(1, BLOCK // wide.shape[1])
    for start in range(0, len(wide), rows):
        yield slice(start, min(start + rows, len(wide)))


def _blocks_with_room(wide: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Yield slices of rows, each with room for them."""
    rows = max(1, BLOCK // wide.shape[1])
    room = np.empty((min(rows, len(wide)), wide.shape[1]), wide.dtype)
    for block in _blocks(wide):
        yield block, room[: block.stop - block.start]
