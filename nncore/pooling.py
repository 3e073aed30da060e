"""MaxPool2D and GlobalAveragePooling: pictures made smaller."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from nncore import windows
from nncore.config import sides
from nncore.convolution import pair
from nncore.layers import Cache, Layer
from nncore.types import FloatArray, Shape, Views


@dataclass(frozen=True)
class MaxPool2D(Layer):
    """The largest number of each window, channel by channel. (N, H, W, C) → (N, oh, ow, C).

    `size` and `stride` are one number or (height, width); without `stride` windows stand side by side. Rows
    and columns at the end that fill no window are left out. Of equal numbers the one furthest left, and in
    its column the uppermost, gets the gradient.
    """

    size: int | tuple[int, int] = sides(2, minimum=1, maximum=64)
    stride: int | tuple[int, int] | None = sides(None, minimum=1, maximum=64)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (oh, ow, C)."""
        return (*self._grid(input_shape).output, input_shape[2])

    def kept_size(self, input_shape: Shape) -> int:
        """Return the size of y and of the largest of each column."""
        grid = self._grid(input_shape)
        return grid.output[0] * (grid.output[1] + grid.picture[1]) * input_shape[2]

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y, and for the backward pass x, the largest of each column, and y.

        Rows first, then columns: two short passes, the first along whole rows of memory.
        """
        grid = self._grid(x.shape[1:])
        columns = _largest(x, grid, axis=1)
        y = _largest(columns, grid, axis=2)
        return y, (x, columns, y)

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Return dx: dy where the largest numbers were, zero elsewhere."""
        if not wants_dx:
            return None
        x, columns, y = cache
        grid = self._grid(x.shape[1:])
        return _send_back(x, columns, _send_back(columns, y, dy, grid, axis=2), grid, axis=1)

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`."""
        grid = self._grid(x.shape[1:])
        first, *others = [x[:, rows, columns] for rows, columns in _places(grid)]
        if not others:
            np.copyto(out, first)
        for here in others:
            first = np.maximum(first, here, out=out)
        return out

    def _grid(self, shape: Shape) -> windows.Grid:
        if len(shape) != 3:
            raise ValueError(f"max_pool2d takes pictures, (height, width, channels), not {shape}")
        stride = self.size if self.stride is None else self.stride
        return windows.lay(shape, pair(self.size), pair(stride), "valid")


@dataclass(frozen=True)
class GlobalAveragePooling(Layer):
    """The mean of each channel over the picture. (N, H, W, C) → (N, C) (Lin et al. 2014)."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (C,)."""
        if len(input_shape) != 3:
            what = "(height, width, channels)"
            raise ValueError(f"global_average_pooling takes pictures, {what}, not {input_shape}")
        return input_shape[2:]

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y and the shape of x."""
        return self.infer(views, x, np.empty((len(x), x.shape[3]), x.dtype)), x.shape

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Return dx: each pixel's share of dy."""
        dx = np.empty(cache, dy.dtype)
        dx[...] = (dy / math.prod(cache[1:3]))[:, np.newaxis, np.newaxis]
        return dx

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`."""
        np.mean(x, axis=(1, 2), out=out)
        return out


@functools.lru_cache(maxsize=256)
def _places(grid: windows.Grid) -> list[tuple[slice, slice]]:
    """Return, for each place in a window, where the pixels that stand there are."""
    (height, width) = grid.kernel
    return [(_every(i, grid, 0), _every(j, grid, 1)) for i in range(height) for j in range(width)]


def _every(offset: int, grid: windows.Grid, side: int) -> slice:
    """Return where, along height or width, the pixels with this place in their window are."""
    stride = grid.stride[side]
    return slice(offset, offset + (grid.output[side] - 1) * stride + 1, stride)


def _part(offset: int, grid: windows.Grid, axis: int) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, _every(offset, grid, axis - 1))


def _largest(x: FloatArray, grid: windows.Grid, axis: int) -> FloatArray:
    """Return the largest numbers of the windows along one axis."""
    y = x[_part(0, grid, axis)]
    for offset in range(1, grid.kernel[axis - 1]):
        here = x[_part(offset, grid, axis)]
        y = np.maximum(y, here) if offset == 1 else np.maximum(y, here, out=y)
    return y


def _send_back(
    x: FloatArray, largest: FloatArray, dy: FloatArray, grid: windows.Grid, axis: int
) -> FloatArray:
    """Return dx along one axis: dy goes to the first number of its window that is the largest."""
    size, stride = grid.kernel[axis - 1], grid.stride[axis - 1]
    overlapping = size > stride
    covered = size == stride and grid.output[axis - 1] * stride == x.shape[axis]
    dx = np.empty_like(x) if covered else np.zeros_like(x)
    left = dy
    for offset in range(size):
        place = _part(offset, grid, axis)
        share = left
        if offset < size - 1:
            share = left * (x[place] == largest)
            left = left - share
        if overlapping:
            dx[place] += share
        else:
            dx[place] = share
    return dx
