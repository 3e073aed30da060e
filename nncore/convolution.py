"""Conv2D: a kernel slid over a picture (LeCun et al. 1989)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nncore import ops, windows, winograd
from nncore.config import choice, number, sides
from nncore.initializers import INITIALIZERS
from nncore.layers import Cache, Layer
from nncore.types import FloatArray, Shape, Views

PADDINGS = ("same", "valid")


@dataclass(frozen=True)
class Conv2D(Layer):
    """y[h, w] = Σ x[h·stride + i, w·stride + j] · weight[i, j] + bias. (N, H, W, C) → (N, oh, ow, filters).

    A picture without channels, (H, W), has one. `kernel` and `stride` are one number or (height, width).
    """

    filters: int = number(minimum=1, maximum=4096)
    kernel: int | tuple[int, int] = sides(minimum=1, maximum=64)
    stride: int | tuple[int, int] = sides(1, minimum=1, maximum=64)
    padding: str = choice(PADDINGS, default="valid")
    bias: bool = True
    initializer: str = choice(INITIALIZERS, default="he")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (oh, ow, filters)."""
        return (*self._grid(input_shape).output, self.filters)

    def parameter_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return weight (kh, kw, C, filters) and, unless switched off, bias (filters,)."""
        weight = {"weight": (*pair(self.kernel), channels_of(input_shape), self.filters)}
        return weight | {"bias": (self.filters,)} if self.bias else weight

    def scratch_size(self, input_shape: Shape) -> int:
        """Return the room for a block of windows, or of tiles."""
        grid = self._grid(input_shape)
        size = grid.scratch_size(channels_of(input_shape))
        tiling = winograd.tile(grid, channels_of(input_shape), self.filters)
        return max(size, tiling.scratch_size()) if tiling else size

    def prepared(self, views: Views, input_shape: Shape) -> Views:
        """Return the arrays, and the kernels as tiles take them, where those are quicker."""
        if not winograd.tile(self._grid(input_shape), channels_of(input_shape), self.filters):
            return views
        return {**views, "kernels": winograd.transform_kernels(views["weight"])}

    def initialize(self, views: Views, rng: np.random.Generator) -> None:
        """Draw the weight by what goes into one output, kh·kw·C; the bias starts at zero."""
        INITIALIZERS[self.initializer](views["weight"].reshape(-1, self.filters), rng)
        if self.bias:
            views["bias"][...] = 0

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y and x."""
        out = np.empty((len(x), *self.output_shape(x.shape[1:])), x.dtype)
        return self.infer(views, x, out), x

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Write the gradients by weight and bias; return dx if wanted."""
        if self.bias:
            ops.sum_rows(dy.reshape(-1, self.filters), out=gradients["bias"])
        grid, x, weight = self._grid(cache.shape[1:]), _with_channels(cache), views["weight"]
        tiling = winograd.tile(grid, x.shape[3], self.filters)
        if tiling and len(x) >= winograd.FEWEST_PICTURES:
            return tiling.gradients(x, weight, dy, gradients["weight"], wants_dx=wants_dx)
        windows.kernel_gradient(x, dy, grid, gradients["weight"])
        return windows.picture_gradient(dy, weight, grid).reshape(cache.shape) if wants_dx else None

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`."""
        grid, x, kernels = self._grid(x.shape[1:]), _with_channels(x), views.get("kernels")
        tiling = winograd.tile(grid, x.shape[3], self.filters)
        if tiling and (kernels is not None or len(x) >= winograd.FEWEST_PICTURES):
            kernels = winograd.transform_kernels(views["weight"]) if kernels is None else kernels
            return tiling.convolve(x, kernels, views.get("bias"), out, scratch)
        windows.convolve(x, views["weight"], grid, out, scratch)
        if self.bias:
            ops.add_to_channels(out, views["bias"])
        return out

    def _grid(self, shape: Shape) -> windows.Grid:
        if len(shape) not in (2, 3):
            raise ValueError(f"conv2d takes pictures, (height, width, channels), not {shape}")
        return windows.lay(shape, pair(self.kernel), pair(self.stride), self.padding)


def pair(side: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width), where one number stands for both."""
    return (side, side) if isinstance(side, int) else side


def channels_of(shape: Shape) -> int:
    """Return the channels of a picture of this shape: one where it has no axis for them."""
    return shape[2] if len(shape) == 3 else 1


def _with_channels(x: FloatArray) -> FloatArray:
    return x if x.ndim == 4 else x[..., np.newaxis]
