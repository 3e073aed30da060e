"""What each layer is in ONNX.

A picture is (N, H, W, C) in nncore and (N, C, H, W) in ONNX. It is turned where the first layer asks for it,
and back where it is made flat: a dense layer's weights are to meet the numbers in the order of training.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nncore import layers, sequence, windows
from nncore.convolution import Conv2D, pair
from nncore.ensemble import Ensemble
from nncore.errors import ExportError
from nncore.network import LAYERS
from nncore.normalization import BatchNorm
from nncore.onnx_graph import Graph, Tensor, float32
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.types import Views


def apply_layers(graph: Graph, stack: Sequence[layers.Layer], arrays: Views, x: Tensor) -> Tensor:
    """Add layers one after the other; `arrays` has theirs by the layer's place, `0.weight`."""
    for place, (layer, mine) in enumerate(zip(stack, sequence.split(arrays, len(stack)), strict=True)):
        if type(layer) not in OPERATORS:
            kind = {kind: name for name, kind in LAYERS.items()}.get(type(layer), type(layer).__name__)
            raise ExportError(f"layer {graph.place}{place}: nobody has said what {kind} is in ONNX")
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


def _ensemble(graph: Graph, layer: Ensemble, arrays: Views, x: Tensor) -> Tensor:
    axis = graph.constant("axes", np.array([1], np.int64))
    answers = []
    for place, (stack, mine) in enumerate(
        zip(layer.members, sequence.split(arrays, len(layer.members)), strict=True)
    ):
        member = graph.inside(str(place))
        y = apply_layers(member, stack, mine, x)
        answers.append(member.add("Unsqueeze", y.name, axis))
    mean = MEANS[layer.output](graph, graph.add("Concat", *answers, axis=1), len(answers))
    return Tensor(mean, x.shape)


def _turn(graph: Graph, x: Tensor) -> Tensor:
    """Return x with the channels of the picture first; without an axis for them it has one."""
    if x.turned:
        return x
    if len(x.shape) == 2:
        axis = graph.constant("axes", np.array([1], np.int64))
        return dataclasses.replace(x, name=graph.add("Unsqueeze", x.name, axis), turned=True)
    return dataclasses.replace(x, name=graph.add("Transpose", x.name, perm=(0, 3, 1, 2)), turned=True)


# The mean of an ensemble's answers (N, M, K), by way of their logs as in `averaging`.


def _mean_of_classes(graph: Graph, answers: str, count: int) -> str:
    return _log_mean(graph, graph.add("LogSoftmax", answers, axis=2), count)


def _mean_of_binary(graph: Graph, answers: str, count: int) -> str:
    # log σ(z) = -softplus(-z).
    no, yes = graph.inside("no"), graph.inside("yes")
    log_yes = yes.add("Neg", yes.add("Softplus", graph.add("Neg", answers)))
    log_no = no.add("Neg", no.add("Softplus", answers))
    return graph.add("Sub", _log_mean(yes, log_yes, count), _log_mean(no, log_no, count))


def _mean_of_values(graph: Graph, answers: str, _count: int) -> str:
    return graph.add("ReduceMean", answers, axes=(1,), keepdims=0)


def _log_mean(graph: Graph, logs: str, count: int) -> str:
    total = graph.add("ReduceLogSumExp", logs, axes=(1,), keepdims=0)
    return graph.add("Sub", total, graph.constant("log_count", float32(math.log(count))))


Operator = Callable[[Graph, Any, Views, Tensor], Tensor]
OPERATORS: dict[type, Operator] = {
    BatchNorm: _batch_norm,
    Conv2D: _conv2d,
    Ensemble: _ensemble,
    GlobalAveragePooling: _global_average_pooling,
    MaxPool2D: _max_pool2d,
    layers.Dense: _dense,
    layers.Dropout: _dropout,
    layers.Flatten: _flatten,
    layers.ReLU: _activation("Relu"),
    layers.Sigmoid: _activation("Sigmoid"),
    layers.Tanh: _activation("Tanh"),
}
MEANS: dict[str, Callable[[Graph, str, int], str]] = {
    "binary": _mean_of_binary,
    "classes": _mean_of_classes,
    "regression": _mean_of_values,
}
