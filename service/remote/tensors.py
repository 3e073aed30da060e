"""NumPy arrays as the bytes that they are (the Open Inference Protocol's binary tensors), instead of as JSON.

NumPy is not needed here: whoever has an array has it loaded.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

import requests

from service.remote.results import Prediction

# Below that many numbers JSON takes no longer.
FEWEST_NUMBERS = 256
# BOOL and UINT64 are left to JSON, which does not take the one, and not all of the other.
_DATATYPES = {
    "f2": "FP16",
    "f4": "FP32",
    "f8": "FP64",
    "i1": "INT8",
    "i2": "INT16",
    "i4": "INT32",
    "i8": "INT64",
    "u1": "UINT8",
    "u2": "UINT16",
    "u4": "UINT32",
}
HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Answer:
    """What came back: which version it was, and its probabilities or values (N, K)."""

    version: int
    kind: str
    outputs: Any


def request_of(inputs: Any) -> tuple[bytes, dict[str, str]] | None:
    """Return body and headers for an array (N, …), None for what JSON serves as well or must refuse."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(inputs) is not numpy.ndarray:
        return None
    datatype = _DATATYPES.get(inputs.dtype.str[1:])
    if (
        datatype is None
        or inputs.ndim < 2
        or inputs.size < FEWEST_NUMBERS
        or not numpy.isfinite(inputs).all()
    ):
        return None
    if inputs.dtype.kind in "iu":
        inputs = _as_json_is_read(numpy, inputs)
        datatype = _DATATYPES[inputs.dtype.str[1:]]
    data = numpy.ascontiguousarray(inputs, inputs.dtype.newbyteorder("<")).tobytes()
    tensor = {
        "name": "input",
        "shape": inputs.shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(data)},
    }
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    header = json.dumps(document, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
    return header + data, headers


def _as_json_is_read(numpy: Any, inputs: Any) -> Any:
    """Return whole numbers in the type that the service makes of them in JSON.

    Rows of 0 to 255 are bytes, everything else is float32; a network that starts with the one may end with
    another last digit than with the other.
    """
    if inputs.ndim == 2 and inputs.min() >= 0 and inputs.max() <= 255:
        return inputs.astype(numpy.uint8, copy=False)
    return inputs.astype(numpy.float32) if inputs.dtype == numpy.uint8 else inputs


def read_answer(response: requests.Response) -> Answer:
    """Return what an answer holds; raises KeyError, TypeError or ValueError where it is something else."""
    numpy: Any = sys.modules["numpy"]
    length = int(response.headers[HEADER_LENGTH])
    document = json.loads(response.content[:length])
    first = document["outputs"][0]
    size = first["parameters"]["binary_data_size"]
    outputs = numpy.frombuffer(response.content[length : length + size], "<f4").reshape(first["shape"])
    return Answer(int(document["model_version"]), first["name"], outputs)


def as_predictions(answer: Answer, labels: tuple[str, ...]) -> tuple[Prediction, ...]:
    """Return an answer as POST /predict gives it, to the last digit."""
    if answer.kind == "value":
        # As many digits as a float32 has.
        values = [[float(f"{value:.8g}") for value in row] for row in answer.outputs.tolist()]
        return tuple(Prediction(value=row[0] if len(row) == 1 else row) for row in values)
    rows = answer.outputs.astype(float).round(7)
    return tuple(
        Prediction(labels[best], row[best], tuple(row))
        for best, row in zip(rows.argmax(axis=1).tolist(), rows.tolist(), strict=True)
    )
