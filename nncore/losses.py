"""Losses: what training makes small. Each returns the mean over a batch and its gradient."""

from collections.abc import Callable
from dataclasses import dataclass

from nncore import ops
from nncore.types import FloatArray


@dataclass(frozen=True)
class Loss:
    """A loss, and what a network trained with it says.

    `compute(outputs (N, K), targets)` returns the mean loss and its gradient (N, K); losses of classes take
    `smoothing` too, the share of the target that goes to all classes alike. `output` is what
    the outputs mean: `regression` (values; targets (N, K) floats), `binary` (logits, one a question;
    targets (N, 1) of 0 and 1) or `classes` (logits, one a class; targets (N,) integers).
    """

    compute: Callable[..., tuple[float, FloatArray]]
    output: str


LOSSES = {
    "mean_squared_error": Loss(ops.mean_squared_error, "regression"),
    "binary_cross_entropy": Loss(ops.binary_cross_entropy, "binary"),
    "softmax_cross_entropy": Loss(ops.softmax_cross_entropy, "classes"),
}
