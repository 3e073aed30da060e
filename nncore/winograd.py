"""Convolution with kernels of 3×3 in 4 multiplications a number instead of 9: F(2×2, 3×3).

S. Winograd, "Arithmetic complexity of computations", 1980; A. Lavin and S. Gray, "Fast algorithms for
convolutional neural networks", 2016, https://arxiv.org/abs/1509.09308, whose letters these are. A tile of 2×2
outputs needs 4×4 inputs d. With V = Bᵀ d B and U = G g Gᵀ, both 4×4, the outputs are Aᵀ (U ⊙ V) A, and the
sum over channels turns ⊙ into 16 matrix products over all tiles. Every map is linear, so the gradients are
the same products with the maps transposed.

Arrays of tiles are (4, 4, N, rows, columns, C): place in the tile first, so that products and sums run along
long rows.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from nncore.types import FloatArray, Shape
from nncore.windows import Grid

A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]])
B = np.array([[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]])
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
# What each does to both axes of a tile, its numbers in a row: Bᵀ d B, G g Gᵀ and Aᵀ M A.
INPUT_MAP, KERNEL_MAP, OUTPUT_MAP = np.kron(B.T, B.T), np.kron(G, G), np.kron(A.T, A.T)
# Numbers in the tiles of inputs and products together, of as many pictures as are worked on at once.
BLOCK = 1 << 18
# With fewer channels the sums take longer than the multiplications that they save.
FEWEST_CHANNELS = 24
# For fewer pictures it takes longer to transform the kernels than it saves.
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
    columns before odd ones; `tiles`, d, cut out of it; `inputs`, V; `products`, M; `corners`, Y; `outputs`,
    those of all tiles, where some lie beyond the picture.
    """

    def __init__(self, grid: Grid, channels: int, filters: int) -> None:
        self.grid = grid
        rows, columns = (-(-side // 2) for side in grid.output)
        self.even = 2 * rows, 2 * columns
        self.is_exact = self.even == grid.output
        self.frame = self.even[0] + 2, 2, columns + 1, channels
        # The axis of the pictures, how many there are, is at -1.
        self.shapes: list[Shape] = [
            (-1, *self.frame),
            (4, 4, -1, rows, columns, channels),
            (4, 4, -1, rows, columns, channels),
            (4, 4, -1, rows, columns, filters),
            (2, 2, -1, rows, columns, filters),
            (0,) if self.is_exact else (-1, *self.even, filters),
        ]
        sizes = [abs(math.prod(shape)) for shape in self.shapes]
        self.ends = list(itertools.accumulate(sizes, initial=0))
        self.pictures = max(1, BLOCK // (sizes[2] + sizes[3]))

    def scratch_size(self) -> int:
        """Return how many numbers `convolve` works in."""
        return self.pictures * self.ends[-1]

    def convolve(
        self,
        x: FloatArray,
        kernels: FloatArray,
        bias: FloatArray | None,
        out: FloatArray,
        scratch: FloatArray | None = None,
    ) -> FloatArray:
        """Write what windows of x (N, H, W, C) give, plus bias (K,), into out (N, oh, ow, K); return it.

        `kernels` are what `transform_kernels` made of them.
        """
        to_outputs = OUTPUT_MAP.astype(x.dtype)
        for some, (frame, tiles, inputs, products, corners, outputs) in self._blocks(x, scratch):
            self._transform_inputs(x[some], frame, tiles, inputs)
            np.matmul(_by_place(inputs), kernels, out=_by_place(products))
            if bias is not None:
                # What stands at this place of M goes once into each output.
                products[1, 1] += bias
            np.matmul(to_outputs, _flat(products, 16), out=_flat(corners, 4))
            np.copyto(_corners(out[some] if self.is_exact else outputs), corners)
            if not self.is_exact:
                out[some] = outputs[:, : out.shape[1], : out.shape[2]]
        return out

    def gradients(
        self, x: FloatArray, weight: FloatArray, dy: FloatArray, dweight: FloatArray, *, wants_dx: bool
    ) -> FloatArray | None:
        """Write the gradient by weight (3, 3, C, K), and return the one by x, if wanted."""
        kernels = np.ascontiguousarray(transform_kernels(weight).swapaxes(1, 2))
        from_outputs = np.ascontiguousarray(OUTPUT_MAP.T, x.dtype)
        total = np.zeros((16, *weight.shape[2:]), x.dtype)
        part = np.empty_like(total)
        dx = np.empty(x.shape, x.dtype) if wants_dx else None
        for some, (frame, tiles, inputs, products, corners, outputs) in self._blocks(x):
            whole = dy[some]
            if not self.is_exact:
                outputs[...] = 0
                outputs[:, : dy.shape[1], : dy.shape[2]] = whole
                whole = outputs
            np.copyto(corners, _corners(whole))
            np.matmul(from_outputs, _flat(corners, 4), out=_flat(products, 16))
            self._transform_inputs(x[some], frame, tiles, inputs)
            total += np.matmul(_by_place(inputs).swapaxes(1, 2), _by_place(products), out=part)
            if dx is not None:
                np.matmul(_by_place(products), kernels, out=_by_place(inputs))
                self._return_inputs(inputs, tiles, frame, dx[some])
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
            bounds = zip(self.ends, self.ends[1:], self.shapes, strict=False)
            arrays = [scratch[count * begin : count * end].reshape(shape) for begin, end, shape in bounds]
            yield slice(start, start + count), arrays

    def _transform_inputs(
        self, x: FloatArray, frame: FloatArray, tiles: FloatArray, inputs: FloatArray
    ) -> None:
        """V = Bᵀ d B, for all tiles in one product with the map of both axes."""
        frame[...] = 0
        for inside, columns in self._inside(frame):
            inside[...] = x[:, :, columns]
        # Column 2a + b of a tile is number a of the even (b = 0) or odd columns from the tile's first on.
        n, row, odd, column, channel = frame.strides
        shape, strides = (4, 2, 2, *tiles.shape[2:]), (row, column, odd, n, 2 * row, column, channel)
        # As `as_strided` would have it, which takes as long as the copy of a picture.
        np.copyto(tiles.reshape(shape), np.ndarray(shape, frame.dtype, frame, strides=strides))
        np.matmul(INPUT_MAP.astype(x.dtype), _flat(tiles, 16), out=_flat(inputs, 16))

    def _return_inputs(
        self, inputs: FloatArray, tiles: FloatArray, frame: FloatArray, dx: FloatArray
    ) -> None:
        """Add up B V Bᵀ where tiles overlap, across first, then down; leave in dx what is in the picture."""
        rows = inputs.shape[3]
        half = tiles.reshape(-1)[: 4 * len(dx) * rows * math.prod(self.frame[1:])]
        half = half.reshape(4, len(dx), rows, *self.frame[1:])
        count = self.even[1] // 2
        half[...] = 0
        _add_up(inputs.swapaxes(0, 1), [half[:, :, :, j % 2, j // 2 : j // 2 + count] for j in range(4)])
        frame[...] = 0
        _add_up(half, [frame[:, i : i + self.even[0] : 2] for i in range(4)])
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


@functools.lru_cache(maxsize=256)
def tile(grid: Grid, channels: int, filters: int) -> Winograd | None:
    """Return how to go about a convolution in tiles, None where windows are quicker."""
    return Winograd(grid, channels, filters) if suits(grid, channels, filters) else None


def transform_kernels(weight: FloatArray) -> FloatArray:
    """Return U = G g Gᵀ, (16, C, K), of kernels (3, 3, C, K)."""
    kernels: FloatArray = KERNEL_MAP.astype(weight.dtype) @ weight.reshape(9, -1)
    return kernels.reshape(16, *weight.shape[2:])


def _by_place(tiles: FloatArray) -> FloatArray:
    """Return a view (16, all tiles, C) of tiles (4, 4, N, rows, columns, C)."""
    return tiles.reshape(16, -1, tiles.shape[-1])


def _flat(tiles: FloatArray, places: int) -> FloatArray:
    """Return a view with a long row for each place in a tile."""
    return tiles.reshape(places, tiles.size // places)


def _corners(y: FloatArray) -> FloatArray:
    """Return a view (2, 2, N, rows, columns, K) of outputs (N, 2·rows, 2·columns, K)."""
    n, height, width, filters = y.shape
    return y.reshape(n, height // 2, 2, width // 2, 2, filters).transpose(2, 4, 0, 1, 3, 5)


def _add_up(v: FloatArray, d: Sequence[FloatArray]) -> None:
    """Add B v along the first axis to the d, which overlap and are zero before; v is worked in."""
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
