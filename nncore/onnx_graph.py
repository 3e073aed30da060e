"""An ONNX graph in plain data: nodes, and arrays by name. The operators: https://onnx.ai/onnx/operators/."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nncore.types import Array, Shape


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
        """Add an array and return its name."""
        self.constants[self.place + name] = array
        return self.place + name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        return self.give(f"{self.place}{operator}", operator, *inputs, **attributes)

    def give(self, output: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node whose output has the given name, and return that."""
        self.nodes.append(Node(operator, inputs, output, attributes))
        return output


def float32(value: Any) -> Array:
    """Return numbers of a card as an array."""
    # What is too large is infinite in nncore too, whose answer then is an error.
    with np.errstate(over="ignore"):
        return np.asarray(value, np.float32)
