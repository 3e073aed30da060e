"""The mean of what several networks say, and the way back from its gradient to theirs.

Answers are outputs as networks give them, (M, N, K) of M networks: logits, or values. Probabilities are
averaged by their logs: what underflows in every network still has a mean, and its log is finite.
"""

from collections.abc import Callable, Mapping

import numpy as np

from nncore import ops
from nncore.types import FloatArray


def _log_softmax(logits: FloatArray) -> FloatArray:
    y: FloatArray = logits - logits.max(axis=-1, keepdims=True)
    # Of logits near a float's largest the difference would be infinite, and the mean of such no number.
    np.maximum(y, np.finfo(y.dtype).min / 4, out=y)
    y -= np.log(np.exp(y).sum(axis=-1, keepdims=True))
    return y


def _log_mean(logs: FloatArray) -> FloatArray:
    """Return the log of the mean over the first axis, from logs: a mean that underflows still has one."""
    top = logs.max(axis=0)
    y: FloatArray = np.log(np.exp(logs - top).mean(axis=0))
    y += top
    return y


def _weights(logs: FloatArray) -> FloatArray:
    """Return each member's part in the mean, from logs; they sum to one over the first axis."""
    weights: FloatArray = np.exp(logs - logs.max(axis=0))
    weights /= weights.sum(axis=0)
    return weights


def _log_sigmoid(logits: FloatArray) -> FloatArray:
    y: FloatArray = np.logaddexp(0, -logits)
    return np.negative(y, out=y)


def _mean_of_classes(answers: FloatArray) -> FloatArray:
    return _log_mean(_log_softmax(answers))


def _shares_of_classes(answers: FloatArray, dy: FloatArray) -> FloatArray:
    # With r a member's part in the mean: ∂y[k]/∂z[j] = r[k] · ([k = j] - p[j]).
    logs = _log_softmax(answers)
    shares = _weights(logs) * dy
    shares -= np.exp(logs) * shares.sum(axis=-1, keepdims=True)
    return shares


def _mean_of_binary(answers: FloatArray) -> FloatArray:
    return _log_mean(_log_sigmoid(answers)) - _log_mean(_log_sigmoid(-answers))


def _shares_of_binary(answers: FloatArray, dy: FloatArray) -> FloatArray:
    # With r a member's part in the mean of "yes" and s in that of "no": ∂y/∂z = r · (1 - p) + s · p.
    shares = _weights(_log_sigmoid(answers)) * ops.sigmoid(-answers)
    shares += _weights(_log_sigmoid(-answers)) * ops.sigmoid(answers)
    shares *= dy
    return shares


def _mean_of_values(answers: FloatArray) -> FloatArray:
    mean: FloatArray = answers.mean(axis=0)
    return mean


def _shares_of_values(answers: FloatArray, dy: FloatArray) -> FloatArray:
    return np.broadcast_to(dy / len(answers), answers.shape)


# By what answers are, as losses call it: from the networks' (M, N, K) to the mean (N, K), and dy back.
MEANS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "classes": _mean_of_classes,
    "binary": _mean_of_binary,
    "regression": _mean_of_values,
}
SHARES: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "classes": _shares_of_classes,
    "binary": _shares_of_binary,
    "regression": _shares_of_values,
}
