"""Dense, activations, Dropout and Flatten.

A layer is a frozen description of hyper-parameters. Its arrays are handed in, what the backward pass
needs is handed out: `forward` returns `(y, cache)`, so nothing on a layer is ever written.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nncore import ops
from nncore.config import choice, number
from nncore.initializers import INITIALIZERS
from nncore.types import Array, FloatArray, Shape, Views

Cache = Any
NOTHING: Mapping[str, Shape] = {}


class Layer(ABC):
    """What a network asks of a layer. Shapes are those of one example, without the batch axis.

    What is not abstract fits a layer that keeps the shape, learns nothing and needs no room to work in.

    `works_in_place` says that `infer` may be given an `out` that lies where x does.
    """

    works_in_place: ClassVar[bool] = False

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one output, or raise ValueError that says what would be right.

        What holds layers itself raises RecipeError with the place of the one that is wrong.
        """
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return the names and shapes of the arrays that the optimizer moves."""
        return NOTHING

    def state_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return the names and shapes of the arrays that batches leave behind, running statistics say."""
        return NOTHING

    def numbers(self, input_shape: Shape) -> int:
        """Return how many numbers an example becomes here: its output, and what layers inside give."""
        return math.prod(self.output_shape(input_shape))

    def multiply_adds(self, input_shape: Shape) -> int:
        """Return how many an example takes by the definition of what is worked out."""
        weight = self.parameter_shapes(input_shape).get("weight", (0,))
        return math.prod(weight) * math.prod(self.output_shape(input_shape)[:-1])

    def kept_size(self, input_shape: Shape) -> int:
        """Return how many numbers of an example `forward` leaves for `backward`, its output included."""
        return self.numbers(input_shape)

    def scratch_size(self, input_shape: Shape) -> int:
        """Return how many numbers `infer` needs room for beside its outputs, however many rows come."""
        return 0

    def prepared(self, views: Views, input_shape: Shape) -> Views:
        """Return the arrays for many calls of `infer`: with what each would make of them anew beside them."""
        return views

    def initialize(self, views: Views, rng: np.random.Generator) -> None:
        """Fill parameters and state with their first values."""
        return

    @abstractmethod
    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return the outputs and what `backward` needs; `rng` is None outside training."""

    @abstractmethod
    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Write the parameters' gradients, return dx; None where the layer skips it as not wanted."""

    def fold(self, state: Views, cache: Cache) -> None:
        """Move the state by what a training batch's forward pass left in its cache."""
        return

    @abstractmethod
    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return the outputs outside training, in `out` or as a view of x.

        `scratch` is flat, of at least `scratch_size`; without it the layer makes room for itself.
        """


# In a layer with so many weights, what is 0 in a single example is left out where at most a quarter of it
# is not, as of most digits: 784×512 weights answer in 11 µs instead of 21, and in 72 instead of 169 where
# they are not in the cache. Room is taken for no more than so many numbers.
SPARSE_FROM, MOST_SPARSE = 1 << 16, 1 << 17


@dataclass(frozen=True)
class Dense(Layer):
    """y = x @ weight + bias. (N, D) → (N, units)."""

    units: int = number(minimum=1, maximum=65_536)
    bias: bool = True
    initializer: str = choice(INITIALIZERS, default="he")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (units,)."""
        if len(input_shape) != 1:
            raise ValueError(
                f'dense takes flat inputs, not {input_shape}: put {{"type": "flatten"}} before it'
            )
        return (self.units,)

    def parameter_shapes(self, input_shape: Shape) -> Mapping[str, Shape]:
        """Return weight (D, units) and, unless switched off, bias (units,)."""
        weight = {"weight": (input_shape[0], self.units)}
        return weight | {"bias": (self.units,)} if self.bias else weight

    def initialize(self, views: Views, rng: np.random.Generator) -> None:
        """Draw the weight; the bias starts at zero."""
        INITIALIZERS[self.initializer](views["weight"], rng)
        if self.bias:
            views["bias"][...] = 0

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y (N, units) and x."""
        return ops.affine(x, views["weight"], views.get("bias")), x

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Write dW = xᵀ dy and db = Σ dy; return dx = dy Wᵀ if wanted."""
        np.matmul(cache.T, dy, out=gradients["weight"])
        if self.bias:
            ops.sum_rows(dy, out=gradients["bias"])
        return dy @ views["weight"].T if wants_dx else None

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y (N, units) in `out`."""
        weight = views["weight"]
        if len(x) == 1 and scratch is not None and (few := self._few(len(weight))):
            places = x[0].nonzero()[0]
            if len(places) <= few:
                room = scratch[: len(places) * self.units].reshape(-1, self.units)
                x, weight = x.take(places, axis=1), weight.take(places, axis=0, out=room, mode="clip")
        return ops.affine(x, weight, views.get("bias"), out=out)

    def scratch_size(self, input_shape: Shape) -> int:
        """Return the room that the weights of a few inputs take."""
        return self._few(input_shape[0]) * self.units

    def _few(self, width: int) -> int:
        """Return how many inputs may not be 0 for it to pay to leave out those that are."""
        return min(width // 4, MOST_SPARSE // self.units) if width * self.units >= SPARSE_FROM else 0


class _Activation(Layer):
    """y = f(x), elementwise, where the slope f' can be told from y alone."""

    works_in_place = True

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        y = self.infer(views, x, np.empty(x.shape, x.dtype))
        return y, y

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        dx: FloatArray = dy * self.slope(cache)
        return dx

    @abstractmethod
    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return f(x) in `out`."""

    @abstractmethod
    def slope(self, y: FloatArray) -> Array:
        """Return f'(x) at y = f(x)."""


