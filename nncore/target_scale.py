"""Values of any size, learned as if their mean were 0 and their deviation 1.

An optimizer's steps are of the size that its learning rate says; to reach prices of 200,000 by steps of 0.01
takes for ever. After training the scale goes into the last layer, exactly but for its last bits: the network
that is kept answers in the units of the data.
"""

from dataclasses import dataclass, replace

import numpy as np

from nncore.datasets import Split
from nncore.layers import Dense, Layer
from nncore.network import Network
from nncore.types import Array, FloatArray


@dataclass(frozen=True)
class TargetScale:
    """Mean and deviation of each column of the training targets, (K,) float64."""

    mean: FloatArray
    deviation: FloatArray

    def apply(self, split: Split) -> Split:
        """Return the split with standardised targets, float32."""
        scaled = (split.targets.reshape(len(split), -1) - self.mean) / self.deviation
        return replace(split, targets=scaled.astype(np.float32))

    def fold(self, network: Network) -> None:
        """Have a network that answers in standardised values answer in those of the data."""
        weight, bias = last_layer(network)
        weight *= self.deviation
        bias[...] = bias * self.deviation + self.mean

    def unfold(self, network: Network) -> None:
        """Have a network that answers in the values of the data answer in standardised ones."""
        weight, bias = last_layer(network)
        weight /= self.deviation
        bias[...] = (bias - self.mean) / self.deviation


def scale_of(targets: Array) -> TargetScale:
    """Return the scale of training targets (N,) or (N, K)."""
    columns = targets.reshape(len(targets), -1)
    deviation = columns.std(axis=0, dtype=np.float64)
    # A column that is the same in every row is learned by the bias alone.
    deviation[columns.max(axis=0) == columns.min(axis=0)] = 1
    return TargetScale(columns.mean(axis=0, dtype=np.float64), deviation)


def takes_scale(last: Layer) -> bool:
    """Say whether a scale can go into a network's last layer."""
    return isinstance(last, Dense) and last.bias


def last_layer(network: Network) -> tuple[FloatArray, FloatArray]:
    """Return the weight and bias of a network's last layer, as they are trained."""
    place, arrays = len(network.layers) - 1, network.arrays
    return arrays[f"{place}.weight"], arrays[f"{place}.bias"]
