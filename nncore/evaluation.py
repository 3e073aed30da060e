"""How good a network is on data it need not have seen: Dropout off, nothing learned."""

from typing import Any

import numpy as np

from nncore.datasets import Split
from nncore.losses import Loss
from nncore.metrics import accuracy, decide, r2_score
from nncore.network import Network
from nncore.types import Array, FloatArray

Metrics = dict[str, float]

# Rows sent through the network at a time where only figures are wanted: of a network whose layers would then
# take more than 16 MB, fewer.
MOST_ROWS = 1000
MOST_NUMBERS = 4 << 20


def figures_of(loss: Loss) -> tuple[str, str]:
    """Return the names of what `evaluate` measures, in its order."""
    return "loss", "r2" if loss.output == "regression" else "accuracy"


def evaluate(network: Network, data: Split, loss: Loss) -> Metrics:
    """Return the loss on data, and `accuracy`, or for a regression `r2`."""
    outputs = forward_all(network, data.inputs)
    targets = loss_targets(data.targets, loss, outputs.dtype)
    mean = loss.compute(outputs, targets)[0]
    if loss.output == "regression":
        return {"loss": mean, "r2": r2_score(outputs, targets)}
    return {"loss": mean, "accuracy": accuracy(decide(outputs, loss.output), data.targets)}


def forward_all(network: Network, inputs: Array) -> FloatArray:
    """Return the network's raw outputs for all inputs, a bounded number of rows at a time."""
    rows = rows_at_once(network.numbers)
    starts = range(0, len(inputs), rows)
    return np.concatenate([network.forward(inputs[i : i + rows])[0] for i in starts])


def rows_at_once(numbers: int) -> int:
    """Return how many rows are sent through a network in which an example becomes so many numbers."""
    return min(MOST_ROWS, max(1, MOST_NUMBERS // numbers))


def loss_targets(targets: Array, loss: Loss, dtype: Any) -> Array:
    """Return targets as the loss takes them: class numbers, or columns of floats."""
    if loss.output == "classes":
        return targets
    return targets.reshape(len(targets), -1).astype(dtype)
