"""Batch norm behind a concatenation, moved in front of it, where the convolutions there can take it up.

A runtime folds a batch norm into the convolution before it. AFFNet and ENet normalise what they have concatenated from
a convolution and a max pool; there a runtime is left with a pass over the network's largest maps in floating point.
The norm is a factor and a summand per channel, so every part of the concatenation can have its own share of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Factors = npt.NDArray[np.float32]


def spread_norms(model: Any) -> None:
    """Rewrite, in place, every BatchNormalization whose input is a Concat along the channels that nothing else reads.

    A convolution without bias takes its share into its weights; anything else gets a depth-wise 1x1 convolution.
    """
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        join = maker_of(graph, norm.input[0])
        if join is None or not joins_channels(join) or len(readers_of(graph, norm.input[0])) != 1:
            continue
        widths = [channels_of(graph, name) for name in join.input]
        if 0 in widths or not all(name in weights for name in norm.input[1:]):
            continue
        factor, summand = as_affine(norm, [weights[name] for name in norm.input[1:]])
        cuts = np.cumsum(widths)[:-1]
        for place, share in enumerate(zip(np.split(factor, cuts), np.split(summand, cuts), strict=True)):
            scale_part(graph, join, place, *share)
        join.output[0] = norm.output[0]
        graph.node.remove(norm)


def as_affine(norm: Any, parameters: list[Any]) -> tuple[Factors, Factors]:
    """factor and summand, (C,) each, with norm(x) = factor x + summand."""
    from onnx import numpy_helper

    scale, shift, mean, variance = (numpy_helper.to_array(item).astype(np.float64) for item in parameters)
    epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
    factor = scale / np.sqrt(variance + epsilon)
    return factor.astype(np.float32), (shift - mean * factor).astype(np.float32)


def scale_part(graph: Any, join: Any, place: int, factor: Factors, summand: Factors) -> None:
    """Give one part of the concatenation its share of the norm."""
    from onnx import helper, numpy_helper

    source, name = join.input[place], f"{join.name}_part{place}"
    weight = factor.reshape(-1, 1, 1, 1)
    maker = maker_of(graph, source)
    kernel = initializer_of(graph, maker.input[1]) if maker is not None and maker.op_type == "Conv" else None
    if kernel is not None and len(maker.input) == 2 and len(readers_of(graph, source)) == 1:
        weight = numpy_helper.to_array(kernel) * weight
        graph.initializer.remove(kernel)
        maker.input[1] = f"{name}_weight"
        maker.input.append(f"{name}_bias")
    else:
        inputs = [source, f"{name}_weight", f"{name}_bias"]
        node = helper.make_node("Conv", inputs, [name], name=name, group=len(factor), kernel_shape=[1, 1])
        graph.node.insert(list(graph.node).index(join), node)
        join.input[place] = name
    graph.initializer.extend(
        [numpy_helper.from_array(weight, f"{name}_weight"), numpy_helper.from_array(summand, f"{name}_bias")]
    )


def joins_channels(node: Any) -> bool:
    """Whether it is a concatenation of channels."""
    return node.op_type == "Concat" and any(item.name == "axis" and item.i == 1 for item in node.attribute)


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
