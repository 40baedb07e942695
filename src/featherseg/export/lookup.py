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


def fields_of(node: Any) -> dict[str, Any]:
    """A node's attributes by name: numbers, bytes, lists of numbers."""
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def forget_shape(graph: Any, name: str) -> None:
    """Remove what the graph says of a tensor's shape."""
    for value in [value for value in graph.value_info if value.name == name]:
        graph.value_info.remove(value)
