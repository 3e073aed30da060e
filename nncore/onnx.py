"""Export: a model as an ONNX file, for whatever runs those. https://onnx.ai/onnx/

The `onnx` package is needed for this alone, and imported when it is.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nncore
from nncore.artifact import Card, Model
from nncore.config import canonical, to_json
from nncore.errors import ExportError
from nncore.files import write_named
from nncore.onnx_graph import Graph, Tensor, float32
from nncore.onnx_layers import apply_layers
from nncore.predictor import load
from nncore.preprocessing import Scale, Standardize
from nncore.publishing import MODEL_FILE, NAME, NUMBER
from nncore.types import Shape

INPUTS = "inputs"
# Of 2022: what runs ONNX at all reads them, and there is no operator here that came later.
OPSET, IR_VERSION = 17, 8


def write_onnx(file: Path, out: Path | None = None) -> tuple[Path, int]:
    """Write a model file as ONNX; return where, `<name>-<version>.onnx` unless `out` says, and its size.

    Raises ArtifactError where the model must not be used, ExportError where the file cannot be made.
    """
    predictor = load(file)
    name, version = _name_of(file)
    about = {"name": name, "version": version, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    data = to_onnx(Model(predictor.card, predictor.network), about)
    path = out or Path(f"{name}-{version}.onnx" if version else f"{name}.onnx")
    write_named(path, data)
    return path, len(data)


def to_onnx(model: Model, about: dict[str, str] | None = None) -> bytes:
    """Return the ONNX file of a model. The same model gives the same bytes.

    `about` goes into the file's metadata: `name` and `version` of the model say.
    """
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise ExportError("the package onnx is not installed: pip install 'nnserve[onnx]'") from None
    about = {key: value for key, value in (about or {}).items() if value}
    graph, output = _graph_of(model)

    def value(name: str, shape: Shape) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    shape = (len(model.card.output.labels),) if model.card.output.labels else model.network.output_shape
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    node.operator, node.inputs, [node.output], name=node.output, **node.attributes
                )
                for node in graph.nodes
            ],
            about.get("name", "model"),
            [value(INPUTS, model.network.input_shape)],
            [value(output, shape)],
            [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nnserve",
        producer_version=nncore.__version__,
        model_version=int(about.get("version", 0)),
    )
    helper.set_model_props(proto, _facts(model.card) | about)
    checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _graph_of(model: Model) -> tuple[Graph, str]:
    """Return the graph of a model, and the name of its output: `probabilities`, or `values`."""
    graph = Graph()
    x = Tensor(INPUTS, model.network.input_shape)
    for place, step in enumerate(model.card.input.steps):
        x = dataclasses.replace(x, name=STEPS[type(step)](graph.inside(f"steps.{place}"), step, x.name))
    outputs = apply_layers(graph, model.network.layers, model.network.arrays, x)
    return graph, ACTIVATIONS[model.card.output.kind](graph.inside("output"), outputs.name)


def _facts(card: Card) -> dict[str, str]:
    """Return what a card says of the model as texts, but for how it was trained; empty ones are left out."""
    facts = {
        "dataset": card.provenance.get("dataset"),
        "kind": card.output.kind,
        "labels": list(card.output.labels),
        "metrics": card.metrics,
        "note": card.note,
        "picture": to_json(card)["input"]["picture"],
        "range": to_json(card.input.range),
    }
    return {key: fact if isinstance(fact, str) else canonical(fact) for key, fact in facts.items() if fact}


def _name_of(file: Path) -> tuple[str, str]:
    """Return a model's name and its version, which is empty where the file stands in no version's folder."""
    folder = file.resolve().parent
    if file.name == MODEL_FILE and NUMBER.fullmatch(folder.name) and NAME.fullmatch(folder.parent.name):
        return folder.parent.name, folder.name
    return file.stem if NAME.fullmatch(file.stem) else "model", ""


# The input pipeline, which works on numbers as they are sent.


def _scale(graph: Graph, step: Scale, x: str) -> str:
    return graph.add("Mul", x, graph.constant("factor", float32(1 / step.divide_by)))


def _standardize(graph: Graph, step: Standardize, x: str) -> str:
    centred = graph.add("Sub", x, graph.constant("mean", float32(step.mean)))
    return graph.add("Div", centred, graph.constant("deviation", float32(step.deviation)))


# What is made of the network's outputs, as in `artifact.activate`.


def _classes(graph: Graph, x: str) -> str:
    return graph.give("probabilities", "Softmax", x, axis=1)


def _binary(graph: Graph, x: str) -> str:
    positive = graph.add("Sigmoid", x)
    negative = graph.add("Sub", graph.constant("one", np.ones((), np.float32)), positive)
    return graph.give("probabilities", "Concat", negative, positive, axis=1)


def _regression(graph: Graph, x: str) -> str:
    return graph.give("values", "Identity", x)


STEPS: dict[type, Callable[[Graph, Any, str], str]] = {Scale: _scale, Standardize: _standardize}
ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "binary": _binary,
    "classes": _classes,
    "regression": _regression,
}
