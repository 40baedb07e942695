"""Batch norm behind a concatenation, moved in front of it, where the convolutions there can take it up.

A runtime folds a batch norm into the convolution before it. AFFNet and ENet normalise what they have concatenated from
a convolution and a max pool; there a runtime is left with a pass over the network's largest maps in floating point.
The norm is a factor and a summand per channel, so every part of the concatenation can have its own share of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featherseg.export.lookup import channels_of, initializer_of, maker_of, readers_of

Factors = npt.NDArray[np.float32]

LANES = 8  # channels that runtimes keep side by side; parts of other widths are copied about to be concatenated
MOST_ADDED = 32  # channels up to which the products with zeros are cheaper than that


def spread_norms(model: Any) -> None:
    """Rewrite, in place, every BatchNormalization whose input is a Concat along the channels that nothing else reads.

    A convolution takes its share into its weights; anything else gets a depth-wise 1x1 convolution. Where the parts'
    widths would have them copied about, the Concat becomes an Add; see `add_up`.
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
        for name in set(norm.input[1:]):  # one of a norm that has learned nothing may stand for two
            if not readers_of(graph, name):
                graph.initializer.remove(weights[name])  # runtimes warn of what nothing reads
        if any(width % LANES for width in widths) and all(is_simple(graph, name) for name in join.input):
            add_up(graph, join, widths)


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
    if maker is not None and maker.op_type == "Conv" and len(readers_of(graph, source)) == 1 and owned(graph, maker):
        values = [numpy_helper.to_array(initializer_of(graph, item)) for item in maker.input[1:]]
        weight = values[0] * weight
        summand = summand + (values[1] * factor if len(values) == 2 else 0)
        for item in maker.input[1:]:
            graph.initializer.remove(initializer_of(graph, item))
        del maker.input[1:]
        maker.input.extend([f"{name}_weight", f"{name}_bias"])
    else:
        inputs = [source, f"{name}_weight", f"{name}_bias"]
        node = helper.make_node("Conv", inputs, [name], name=name, group=len(factor), kernel_shape=[1, 1])
        graph.node.insert(list(graph.node).index(join), node)
        join.input[place] = name
    graph.initializer.extend(
        [numpy_helper.from_array(weight, f"{name}_weight"), numpy_helper.from_array(summand, f"{name}_bias")]
    )


def owned(graph: Any, convolution: Any) -> bool:
    """Whether weights and bias of a convolution are in the file, and nobody else's."""
    names = convolution.input[1:]
    return all(initializer_of(graph, name) is not None and len(readers_of(graph, name)) == 1 for name in names)


def is_simple(graph: Any, name: str) -> bool:
    """Whether the convolution that makes a map is over all channels, or depth-wise with one kernel a channel."""
    convolution = maker_of(graph, name)
    kernel = initializer_of(graph, convolution.input[1])
    groups = next((entry.i for entry in convolution.attribute if entry.name == "group"), 1)
    return bool(groups == 1 or (groups == kernel.dims[0] and kernel.dims[1] == 1))


def add_up(graph: Any, join: Any, widths: list[int]) -> None:
    """Make a concatenation of two convolutions a sum: each gives all the channels, zero where the other's are."""
    from onnx import helper, numpy_helper

    if len(widths) != 2 or sum(widths) > MOST_ADDED:
        return
    first, second = widths
    for source, beside in zip(join.input, ((0, second), (first, 0)), strict=True):
        convolution = maker_of(graph, source)
        for place, name in enumerate(convolution.input[1:]):
            item = initializer_of(graph, name)
            values = numpy_helper.to_array(item)
            if place == 0 and any(entry.name == "group" and entry.i > 1 for entry in convolution.attribute):
                values = values * np.eye(len(values), dtype=np.float32)[:, :, None, None]  # depth-wise, written in full
            padding = (beside, *((0, 0),) * (values.ndim - 1))
            item.CopyFrom(numpy_helper.from_array(np.pad(values, padding), name))
        for entry in [entry for entry in convolution.attribute if entry.name == "group"]:
            convolution.attribute.remove(entry)
        for value in [value for value in graph.value_info if value.name == source]:
            graph.value_info.remove(value)  # says how many channels it had
    total = helper.make_node("Add", list(join.input), list(join.output), join.name)
    graph.node.insert(list(graph.node).index(join), total)
    graph.node.remove(join)


def joins_channels(node: Any) -> bool:
    """Whether it is a concatenation of channels."""
    return node.op_type == "Concat" and any(item.name == "axis" and item.i == 1 for item in node.attribute)
