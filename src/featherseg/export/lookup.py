"""Looking around in an ONNX graph."""

from __future__ import annotations

from typing import Any


def maker_of(graph: Any, name: str) -> Any:
    """The node that gives a map; None for inputs and weights."""
    return next((node for node in graph.node if name in node.output), None)


def readers_of(graph: Any, name: str) -> list[Any]:
    """The nodes, and outputs of the graph, that take a map."""
    return [*(node for node in graph.node if name in node.input), *(item for item in graph.output if item.name == name)]


def initializer_of(graph: Any, name: str) -> Any:
    """The weights of that name; None where a node makes them."""
    return next((item for item in graph.initializer if item.name == name), None)


def channels_of(graph: Any, name: str) -> int:
    """How many channels a map has; 0 where the graph does not say."""
    value = next((item for item in graph.value_info if item.name == name), None)
    shape = [] if value is None else list(value.type.tensor_type.shape.dim)
    return int(shape[1].dim_value) if len(shape) == 4 else 0
