"""A model's way from raw numbers to answers as an ONNX graph, in plain data: nodes, and arrays by name.

The operators: https://onnx.ai/onnx/operators/. A picture is (N, H, W, C) in nncore and (N, C, H, W) in ONNX.
It is turned where the first layer asks for that, and back where it is made flat, so that weights of a dense
layer meet the numbers in the order that they were learned in.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nncore import layers, windows
from nncore.artifact import Model
from nncore.convolution import Conv2D, pair
from nncore.errors import ExportError
from nncore.network import LAYERS
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.preprocessing import Scale, Standardize
from nncore.types import Array, Shape, Views

INPUTS = "inputs"


@dataclass(frozen=True)
class Node:
    """One operator, which gives one tensor."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Tensor:
    """What flows from node to node. `shape` is that of one example, as nncore has it.

    Where `turned`, the tensor itself has the channels of the picture first.
    """

    name: str
    shape: Shape
    turned: bool = False


@dataclass(frozen=True)
class Graph:
    """Nodes in the order they run, and constants; each is named by its `place`, `2.`, and what it is."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    place: str = ""

    def inside(self, place: str) -> "Graph":
        """Return the same graph, where what is added is named by a place inside this one."""
        return dataclasses.replace(self, place=f"{self.place}{place}.")

    def constant(self, name: str, array: Array) -> str:
        """Add an array, as it lies in memory when read row by row; return its name."""
        self.constants[self.place + name] = np.ascontiguousarray(array)
        return self.place + name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        return self.give(f"{self.place}{operator}", operator, *inputs, **attributes)

    def give(self, output: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node whose output has the given name, and return that."""
        self.nodes.append(Node(operator, inputs, output, attributes))
        return output


def graph_of(model: Model) -> tuple[Graph, str]:
    """Return the graph of a model, and the name of its output: `probabilities`, or `values`."""
    graph = Graph()
    x = Tensor(INPUTS, model.network.input_shape)
    for place, step in enumerate(model.card.input.steps):
        x = dataclasses.replace(x, name=STEPS[type(step)](graph.inside(f"steps.{place}"), step, x.name))
    outputs = apply_layers(graph, model.network.layers, model.network.arrays, x)
    return graph, ACTIVATIONS[model.card.output.kind](graph.inside("output"), outputs.name)


def apply_layers(graph: Graph, stack: Sequence[layers.Layer], arrays: Views, x: Tensor) -> Tensor:
    """Add layers one after the other; `arrays` has theirs by the layer's place, `0.weight`."""
    for place, layer in enumerate(stack):
        if type(layer) not in OPERATORS:
            kind = {kind: name for name, kind in LAYERS.items()}.get(type(layer), type(layer).__name__)
            raise ExportError(f"network[{place}]: nobody has said what {kind} is in ONNX")
        mine = {
            name.removeprefix(f"{place}."): array
            for name, array in arrays.items()
            if name.startswith(f"{place}.")
        }
        y = OPERATORS[type(layer)](graph.inside(str(place)), layer, mine, x)
        x = dataclasses.replace(y, shape=layer.output_shape(x.shape))
    return x


# Layers. Each takes its arrays and what comes in, and returns what goes out; the shape is put right above.


def _dense(graph: Graph, layer: layers.Dense, arrays: Views, x: Tensor) -> Tensor:
    weight = graph.constant("weight", arrays["weight"])
    if not layer.bias:
        return Tensor(graph.add("MatMul", x.name, weight), x.shape)
    return Tensor(graph.add("Gemm", x.name, weight, graph.constant("bias", arrays["bias"])), x.shape)


def _conv2d(graph: Graph, layer: Conv2D, arrays: Views, x: Tensor) -> Tensor:
    x = _turn(graph, x)
    grid = windows.lay(x.shape, pair(layer.kernel), pair(layer.stride), layer.padding)
    # (kh, kw, C, filters) → (filters, C, kh, kw).
    names = [graph.constant("weight", arrays["weight"].transpose(3, 2, 0, 1))]
    if layer.bias:
        names.append(graph.constant("bias", arrays["bias"]))
    pads = (*grid.before, *grid.after)
    y = graph.add("Conv", x.name, *names, kernel_shape=grid.kernel, strides=grid.stride, pads=pads)
    return dataclasses.replace(x, name=y)


