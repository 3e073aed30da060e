"""A predictor: a frozen, thread-safe, inference-only form of a network."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from nncore.artifact import MOST_FILE_BYTES, Card, Model, activate, from_bytes
from nncore.errors import ArtifactError, InputError
from nncore.folding import fold_batch_norms
from nncore.network import Network
from nncore.preprocessing import apply_steps
from nncore.program import Program
from nncore.types import Array, FloatArray
from nncore.workspace import Workspace


class Predictor:
    """Answers for arrays; any number of threads may ask at once.

    The weights are a read-only copy, `network`. What answers is `served`: it has BatchNorm folded into the
    layers before it, where that is exact, and is `network` itself where nothing was to be folded. Dropout is
    gone, and each thread works in buffers of its own.
    """

    def __init__(self, model: Model) -> None:
        self.card: Card = model.card
        self._input_shape = model.network.input_shape
        self.network = Network(model.network.layers, model.network.input_shape)
        self.network.flat[...] = model.network.flat
        self.served = fold_batch_norms(self.network)
        for network in (self.network, self.served):
            for array in (network.flat, *network.arrays.values()):
                array.flags.writeable = False
        self.program = Program(self.served)
        self._local = threading.local()

    def predict(self, x: Array) -> FloatArray:
        """Return probabilities (N, classes), or for a regression values (N, K), of raw inputs.

        x: (N, *input_shape) numbers as a caller sends them; the card's pipeline is applied here. A
        row's answer does not depend on the size of the batch, but for a float32's last bits.
        """
        if x.shape[1:] != self._input_shape:
            raise InputError(f"inputs must have shape {self._input_shape}, not {x.shape[1:]}")
        width = 2 if self.card.output.kind == "binary" else self.served.output_shape[0]
        outputs = np.empty((len(x), width), np.float32)
        # Overflow is looked for in the outputs, and reported with its place.
        with np.errstate(all="ignore"):
            for start in range(0, len(x), self.program.rows_at_once):
                part = slice(start, start + self.program.rows_at_once)
                self._predict(x[part], outputs[part], start)
        return outputs

    def workspace(self, count: int) -> Workspace:
        """Return the calling thread's own workspace, which has room for so many rows."""
        space: Workspace | None = getattr(self._local, "workspace", None)
        if space is None or space.rows < count:
            # One row is the common request, and a thread that only ever sees one stays small.
            space = Workspace(self.program, 1 if count == 1 else self.program.rows_at_once)
            self._local.workspace = space
        return space

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

    def _predict(self, x: Array, out: FloatArray, start: int) -> None:
        workspace = self.workspace(len(x))
        layout = workspace.lay_out(len(x))
        apply_steps(self.card.input.steps, x, layout.inputs)
        activate(workspace.run(layout), self.card.output.kind, out)
        if not np.isfinite(out).all():
            place = start + int(np.isfinite(out).all(axis=1).argmin())
            raise InputError(f"example {place} has numbers so large that the answer overflows a 32-bit float")


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
