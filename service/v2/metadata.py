"""What a version's tensors are, and the documents of the protocol that tell of it."""

from typing import Any

from nncore.artifact import Card
from service.loading import Served
from service.v2.datatypes import BYTES, TensorInfo

INPUT = "input"
PROBABILITIES, LABEL, VALUE = "probabilities", "label", "value"
SALIENCY, ACTIVATIONS = "saliency", "activations."
# As in the names of other servers' platforms: what runs it, and the format of its files.
PLATFORM, BACKEND = "nncore_safetensors", "nncore"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


def has_categories(card: Card) -> bool:
    """Return whether a model takes texts, so that its inputs are tensors by column name and nothing else."""
    return any(column.categories for column in card.input.columns)


def inputs_of(card: Card) -> list[TensorInfo]:
    """Return the inputs: one of numbers, or for a table with categories one a column."""
    if not has_categories(card):
        return [TensorInfo(INPUT, "FP32", (-1, *card.architecture.input_shape))]
    return [
        TensorInfo(column.name, BYTES if column.categories else "FP32", (-1, 1))
        for column in card.input.columns
    ]


def outputs_of(served: Served) -> list[TensorInfo]:
    """Return the outputs that are given without being asked for."""
    output = served.predictor.card.output
    if output.kind == "regression":
        return [TensorInfo(VALUE, "FP32", (-1, *served.predictor.network.output_shape))]
    return [TensorInfo(PROBABILITIES, "FP32", (-1, len(output.labels))), TensorInfo(LABEL, BYTES, (-1,))]


def on_request(served: Served) -> list[TensorInfo]:
    """Return the outputs that are given only where they are asked for: what lies behind an answer."""
    network = served.predictor.network
    layers = [
        TensorInfo(f"{ACTIVATIONS}{place}", "FP32", (-1, *shape))
        for place, shape in enumerate(network.layer_shapes)
    ]
    return [TensorInfo(SALIENCY, "FP32", (-1, *network.input_shape)), *layers]


def model_metadata(served: Served, numbers: tuple[int, ...]) -> dict[str, Any]:
    """Return the document of GET /v2/models/<m>; `numbers` are all of the model's versions."""
    return {
        "name": served.model,
        "versions": [str(number) for number in numbers],
        "platform": PLATFORM,
        "inputs": [_metadata(tensor) for tensor in inputs_of(served.predictor.card)],
        "outputs": [_metadata(tensor) for tensor in outputs_of(served)],
        "parameters": {
            "version": str(served.version),
            "sha256": served.sha256,
            "outputs_on_request": [_metadata(tensor) for tensor in on_request(served)],
        },
    }


def model_config(served: Served, most_rows: int) -> dict[str, Any]:
    """Return the document of GET /v2/models/<m>/config, in which shapes leave the examples' axis out."""
    return {
        "name": served.model,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": most_rows,
        "version_policy": {"specific": {"versions": [served.version]}},
        "input": [_config(tensor) for tensor in inputs_of(served.predictor.card)],
        "output": [_config(tensor) for tensor in outputs_of(served)],
    }


def _metadata(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _config(tensor: TensorInfo) -> dict[str, Any]:
    kind = "TYPE_STRING" if tensor.datatype == BYTES else f"TYPE_{tensor.datatype}"
    # A number an example has no axis left, and one is as good.
    return {"name": tensor.name, "data_type": kind, "dims": tensor.shape[1:] or (1,)}