def _max_pool2d(graph: Graph, layer: MaxPool2D, _arrays: Views, x: Tensor) -> Tensor:
    x = _turn(graph, x)
    stride = layer.size if layer.stride is None else layer.stride
    y = graph.add("MaxPool", x.name, kernel_shape=pair(layer.size), strides=pair(stride))
    return dataclasses.replace(x, name=y)


def _global_average_pooling(graph: Graph, _layer: GlobalAveragePooling, _arrays: Views, x: Tensor) -> Tensor:
    means = graph.add("GlobalAveragePool", _turn(graph, x).name)
    return Tensor(graph.add("Flatten", means), x.shape)


def _batch_norm(graph: Graph, layer: BatchNorm, arrays: Views, x: Tensor) -> Tensor:
    x = _turn(graph, x) if len(x.shape) == 3 else x
    names = [graph.constant(name, arrays[name]) for name in ("scale", "shift", "mean", "variance")]
    y = graph.add("BatchNormalization", x.name, *names, epsilon=layer.epsilon)
    return dataclasses.replace(x, name=y)


def _flatten(graph: Graph, _layer: layers.Flatten, _arrays: Views, x: Tensor) -> Tensor:
    name = graph.add("Transpose", x.name, perm=(0, 2, 3, 1)) if x.turned else x.name
    return Tensor(graph.add("Flatten", name), x.shape)


def _dropout(_graph: Graph, _layer: layers.Dropout, _arrays: Views, x: Tensor) -> Tensor:
    return x


def _activation(operator: str) -> "Operator":
    def add(graph: Graph, _layer: layers.Layer, _arrays: Views, x: Tensor) -> Tensor:
        return dataclasses.replace(x, name=graph.add(operator, x.name))

    return add


def _turn(graph: Graph, x: Tensor) -> Tensor:
    """Return x with the channels of the picture first; without an axis for them it has one."""
    if x.turned:
        return x
    if len(x.shape) == 2:
        axis = graph.constant("axes", np.array([1], np.int64))
        return dataclasses.replace(x, name=graph.add("Unsqueeze", x.name, axis), turned=True)
    return dataclasses.replace(x, name=graph.add("Transpose", x.name, perm=(0, 3, 1, 2)), turned=True)


# The input pipeline, which works on numbers as they are sent.


def _scale(graph: Graph, step: Scale, x: str) -> str:
    return graph.add("Mul", x, graph.constant("factor", _float32(1 / step.divide_by)))


def _standardize(graph: Graph, step: Standardize, x: str) -> str:
    centred = graph.add("Sub", x, graph.constant("mean", _float32(step.mean)))
    return graph.add("Div", centred, graph.constant("deviation", _float32(step.deviation)))


def _float32(value: Any) -> Array:
    # What is too large is infinite in nncore too, whose answer then is an error.
    with np.errstate(over="ignore"):
        return np.asarray(value, np.float32)


# What is made of the network's outputs, as in `artifact.activate`.


def _classes(graph: Graph, x: str) -> str:
    return graph.give("probabilities", "Softmax", x, axis=1)


def _binary(graph: Graph, x: str) -> str:
    positive = graph.add("Sigmoid", x)
    negative = graph.add("Sub", graph.constant("one", np.ones((), np.float32)), positive)
    return graph.give("probabilities", "Concat", negative, positive, axis=1)


def _regression(graph: Graph, x: str) -> str:
    return graph.give("values", "Identity", x)


Operator = Callable[[Graph, Any, Views, Tensor], Tensor]
OPERATORS: dict[type, Operator] = {
    BatchNorm: _batch_norm,
    Conv2D: _conv2d,
    GlobalAveragePooling: _global_average_pooling,
    MaxPool2D: _max_pool2d,
    layers.Dense: _dense,
    layers.Dropout: _dropout,
    layers.Flatten: _flatten,
    layers.ReLU: _activation("Relu"),
    layers.Sigmoid: _activation("Sigmoid"),
    layers.Tanh: _activation("Tanh"),
}
STEPS: dict[type, Callable[[Graph, Any, str], str]] = {Scale: _scale, Standardize: _standardize}
ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "binary": _binary,
    "classes": _classes,
    "regression": _regression,
}
