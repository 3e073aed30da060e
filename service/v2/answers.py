"""The outputs of an inference: which are wanted, what they are, and the answer as bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from nncore.errors import InputError
from nncore.explaining import activations, saliency
from nncore.types import Array, FloatArray
from service.asking import ask
from service.loading import Served
from service.problems import BadBody
from service.settings import Settings
from service.v2.binary_data import to_binary
from service.v2.datatypes import BYTES, Tensor
from service.v2.json_data import to_json
from service.v2.metadata import ACTIVATIONS, LABEL, PROBABILITIES, SALIENCY, VALUE, on_request, outputs_of
from service.v2.requests import InferRequest, Wanted


@dataclass(frozen=True)
class Answer:
    """An answer's bytes, `header_length` of them JSON where tensors follow as bytes."""

    body: bytes
    header_length: int | None


def wanted_outputs(served: Served, request: InferRequest, settings: Settings) -> list[Wanted]:
    """Return the outputs to give, in order; raises BadBody for one that the version does not have.

    What lies behind answers is given for fewer examples, as a backward pass takes several times a prediction,
    and is bounded in bytes: layers have a thousand times a request's numbers.
    """
    if not request.outputs:
        return [Wanted(tensor.name, request.binary) for tensor in outputs_of(served)]
    usual = [tensor.name for tensor in outputs_of(served)]
    others = {tensor.name: math.prod(tensor.shape[1:]) for tensor in on_request(served)}
    size, rows = 0, request.inputs[0].shape[0]
    for wanted in request.outputs:
        if wanted.name not in usual and wanted.name not in others:
            known = ", ".join([*usual, *others])
            raise BadBody(f"The model has no output {wanted.name[:100]!r}; it has {known[:500]}.")
        if wanted.name in others and rows > settings.max_explained:
            most = settings.max_explained
            raise BadBody(f"{wanted.name} is given for at most {most:,} examples a request, not {rows:,}.")
        size += others.get(wanted.name, 0) * rows * 4
    if size > settings.max_upload:
        raise BadBody(
            f"The outputs would have {size:,} bytes, and may have {settings.max_upload:,}: "
            "send fewer examples, or ask for less."
        )
    return request.outputs


def work_out(served: Served, x: Array, names: Sequence[str]) -> list[Tensor]:
    """Return outputs by name for inputs x: (N, *input_shape)."""
    predictor, card = served.predictor, served.predictor.card
    try:
        outputs = ask(served, x)
        found: dict[str, Array] = {PROBABILITIES: outputs, VALUE: outputs}
        classes = None if card.output.kind == "regression" else outputs.argmax(axis=1)
        if classes is not None:
            found[LABEL] = np.array(card.output.labels, object)[classes]
        network, steps = predictor.network, card.input.steps
        if SALIENCY in names:
            found[SALIENCY] = saliency(network, steps, x, card.output.kind, classes)
        layers = [name for name in names if name.startswith(ACTIVATIONS)]
        places = [int(name.removeprefix(ACTIVATIONS)) for name in layers]
        given: list[FloatArray] = activations(network, steps, x, places) if places else []
        found.update(zip(layers, given, strict=True))
    except InputError as error:
        raise BadBody(str(error)) from None
    return [Tensor(name, BYTES if name == LABEL else "FP32", found[name]) for name in names]


def write_answer(
    served: Served, request_id: str | None, wanted: Sequence[Wanted], tensors: Sequence[Tensor]
) -> Answer:
    """Return the answer: tensors in JSON, or as bytes behind it where that is wanted."""
    parts: list[bytes] = []
    outputs = [_write(tensor, output.binary, parts) for tensor, output in zip(tensors, wanted, strict=True)]
    document: dict[str, Any] = {"model_name": served.model, "model_version": str(served.version)}
    if request_id is not None:
        document["id"] = request_id
    document["outputs"] = outputs
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(output.binary for output in wanted):
        return Answer(header, None)
    return Answer(b"".join([header, *parts]), len(header))


def _write(tensor: Tensor, binary: bool, parts: list[bytes]) -> dict[str, Any]:
    described = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.values.shape}
    if not binary:
        return {**described, "data": to_json(tensor.values)}
    parts.append(to_binary(tensor.values))
    return {**described, "parameters": {"binary_data_size": len(parts[-1])}}
