"""A predictor: a frozen, thread-safe, inference-only form of a network."""

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np

from nncore.artifact import MOST_FILE_BYTES, Card, Model, activate, from_bytes
from nncore.errors import ArtifactError, InputError
from nncore.layers import Dropout
from nncore.network import Network
from nncore.preprocessing import apply_steps
from nncore.types import Array, FloatArray

# Rows sent through the network at a time: enough for BLAS. Of a network so wide that they would take more
# than 16 MB a thread, fewer.
CHUNK = 128
MOST_BUFFERED = 4 << 20


class Predictor:
    """Answers for arrays; any number of threads may ask at once.

    The weights are a read-only copy, `network`; Dropout is gone, and each thread works in buffers of its own.
    """

    def __init__(self, model: Model) -> None:
        self.card: Card = model.card
        self._input_shape = model.network.input_shape
        self.network = Network(model.network.layers, model.network.input_shape)
        self.network.flat[...] = model.network.flat
        self.network.flat.flags.writeable = False
        views = self.network.views_of(self.network.arrays)
        for layer_views in views:
            for array in layer_views.values():
                array.flags.writeable = False
        self._layers = [
            (layer, layer_views, shape)
            for layer, layer_views, shape in zip(
                model.network.layers, views, model.network.layer_shapes, strict=True
            )
            if not isinstance(layer, Dropout)
        ]
        self._shapes = [self._input_shape, *(shape for _, _, shape in self._layers)]
        self._chunk = min(CHUNK, max(1, MOST_BUFFERED // sum(map(math.prod, self._shapes))))
        self._local = threading.local()

    def predict(self, x: Array) -> FloatArray:
        """Return probabilities (N, classes), or for a regression values (N, K), of raw inputs.

        x: (N, *input_shape) numbers as a caller sends them; the card's pipeline is applied here. A
        row's answer does not depend on the size of the batch, but for a float32's last bits.
        """
        if x.shape[1:] != self._input_shape:
            raise InputError(f"inputs must have shape {self._input_shape}, not {x.shape[1:]}")
        chunk = self._chunk
        starts = range(0, max(len(x), 1), chunk)
        parts = [self._predict_chunk(x[start : start + chunk], start) for start in starts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def verify(self) -> None:
        """Replay the card's known answers; raises ArtifactError where one is wrong."""
        known = self.card.known_answers
        try:
            with np.errstate(over="ignore"):
                inputs, expected = np.array(known.inputs, np.float32), np.array(known.outputs, np.float32)
        except (ValueError, TypeError):
            raise ArtifactError("the known answers are not arrays of numbers") from None
        if not len(inputs) or inputs.shape[1:] != self._input_shape:
            raise ArtifactError(
                f"the known answers have inputs {inputs.shape}, not (N, *{self._input_shape})"
            )
        try:
            outputs = self.predict(inputs)
        except InputError as error:
            raise ArtifactError(f"the known answers cannot be replayed: {error}") from None
        if outputs.shape != expected.shape:
            raise ArtifactError(
                f"the known answers have outputs {expected.shape}, the model gives {outputs.shape}"
            )
        if not np.allclose(outputs, expected, rtol=known.tolerance, atol=known.tolerance):
            worst = int(np.abs(outputs - expected).max(axis=1).argmax())
            raise ArtifactError(
                f"known answer {worst} is wrong: {outputs[worst]} instead of {expected[worst]}"
            )

    def _predict_chunk(self, x: Array, start: int) -> FloatArray:
        # Overflow is looked for in the outputs, and reported with its place.
        with np.errstate(all="ignore"):
            outputs = activate(self._forward(x), self.card.output.kind)
        if not np.isfinite(outputs).all():
            place = start + int(np.isfinite(outputs).all(axis=1).argmin())
            raise InputError(f"example {place} has numbers so large that the answer overflows a 32-bit float")
        return outputs

    def _forward(self, x: Array) -> FloatArray:
        """Return raw outputs; valid until the thread's next call."""
        count = len(x)
        if getattr(self._local, "rows", -1) < count:
            self._allocate(count)
        buffers = self._local.buffers
        y = apply_steps(self.card.input.steps, x, buffers[0][:count])
        for (layer, views, _), buffer in zip(self._layers, buffers[1:], strict=True):
            y = layer.infer(views, y, buffer[:count])
        return y

    def _allocate(self, count: int) -> None:
        # One row is the common request, and a thread that only ever sees one stays small.
        rows = 1 if count == 1 else self._chunk
        self._local.buffers = [np.empty((rows, *shape), np.float32) for shape in self._shapes]
        self._local.rows = rows


def answers(card: Card, outputs: FloatArray) -> list[dict[str, Any]]:
    """Return one JSON object an example from `Predictor.predict`'s outputs.

    Classes: `label`, `confidence` and `probabilities` in the order of the labels. A regression: `value`,
    a list of them where the target has several columns.
    """
    if card.output.kind == "regression":
        # As many digits as a float32 has; as a float64 it would show a dozen that mean nothing.
        values = [[float(f"{value:.8g}") for value in row] for row in outputs.tolist()]
        return [{"value": row[0] if len(row) == 1 else row} for row in values]
    rows = outputs.astype(float).round(7)
    labels = card.output.labels
    return [
        {"label": labels[best], "confidence": row[best], "probabilities": row}
        for best, row in zip(rows.argmax(axis=1).tolist(), rows.tolist(), strict=True)
    ]


def load(path: Path) -> Predictor:
    """Return the predictor of a model file, every check passed and its known answers replayed."""
    predictor = Predictor(read_model(path))
    predictor.verify()
    return predictor


def read_model(path: Path) -> Model:
    """Return the model in a file; raises ArtifactError, with the file's name, where it must not be used."""
    try:
        with path.open("rb") as file:
            # One byte more than is allowed is enough to know.
            data = file.read(MOST_FILE_BYTES + 1)
        return from_bytes(data)
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from None
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