@dataclass(frozen=True)
class Sigmoid(_Activation):
    """y = 1 / (1 + exp(-x)), elementwise."""

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`."""
        return ops.sigmoid(x, out=out)

    def slope(self, y: FloatArray) -> Array:
        """Return y · (1 - y)."""
        return y * (1 - y)


@dataclass(frozen=True)
class Tanh(_Activation):
    """y = tanh(x), elementwise."""

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`."""
        y: FloatArray = np.tanh(x, out=out)
        return y

    def slope(self, y: FloatArray) -> Array:
        """Return 1 - y²."""
        return 1 - y * y


@dataclass(frozen=True)
class ReLU(_Activation):
    """y = max(x, 0), elementwise; the slope at 0 is taken as 0."""

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return y in `out`."""
        return ops.relu(x, out=out)

    def slope(self, y: FloatArray) -> Array:
        """Return 1 where y > 0, else 0."""
        return y > 0


@dataclass(frozen=True)
class Dropout(Layer):
    """Zero a share `rate` of the inputs in training and scale the rest by 1 / (1 - rate).

    Outside training it changes nothing (Srivastava et al. 2014, in the inverted form).
    """

    rate: float = number(minimum=0, below=1)

    def kept_size(self, input_shape: Shape) -> int:
        """Return the size of y and of the mask."""
        return 2 * math.prod(input_shape)

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y and the mask, None outside training."""
        if rng is None or self.rate == 0:
            return x, None
        kept = rng.random(x.shape, np.float32) >= self.rate
        mask = np.multiply(kept, 1 / (1 - self.rate), dtype=x.dtype)
        return x * mask, mask

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Return dx = dy · mask."""
        return dy if cache is None else dy * cache

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return x itself."""
        return x


@dataclass(frozen=True)
class Flatten(Layer):
    """(N, a, b, …) → (N, a·b·…), rows first."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the number of elements as a shape."""
        return (int(np.prod(input_shape)),)

    def kept_size(self, input_shape: Shape) -> int:
        """Return 0: y is a view of x."""
        return 0

    def forward(
        self, views: Views, x: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, Cache]:
        """Return y and the shape of x."""
        return x.reshape(len(x), math.prod(x.shape[1:])), x.shape

    def backward(
        self, views: Views, gradients: Views, cache: Cache, dy: FloatArray, *, wants_dx: bool = True
    ) -> FloatArray | None:
        """Return dy in the shape of x."""
        return dy.reshape(cache)

    def infer(
        self, views: Views, x: FloatArray, out: FloatArray, scratch: FloatArray | None = None
    ) -> FloatArray:
        """Return a view of x."""
        return x.reshape(out.shape)
