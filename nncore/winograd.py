"""Convolution with kernels of 3×3 in 4 multiplications a number instead of 9: F(2×2, 3×3).

S. Winograd, "Arithmetic complexity of computations", 1980; A. Lavin and S. Gray, "Fast algorithms for
convolutional neural networks", 2016, https://arxiv.org/abs/1509.09308, whose letters these are. A tile of 2×2
outputs needs 4×4 inputs d. With V = Bᵀ d B and U = G g Gᵀ, both 4×4, the outputs are Aᵀ (U ⊙ V) A, and the
sum over channels turns ⊙ into 16 matrix products over all tiles. Every map is linear, so the gradients are
the same products with the maps transposed.

Arrays of tiles are (4, 4, N, rows, columns, C): place in the tile first, so that products and sums run along
long rows.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from nncore.types import FloatArray
from nncore.windows import Grid

# From 3 numbers of a kernel along an axis to the 4 of U.
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
KERNEL_MAP = np.kron(G, G)
# Numbers in the tiles of inputs and outputs together, of as many pictures as are worked on at once.
BLOCK = 1 << 19
# With fewer channels the sums take longer than the multiplications that they save.
FEWEST_CHANNELS = 24
# Of fewer pictures than these the tiles are too few for products of a good size.
FEWEST_PICTURES = 4
# How many times the outputs, those of tiles that stick out of the picture included, may be as many.
MOST_OUTPUTS = 1.4


def suits(grid: Grid, channels: int, filters: int) -> bool:
    """Say whether a convolution of a batch is done quicker here than by copying windows."""
    if grid.kernel != (3, 3) or grid.stride != (1, 1) or min(channels, filters) < FEWEST_CHANNELS:
        return False
    rows, columns = grid.output
    return (rows + rows % 2) * (columns + columns % 2) <= MOST_OUTPUTS * rows * columns


class Winograd:
    """The convolution on one grid: how its outputs are cut into tiles, a few pictures at a time.

    Arrays, for n pictures: `frame` (n, height, 2, width / 2, C), the picture with zeros around it, even
    columns before odd ones; `half`, what is half-way from there to the tiles of inputs; `inputs`, V;
    `products`, M; `sums`, half-way to the outputs; `outputs`, those of all tiles, where some lie beyond the
    picture.
    """

    def __init__(self, grid: Grid, channels: int, filters: int) -> None:
        self.grid = grid
        rows, columns = (-(-side // 2) for side in grid.output)
        self.even = 2 * rows, 2 * columns
        self.is_exact = self.even == grid.output
        height, width = self.even[0] + 2, self.even[1] + 2
        # The place of a picture's axis stands at None.
        self.shapes: list[tuple[int | None, ...]] = [
            (None, height, 2, width // 2, channels),
            (4, None, rows, 2, width // 2, channels),
            (4, 4, None, rows, columns, channels),
            (4, 4, None, rows, columns, filters),
            (2, 4, None, rows, columns, filters),
            (0,) if self.is_exact else (None, *self.even, filters),
        ]
        self.sizes = [math.prod(side for side in shape if side is not None) for shape in self.shapes]
        self.pictures = max(1, BLOCK // (self.sizes[2] + self.sizes[3]))

    def scratch_size(self) -> int:
        """Return how many numbers `convolve` works in."""
        return self.pictures * sum(self.sizes)

    def convolve(
        self, x: FloatArray, weight: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Write what windows of x (N, H, W, C) and weight give into out (N, oh, ow, K), and return it."""
        kernels = transform_kernels(weight)
        for some, (frame, half, inputs, products, sums, outputs) in self._blocks(x, scratch):
            self._transform_inputs(x[some], frame, half, inputs)
            np.matmul(_by_place(inputs), kernels, out=_by_place(products))
            whole = out[some] if self.is_exact else outputs
            _to_outputs(products, sums)
            _to_outputs(sums.swapaxes(0, 1), _tiles(whole).swapaxes(0, 1))
            if not self.is_exact:
                out[some] = outputs[:, : out.shape[1], : out.shape[2]]
        return out

    def gradients(
        self, x: FloatArray, weight: FloatArray, dy: FloatArray, dweight: FloatArray, *, wants_dx: bool
    ) -> FloatArray | None:
        """Write the gradient by weight (3, 3, C, K), and return the one by x, if wanted."""
        kernels = np.ascontiguousarray(transform_kernels(weight).swapaxes(1, 2))
        total = np.zeros((16, *weight.shape[2:]), x.dtype)
        part = np.empty_like(total)
        dx = np.empty_like(x) if wants_dx else None
        for some, (frame, half, inputs, products, sums, outputs) in self._blocks(x):
            whole = dy[some]
            if not self.is_exact:
                outputs[...] = 0
                outputs[:, : dy.shape[1], : dy.shape[2]] = whole
                whole = outputs
            _from_outputs(_tiles(whole).swapaxes(0, 1), sums.swapaxes(0, 1))
            _from_outputs(sums, products)
            self._transform_inputs(x[some], frame, half, inputs)
            total += np.matmul(_by_place(inputs).swapaxes(1, 2), _by_place(products), out=part)
            if dx is not None:
                np.matmul(_by_place(products), kernels, out=_by_place(inputs))
                self._return_inputs(inputs, half, frame, dx[some])
        np.matmul(KERNEL_MAP.T.astype(x.dtype), total.reshape(16, -1), out=dweight.reshape(9, -1))
        return dx

    def _blocks(
        self, x: FloatArray, scratch: FloatArray | None = None
    ) -> Iterator[tuple[slice, list[FloatArray]]]:
        """Yield which pictures come next, and the arrays for them."""
        if scratch is None:
            scratch = np.empty(self.scratch_size(), x.dtype)
        for start in range(0, len(x), self.pictures):
            count = min(self.pictures, len(x) - start)
            arrays, begin = [], 0
            for shape, size in zip(self.shapes, self.sizes, strict=True):
                sides = [count if side is None else side for side in shape]
                arrays.append(scratch[begin : begin + count * size].reshape(sides))
                begin += count * size
            yield slice(start, start + count), arrays

    def _transform_inputs(
        self, x: FloatArray, frame: FloatArray, half: FloatArray, inputs: FloatArray
    ) -> None:
        """V = Bᵀ d B: down the rows first, which lie in memory as wholes, then across."""
        frame[...] = 0
        for inside, columns in self._inside(frame):
            inside[...] = x[:, :, columns]
        _to_inputs(self._down(frame), half)
        _to_inputs(self._across(half), inputs.swapaxes(0, 1))

    def _return_inputs(self, inputs: FloatArray, half: FloatArray, frame: FloatArray, dx: FloatArray) -> None:
        """Add up B V Bᵀ where tiles overlap; leave in dx what is inside the picture."""
        half[...] = 0
        _from_inputs(inputs.swapaxes(0, 1), self._across(half))
        frame[...] = 0
        _from_inputs(half, self._down(frame))
        for inside, columns in self._inside(frame):
            dx[:, :, columns] = inside

    def _inside(self, frame: FloatArray) -> Iterator[tuple[FloatArray, slice]]:
        """Yield for even and odd columns of the frame where the picture's are, and which of it they are."""
        (top, left), (height, width) = self.grid.before, self.grid.picture
        for odd in (0, 1):
            first = (odd - left) % 2
            start = (left + first) // 2
            count = len(range(first, width, 2))
            yield frame[:, top : top + height, odd, start : start + count], slice(first, width, 2)

    def _down(self, frame: FloatArray) -> list[FloatArray]:
        """Return, for each of the 4 rows of a tile, a view of all tiles' numbers there."""
        return [frame[:, i : i + self.even[0] : 2] for i in range(4)]

    def _across(self, half: FloatArray) -> list[FloatArray]:
        """Return, for each of the 4 columns of a tile, a view of all tiles' numbers there."""
        count = self.even[1] // 2
        return [half[:, :, :, j % 2, j // 2 : j // 2 + count] for j in range(4)]


def transform_kernels(weight: FloatArray) -> FloatArray:
    """Return U = G g Gᵀ, (16, C, K), of kernels (3, 3, C, K)."""
    kernels: FloatArray = KERNEL_MAP.astype(weight.dtype) @ weight.reshape(9, -1)
    return kernels.reshape(16, *weight.shape[2:])


def _by_place(tiles: FloatArray) -> FloatArray:
    """Return a view (16, all tiles, C) of tiles (4, 4, N, rows, columns, C)."""
    return tiles.reshape(16, -1, tiles.shape[-1])


def _tiles(y: FloatArray) -> FloatArray:
    """Return a view (2, 2, N, rows, columns, K) of outputs (N, 2·rows, 2·columns, K)."""
    n, height, width, filters = y.shape
    return y.reshape(n, height // 2, 2, width // 2, 2, filters).transpose(2, 4, 0, 1, 3, 5)


def _to_inputs(d: Sequence[FloatArray], v: FloatArray) -> None:
    """v = Bᵀ d along the first axis: 4 to 4."""
    np.subtract(d[0], d[2], out=v[0])
    np.add(d[1], d[2], out=v[1])
    np.subtract(d[2], d[1], out=v[2])
    np.subtract(d[1], d[3], out=v[3])


def _from_inputs(v: FloatArray, d: Sequence[FloatArray]) -> None:
    """d += B v, the transpose of that, where d is zero before; v is worked in."""
    d[0][...] = v[0]
    v[1] -= v[0]
    v[1] += v[2]
    d[2][...] += v[1]
    # Of v[1] - v[2] + v[3] what is left to do after v[1] has become v[1] + v[2] - v[0].
    v[1] += v[0]
    v[2] *= -2
    v[2] += v[1]
    v[2] += v[3]
    d[1][...] = v[2]
    d[3][...] -= v[3]


def _to_outputs(m: FloatArray, y: FloatArray) -> None:
    """y = Aᵀ m along the first axis: 4 to 2; m is worked in."""
    m[0] += m[1]
    np.add(m[0], m[2], out=y[0])
    m[1] -= m[2]
    np.subtract(m[1], m[3], out=y[1])


def _from_outputs(y: FloatArray, m: FloatArray) -> None:
    """m = A y, the transpose of that: 2 to 4."""
    m[0] = y[0]
    np.add(y[0], y[1], out=m[1])
    np.subtract(y[0], y[1], out=m[2])
    np.negative(y[1], out=m[3])
