"""What lies behind an answer: what a layer gave, and how each number of the input moves the answer.

By the network's own forward and backward passes, on raw inputs: the card's pipeline is applied here.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from nncore.errors import InputError
from nncore.evaluation import rows_at_once
from nncore.network import Network
from nncore.preprocessing import Step, apply_steps, back_through_steps
from nncore.types import Array, FloatArray, IntArray


def activations(network: Network, steps: Sequence[Step], x: Array, places: Sequence[int]) -> list[FloatArray]:
    """Return what the layers at these places give for x, as in inference: (N, *output_shape) each.

    x: (N, *input_shape) raw inputs; the output shape is the layer's. Places count from 0, and the last layer
    gives values or logits. Raises InputError where a number overflows.
    """
    dtype = network.flat.dtype
    given = [np.empty((len(x), *network.layer_shapes[place]), dtype) for place in places]
    views = network.views_of(network.arrays)
    with np.errstate(all="ignore"):
        for part, y in _blocks(network, steps, x):
            for place, layer in enumerate(network.layers[: max(places, default=-1) + 1]):
                y, _ = layer.forward(views[place], y, None)
                for wanted, array in zip(places, given, strict=True):
                    if wanted == place:
                        array[part] = y
    for array in given:
        _check_finite(array)
    return given


def saliency(
    network: Network, steps: Sequence[Step], x: Array, kind: str, classes: IntArray | None = None
) -> FloatArray:
    """Return the gradient of each answer by its own raw input: (N, *input_shape), answer a unit of input.

    x: (N, *input_shape) raw inputs. The answer is the logit of the class in `classes`, (N,): what goes into
    the softmax or the sigmoid, which is the logit of class 1, turned round for class 0. For a `regression`
    it is the value, the sum of them where there are several. Raises InputError where a number overflows.
    """
    gradients = network.views_of({**network.parameters.like(), **network.state.like()})
    slopes = np.empty(x.shape, network.flat.dtype)
    with np.errstate(all="ignore"):
        for part, inputs in _blocks(network, steps, x):
            y, caches = network.forward(inputs)
            dy = _of_answers(y, kind, None if classes is None else classes[part])
            dx = network.backward(caches, dy, gradients, wants_dx=True)
            assert dx is not None
            slopes[part] = back_through_steps(steps, dx)
    _check_finite(slopes)
    return slopes


def _blocks(network: Network, steps: Sequence[Step], x: Array) -> Iterator[tuple[slice, FloatArray]]:
    rows = rows_at_once(network.numbers)
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        yield part, apply_steps(steps, x[part], np.empty(x[part].shape, network.flat.dtype))


def _of_answers(y: FloatArray, kind: str, classes: IntArray | None) -> FloatArray:
    """Return the gradient of the answers by the network's outputs y: (N, K)."""
    if kind == "regression" or classes is None:
        return np.ones_like(y)
    if kind == "binary":
        signs: FloatArray = np.where(classes == 1, 1, -1).astype(y.dtype).reshape(y.shape)
        return signs
    dy = np.zeros_like(y)
    dy[np.arange(len(y)), classes] = 1
    return dy


def _check_finite(array: FloatArray) -> None:
    finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        raise InputError(f"example {row} has numbers so large that a layer overflows a 32-bit float")
