"""Figures that say how good predictions are."""

import numpy as np

from nncore.types import Array, FloatArray, IntArray


def accuracy(predicted: IntArray, labels: IntArray) -> float:
    """Return the share of labels that were predicted. Both: (N,)."""
    return float(np.mean(predicted == labels))


def confusion_matrix(predicted: IntArray, labels: IntArray, classes: int) -> IntArray:
    """Return counts (classes, classes): row = true label, column = predicted label."""
    # A row's and a column's number together may not fit into the labels' own dtype, uint8 say.
    places = labels.astype(np.intp) * classes + predicted.astype(np.intp)
    counts = np.bincount(places, minlength=classes * classes)
    return counts.reshape(classes, classes)


def r2_score(outputs: FloatArray, targets: FloatArray) -> float:
    """Return R² = 1 - Σ(y - t)² / Σ(t - mean t)²: 1 is perfect, 0 is no better than the mean.

    Both: (N, K); sums run over all elements, the mean over each column. Where the targets do not vary
    it is 1 for a perfect answer and 0 for any other.
    """
    residual = float(np.sum(np.square(targets - outputs, dtype=np.float64)))
    spread = float(np.sum(np.square(targets - targets.mean(axis=0), dtype=np.float64)))
    if spread == 0:
        return float(residual == 0)
    return 1 - residual / spread


def decide(outputs: Array, output: str) -> IntArray:
    """Return the class of each example from its logits: (N, 1) for `binary`, (N, K) for `classes`."""
    return (outputs[:, 0] > 0).astype(np.intp) if output == "binary" else outputs.argmax(axis=1)
