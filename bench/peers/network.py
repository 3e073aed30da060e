"""The network of models/digits, version 1, in plain NumPy: what each of the peers serves.

The arithmetic is that of our predictor: pixels divided by 255, a dense layer, ReLU, a dense layer, softmax.
"""

import os
from pathlib import Path
from typing import Any

# Before NumPy is imported, as nnserve has it: at this size a second BLAS thread only costs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from safetensors.numpy import load_file

MODEL = Path(__file__).parents[2] / "models" / "digits" / "1" / "model.safetensors"
LABELS = [str(digit) for digit in range(10)]


class Network:
    """Answers arrays (N, 784) of pixels from 0 to 255 with probabilities (N, 10) float32."""

    def __init__(self) -> None:
        arrays = load_file(MODEL)
        self.hidden = arrays["2.weight"], arrays["2.bias"]
        self.output = arrays["5.weight"], arrays["5.bias"]

    def __call__(self, pixels: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        x = np.asarray(pixels, np.float32).reshape(-1, 784) / np.float32(255)
        x = x @ self.hidden[0] + self.hidden[1]
        np.maximum(x, 0, out=x)
        x = x @ self.output[0] + self.output[1]
        np.exp(x - x.max(axis=1, keepdims=True), out=x)
        probabilities: np.ndarray[Any, np.dtype[np.float32]] = x / x.sum(axis=1, keepdims=True)
        return probabilities


def predictions(probabilities: np.ndarray[Any, np.dtype[np.float32]]) -> list[dict[str, Any]]:
    """Return an object an example, as nnserve answers."""
    return [
        {"label": LABELS[best], "confidence": row[best], "probabilities": row}
        for best, row in zip(probabilities.argmax(axis=1).tolist(), probabilities.tolist(), strict=True)
    ]
