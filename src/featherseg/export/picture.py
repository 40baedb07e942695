"""The normalised picture, taken into the layers that read it: the largest map of all costs a pass less.

Convolutions take the factor of (x / 255 - mean) / std into their weights; a max pool gets it behind it, where the map
is smaller, since a positive factor changes no order. Only the subtraction stays: what lies outside a convolution is
zero once normalised, so it has to be zero, not a colour, before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featherseg.export.lookup import initializer_of, readers_of

NORMALISED_BY = "normalise.weight"
"""The weights of `graph.NormalisingConv` as the exporter calls them."""


def fold_preprocessing(model: Any) -> None:
    """Rewrite, in place, the convolution that normalises as a subtraction, where all its readers take the factor."""
    from onnx import helper, numpy_helper

    graph = model.graph
    normalise = next((node for node in graph.node if NORMALISED_BY in node.input), None)
    if normalise is None:
        return
    source, weight_name, bias_name = normalise.input
    readers = readers_behind_pads(graph, normalise.output[0])
    if not readers or not all(takes_factor(graph, node) for node in readers):
        return
    weight, bias = (numpy_helper.to_array(initializer_of(graph, name)) for name in (weight_name, bias_name))
    factor = np.diagonal(weight[:, :, 0, 0]).astype(np.float64)  # 1 / (255 std)
    colour = (-bias / factor).astype(np.float32).reshape(1, 3, 1, 1)  # 255 mean
    for node in readers:
        if node.op_type == "Conv":
            kernel = initializer_of(graph, node.input[1])
            scaled = numpy_helper.to_array(kernel) * factor.reshape(1, 3, 1, 1)
            kernel.CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), kernel.name))
        else:
            pooled, name = node.output[0], f"{node.name}_scaled"
            node.output[0] = f"{pooled}_raw"
            scale = numpy_helper.from_array(factor.astype(np.float32).reshape(3, 1, 1, 1), f"{name}_weight")
            graph.initializer.append(scale)
            scaling = helper.make_node(
                "Conv", [node.output[0], scale.name], [pooled], name, group=3, kernel_shape=[1, 1]
            )
            graph.node.insert(list(graph.node).index(node) + 1, scaling)
    graph.initializer.append(numpy_helper.from_array(colour, "normalise.colour"))
    subtraction = helper.make_node("Sub", [source, "normalise.colour"], [normalise.output[0]], "normalise")
    graph.node.insert(list(graph.node).index(normalise), subtraction)
    graph.node.remove(normalise)
    for name in (weight_name, bias_name):
        graph.initializer.remove(initializer_of(graph, name))


def readers_behind_pads(graph: Any, name: str) -> list[Any]:
    """What reads a map, as it is or padded with zeros, which are zero before the factor, too."""
    readers = []
    for node in readers_of(graph, name):
        padded = hasattr(node, "op_type") and node.op_type == "Pad" and pads_with_zero(graph, node)
        readers += readers_behind_pads(graph, node.output[0]) if padded else [node]
    return readers


def pads_with_zero(graph: Any, node: Any) -> bool:
    """Whether a Pad adds zeros."""
    from onnx import numpy_helper

    mode = next((entry.s for entry in node.attribute if entry.name == "mode"), b"constant")
    if mode != b"constant":
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = initializer_of(graph, node.input[2])
    return value is not None and not numpy_helper.to_array(value).any()


def takes_factor(graph: Any, node: Any) -> bool:
    """Whether a node is a convolution with weights of its own, or a max pool."""
    if not hasattr(node, "op_type"):  # an output of the graph
        return False
    if node.op_type == "Conv":
        kernel = initializer_of(graph, node.input[1])
        return kernel is not None and len(readers_of(graph, kernel.name)) == 1 and bool(kernel.dims[1] == 3)
    return bool(node.op_type == "MaxPool")
