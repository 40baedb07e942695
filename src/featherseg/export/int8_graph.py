"""What onnxruntime's kernels for 8 bits want of a graph: what is rewritten before it is quantised, and after.

What is rewritten before says the same in floating point; what after, rounds less often.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featherseg.export.int8_picture import ZERO
from featherseg.export.lookup import channels_of, forget_shape, initializer_of, maker_of, readers_of

ON_COLOURS = ("Transpose", "Reshape", "Cast", "Sub", "Pad", "MaxPool", "Conv")
ON_WIDER = ("Add", "Relu", "Clip", "MaxPool")
PRODUCTS = ("Mul", "Add")

LEAST, STEP = 16, 4
"""A convolution over places is quick where it gives so many channels or more, and whole steps of them; else it takes
up to twelve times as long. The channels that it takes have to be whole steps, too."""

BOUNDS = ("Relu", "Clip")
"""What quantising removes where a range of 8 bits stands for it."""

SAME_RANGE = ("MaxPool", "Slice", "Reshape", "Transpose")
"""What gives values that it reads, and works on bytes where both ranges are one; a resize is quicker in float."""

OF_THE_MAP = ([2, 3], [-2, -1])
"""The axes of the places."""


def prepare(graph: Any) -> set[str]:
    """Rewrite the graph, in place, before it is quantised; returns the names of the nodes that stay in float."""
    in_float = better_in_float(graph)
    pool_before_relu(graph, in_float)
    fill_registers(graph, in_float)
    pool_whole_maps(graph)
    return in_float


def better_in_float(graph: Any) -> set[str]:
    """Nodes that 8 bits make slower or wrong.

    - What reads the picture, up to the first wider map and its max pool: onnxruntime keeps the channels of a place side
      by side in 8 bits, and three of them fill no register. AFFNet's first unit took three times as long that way.
      Where `int8_picture` has written the first layers for bytes, these do not stay in float.
    - What is calculated from the picture's size, and sums and products with it, as in pooling to bins: ranges are
      measured at one size, and would be those of no other. Matrix products are quantised: the only matrices of the
      picture's size are those that resize (`nn.splitting`), and they hold shares, 0 to 1 at every size.
    - Matrix products of two maps, as in attention: without weights, onnxruntime has no quick form of them.
    """
    weights = {item.name for item in graph.initializer}
    maps = {item.name for item in graph.input}  # what depends on the picture's pixels, not its size alone
    colours, wider = set(maps), set[str]()  # of these, maps of the picture's three channels, and the first of more
    names = set[str]()
    for node in graph.node:
        read = [name for name in node.input if name in maps]
        others = {name for name in node.input if name and name not in maps and name not in weights}
        if read and node.op_type != "Shape":
            maps.update(node.output)
        if not read or (node.op_type in PRODUCTS and others) or (node.op_type == "MatMul" and len(read) == 2):
            names.add(node.name)
        elif node.op_type in ON_COLOURS and colours.issuperset(read):
            names.add(node.name)
            if ZERO in node.input:
                continue  # what follows reads bytes
            kernel = initializer_of(graph, node.input[1]) if node.op_type == "Conv" else None
            (colours if kernel is None or kernel.dims[0] == 3 else wider).update(node.output)
        elif node.op_type in ON_WIDER and wider.issuperset(read):
            names.add(node.name)
            wider.update(node.output if node.op_type != "MaxPool" else ())
    return names


def pool_before_relu(graph: Any, names: set[str]) -> None:
    """Let max pools that are to stay in float read what a ReLU reads, and have a ReLU behind them: the same maps.

    A map that a quantised layer reads too is quantised for all its readers, and onnxruntime would then pool it in 8
    bits after all, in its slowest form.
    """
    from onnx import helper

    for pool in [node for node in graph.node if node.op_type == "MaxPool" and node.name in names]:
        relu = maker_of(graph, pool.input[0])
        shared = relu is not None and relu.op_type == "Relu" and len(readers_of(graph, pool.input[0])) > 1
        if shared and len(pool.output) == 1:
            pooled, name = pool.output[0], f"{pool.name}_relu"
            pool.input[0], pool.output[0] = relu.input[0], f"{pooled}_raw"
            graph.node.insert(
                list(graph.node).index(pool) + 1, helper.make_node("Relu", list(pool.output), [pooled], name)
            )


def fill_registers(graph: Any, names: set[str]) -> None:
    """Give convolutions over places as many channels as onnxruntime is quick with, but those of these names.

    A classifier has as many channels as there are classes. Those added to it are zero, and are cut off behind it. Where
    a ReLU follows, nothing is added: what cuts off would keep it from being a bound of the convolution's own range.
    """
    from onnx import helper, numpy_helper

    for node in [node for node in graph.node if node.op_type == "Conv" and node.name not in names]:
        weights = [initializer_of(graph, name) for name in node.input[1:]]
        if any(item is None or len(readers_of(graph, item.name)) > 1 for item in weights):
            continue
        given, taken, *places = weights[0].dims
        added = max(LEAST, given + -given % STEP) - given
        grouped = any(entry.name == "group" and entry.i > 1 for entry in node.attribute)
        bounded = any(getattr(reader, "op_type", "") in BOUNDS for reader in readers_of(graph, node.output[0]))
        if not added or taken % STEP or places == [1, 1] or grouped or bounded:
            continue
        for item in weights:
            values = numpy_helper.to_array(item)
            padding = ((0, added), *((0, 0),) * (values.ndim - 1))
            item.CopyFrom(numpy_helper.from_array(np.pad(values, padding), item.name))
            forget_shape(graph, item.name)
        bounds = {"first": 0, "last": given, "axis": 1}
        cut = [f"{node.name}_cut_{name}" for name in bounds]
        for name, value in zip(cut, bounds.values(), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
        whole, node.output[0] = node.output[0], f"{node.output[0]}_filled"
        cutting = helper.make_node("Slice", [node.output[0], *cut], [whole], f"{node.name}_cut")
        graph.node.insert(list(graph.node).index(node) + 1, cutting)


def pool_whole_maps(graph: Any) -> None:
    """Write a mean over a whole map as a pool, which there is in 8 bits; a maximum, which there is not, as two."""
    from onnx import helper, numpy_helper

    for node in [node for node in graph.node if node.op_type in ("ReduceMean", "ReduceMax")]:
        axes = initializer_of(graph, node.input[1]) if len(node.input) == 2 else None
        flat = any(entry.name == "keepdims" and not entry.i for entry in node.attribute)
        if (
            axes is None
            or flat
            or not channels_of(graph, node.input[0])
            or sorted(numpy_helper.to_array(axes).tolist()) not in OF_THE_MAP
        ):
            continue
        if node.op_type == "ReduceMean":
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
        else:
            across, down, lines = (f"{node.name}_{name}" for name in ("across", "down", "lines"))
            graph.initializer.append(numpy_helper.from_array(np.array([3], np.int64), across))
            graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), down))
            first = helper.make_node("ReduceMax", [node.input[0], across], [lines], lines, keepdims=1)
            graph.node.insert(list(graph.node).index(node), first)
            del node.input[:]
            node.input.extend([lines, down])
        if not readers_of(graph, axes.name):
            graph.initializer.remove(axes)


def share_ranges(graph: Any, before: Any) -> None:
    """Quantise what is concatenated, where nothing else reads it, with the range of the whole, in place.

    The concatenation would quantise it so anyway, a byte at a time through a table; this way it is copied, and rounded
    once instead of twice. Not so what a pool gives, which has the range of what it reads; and the quantised graph has
    lost its ReLUs: where its range alone bounds a map, the map keeps it.

    Args:
        graph: the quantised one.
        before: the one that it was made of.
    """
    from onnx import numpy_helper

    for join in [node for node in reversed(graph.node) if node.op_type == "Concat"]:
        behind = readers_of(graph, join.output[0])
        if len(behind) != 1 or getattr(behind[0], "op_type", "") != "QuantizeLinear":
            continue
        scale, zero = behind[0].input[1:]
        positive = not numpy_helper.to_array(initializer_of(graph, zero))
        for name in join.input:
            pair = quantised_alone(graph, name)
            bound = getattr(maker_of(before, pair[0].input[0]), "op_type", "") if pair else ""
            if bound in SAME_RANGE or bound == "Clip" or (bound == "Relu" and not positive):
                continue
            own = {name for node in pair for name in node.input[1:]} - {scale, zero}
            for node in pair:
                node.input[1], node.input[2] = scale, zero
            for item in [initializer_of(graph, name) for name in own if not readers_of(graph, name)]:
                graph.initializer.remove(item)  # runtimes warn of what nothing reads


def quantised_alone(graph: Any, name: str) -> tuple[Any, ...]:
    """The QuantizeLinear and DequantizeLinear that a map has passed for one reader; empty where it is otherwise."""
    dequantise = maker_of(graph, name)
    if dequantise is None or dequantise.op_type != "DequantizeLinear" or len(readers_of(graph, name)) != 1:
        return ()
    quantise = maker_of(graph, dequantise.input[0])
    if quantise is None or quantise.op_type != "QuantizeLinear" or len(readers_of(graph, quantise.output[0])) != 1:
        return ()
    return quantise, dequantise
