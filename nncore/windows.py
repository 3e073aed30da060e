"""Sliding windows over pictures: convolution as matrix products, and its two gradients.

Pictures are (N, H, W, C), kernels (kh, kw, C, K). Windows are copied side by side into rows (im2col), a few
pictures at a time so that they stay in cache between the copy and the product.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nncore.types import FloatArray, Shape

# Numbers of a block of windows: 2 MB of float32, what a core has of second-level cache and a little more.
BLOCK = 1 << 19
Pair = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Where windows stand on a picture: `before` and `after` are the zeros added to height and width."""

    picture: Pair
    kernel: Pair
    stride: Pair
    before: Pair
    after: Pair
    output: Pair

    @property
    def padded(self) -> Pair:
        """The picture's height and width with its zeros."""
        return (
            self.before[0] + self.picture[0] + self.after[0],
            self.before[1] + self.picture[1] + self.after[1],
        )

    def block(self, channels: int) -> Pair:
        """Return how many pictures, and how many rows of windows of each, are worked on at once."""
        a_row = self.output[1] * self.kernel[0] * self.kernel[1] * channels
        rows = min(self.output[0], max(1, BLOCK // a_row))
        return (1 if rows < self.output[0] else max(1, BLOCK // (a_row * rows))), rows

    def scratch_size(self, channels: int) -> int:
        """Return how many numbers a block and its padded pictures are."""
        pictures, rows = self.block(channels)
        windows = rows * self.output[1] * self.kernel[0] * self.kernel[1]
        padding = self.padded[0] * self.padded[1] if self.padded != self.picture else 0
        return pictures * (windows + padding) * channels


@lru_cache(maxsize=1024)
def lay(shape: Shape, kernel: Pair, stride: Pair, padding: str) -> Grid:
    """Return the grid of windows on pictures of a shape (H, W, C).

    With `same` padding there are ceil(H / stride) rows of windows, zeros around the picture making up for
    what is missing, the odd one behind; with `valid` no window leaves the picture. Raises ValueError where
    a kernel is too large, or a stride skips all windows but the first.
    """
    axes = zip(("height", "width"), shape, kernel, stride, strict=False)
    (h, kh, sh, top, bottom, oh), (w, kw, sw, left, right, ow) = [_lay_axis(*axis, padding) for axis in axes]
    return Grid((h, w), (kh, kw), (sh, sw), (top, left), (bottom, right), (oh, ow))


def _lay_axis(name: str, side: int, size: int, step: int, padding: str) -> tuple[int, ...]:
    """Return side, size, step, the zeros before and behind, and how many windows there are."""
    if padding == "valid" and size > side:
        raise ValueError(
            f'a kernel of {size} does not fit into a {name} of {side}: make it smaller, or pad "same"'
        )
    if size > 2 * side - 1:
        raise ValueError(f"most of a kernel of {size} never meets a {name} of {side}: make it smaller")
    if step > side:
        raise ValueError(f"a stride of {step} skips all of a {name} of {side} but its first window")
    if padding == "valid":
        return side, size, step, 0, 0, (side - size) // step + 1
    count = -(-side // step)
    missing = max((count - 1) * step + size - side, 0)
    return side, size, step, missing // 2, missing - missing // 2, count


def convolve(
    x: FloatArray, weight: FloatArray, grid: Grid, out: FloatArray, scratch: FloatArray | None = None
) -> FloatArray:
    """Write the sum over each window of picture times kernel into out (N, oh, ow, K), and return it.

    This is the field's convolution, strictly a cross-correlation: the kernel is not turned around.
    """
    outputs = weight.shape[-1]
    flat = weight.reshape(-1, outputs)
    for pictures, rows, windows in unfold(x, grid, scratch):
        np.matmul(windows, flat, out=out[pictures, rows].reshape(-1, outputs))
    return out


def kernel_gradient(x: FloatArray, dy: FloatArray, grid: Grid, out: FloatArray) -> None:
    """Write the gradient by the kernel into out (kh, kw, C, K), from pictures and dy (N, oh, ow, K)."""
    outputs = dy.shape[-1]
    total = out.reshape(-1, outputs)
    part = np.empty_like(total)
    if not len(x):
        total[...] = 0
    # Windows are copied again: that is quicker than to fetch what forward copied back from main memory.
    for number, (pictures, rows, windows) in enumerate(unfold(x, grid)):
        here = dy[pictures, rows].reshape(-1, outputs)
        np.matmul(windows.T, here, out=part if number else total)
        if number:
            total += part


def picture_gradient(dy: FloatArray, weight: FloatArray, grid: Grid) -> FloatArray:
    """Return the gradient by the pictures (N, H, W, C), from dy (N, oh, ow, K)."""
    (height, width), (rows, columns) = grid.picture, grid.output
    # A product for each place in the kernel takes about 1.4 times as long for each number of dy, but needs
    # no zeros around it.
    if grid.stride == (1, 1) and height * width <= 1.4 * rows * columns:
        return _correlate_back(dy, weight, grid)
    return _scatter_back(dy, weight, grid)


def unfold(
    x: FloatArray, grid: Grid, scratch: FloatArray | None = None
) -> Iterator[tuple[slice, slice, FloatArray]]:
    """Yield blocks of windows: which pictures, which rows of windows, and windows (M, kh·kw·C).

    A block is valid until the next one is asked for.
    """
    channels = x.shape[-1]
    if scratch is None:
        scratch = np.empty(grid.scratch_size(channels), x.dtype)
    most, rows = grid.block(channels)
    most = min(most, max(len(x), 1))
    rest = scratch
    if grid.padded != grid.picture:
        shape = (most, *grid.padded, channels)
        size = most * grid.padded[0] * grid.padded[1] * channels
        framed, rest = scratch[:size].reshape(shape), scratch[size:]
        framed[...] = 0
    for first in range(0, len(x), most):
        part = x[first : first + most]
        if grid.padded != grid.picture:
            (top, left), (height, width) = grid.before, grid.picture
            framed[: len(part), top : top + height, left : left + width] = part
            part = framed[: len(part)]
        windows = _windows(np.ascontiguousarray(part), grid)
        for row in range(0, grid.output[0], rows):
            here = windows[:, row : row + rows]
            yield slice(first, first + most), slice(row, row + rows), _copy_windows(here, rest)


def _windows(x: FloatArray, grid: Grid) -> FloatArray:
    """Return a view (N, oh, ow, kh, kw, C) of x, which is contiguous: every window, overlaps included."""
    (sh, sw), (n, h, w, c) = grid.stride, x.strides
    shape = (len(x), *grid.output, *grid.kernel, x.shape[-1])
    # as_strided takes five times as long for the same.
    return np.ndarray(shape, x.dtype, x, strides=(n, h * sh, w * sw, h, w, c))


def _copy_windows(windows: FloatArray, room: FloatArray) -> FloatArray:
    """Return windows (N, r, ow, kh, kw, C) as a matrix (N·r·ow, kh·kw·C), made in `room`."""
    pictures, rows, columns, kh, kw, channels = windows.shape
    width = kh * kw * channels
    flat = room[: pictures * rows * columns * width]
    # NumPy copies run by run. Where a kernel's row is shorter than a row of windows, the latter are the
    # runs, and BLAS reads the matrix as a transposed one.
    if kw * channels < columns:
        across = flat.reshape(kh, kw, channels, pictures, rows, columns)
        np.copyto(across, windows.transpose(3, 4, 5, 0, 1, 2))
        return flat.reshape(width, -1).T
    np.copyto(flat.reshape(windows.shape), windows)
    return flat.reshape(-1, width)


def _correlate_back(dy: FloatArray, weight: FloatArray, grid: Grid) -> FloatArray:
    """Convolve dy, with zeros around it, with the kernel turned by half a turn: for a stride of one."""
    (kh, kw), (top, left), (bottom, right) = grid.kernel, grid.before, grid.after
    turned = np.ascontiguousarray(weight[::-1, ::-1].transpose(0, 1, 3, 2))
    before, after = (kh - 1 - top, kw - 1 - left), (kh - 1 - bottom, kw - 1 - right)
    back = Grid(grid.output, grid.kernel, (1, 1), before, after, grid.picture)
    dx = np.empty((len(dy), *grid.picture, turned.shape[-1]), dy.dtype)
    return convolve(dy, turned, back, dx)


def _scatter_back(dy: FloatArray, weight: FloatArray, grid: Grid) -> FloatArray:
    """Add up, for each place in the kernel, its share at the pixels that it was laid on."""
    (sh, sw), (rows, columns) = grid.stride, grid.output
    kh, kw, channels, outputs = weight.shape
    dx = np.zeros((len(dy), *grid.padded, channels), dy.dtype)
    most = max(1, min(len(dy), BLOCK // (rows * columns * channels)))
    room = np.empty((most, rows, columns, channels), dy.dtype)
    for first in range(0, len(dy), most):
        here = dy[first : first + most]
        share, part = room[: len(here)], dx[first : first + most]
        for i in range(kh):
            for j in range(kw):
                np.matmul(here.reshape(-1, outputs), weight[i, j].T, out=share.reshape(-1, channels))
                part[:, i : i + rows * sh : sh, j : j + columns * sw : sw][:, :rows, :columns] += share
    (top, left), (height, width) = grid.before, grid.picture
    return np.ascontiguousarray(dx[:, top : top + height, left : left + width])
