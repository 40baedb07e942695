"""The normalised picture, taken into the layers that read it: the largest map of all costs a pass less.

Convolutions take the factor of (x / 255 - mean) / std into their weights; a max pool gets it behind it, where the map
is smaller, since a positive factor changes no order. Only the subtraction stays: what lies outside a convolution is
zero once normalised, so it has to be zero, not a colour, before.

The graph then has the picture's colours in three planes. For an engine that wants the channels of a place side by side,
as they lie in the picture, `keep_colours_together` spares taking them apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featherseg.export.lookup import initializer_of, maker_of, readers_of

NORMALISED_BY = "normalise.weight"
"""The weights of `graph.NormalisingConv` as the exporter calls them."""

COLOUR = "normalise.colour"
"""The mean, which is subtracted, (1,3,1,1)."""

SHAPES = {"row": [0, 0, 1, -1], "colours": [0, 0, -1, 3]}
"""Of `Reshape`: 0 is as before, -1 what remains."""


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
    graph.initializer.append(numpy_helper.from_array(colour, COLOUR))
    subtraction = helper.make_node("Sub", [source, COLOUR], [normalise.output[0]], "normalise")
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


def keep_colours_together(model: Any) -> None:
    """Rewrite, in place, what `fold_preprocessing` left: colours stay side by side, and fill whole registers.

    An engine that calculates with the channels side by side takes three of them at a time, or fills them up to a
    register's width. But a row of the picture is W*3 numbers as well, and the mean W times over is subtracted from it.

    A max pool is taken of the bytes, before anything is subtracted. A window of kh x kw is kh one below the other, then
    kw side by side, and each of the two can take what it leaves alone for its channels; down first, since the bytes of
    a row lie side by side as they are:

        (1,H,W,3), a row as channels -> (1,W*3,h,1) -> (1,h,W,3), rows as channels -> (1,h,w,3)
    """
    from onnx import numpy_helper

    graph = model.graph
    subtraction = subtraction_of(graph)
    if subtraction is None:
        return
    picture, normalised = graph.input[0].name, subtraction.output[0]
    cast = maker_of(graph, subtraction.input[0])
    transpose = maker_of(graph, cast.input[0])
    pools = [node for node in readers_of(graph, normalised) if is_plain_pool(node)]
    for node in (transpose, cast, subtraction, *pools):
        graph.node.remove(node)
    front = subtracted(picture, normalised, "normalise")
    for pool in pools:
        front += pooled(picture, pool)
    for place, node in enumerate(front):
        graph.node.insert(place, node)
    colour = initializer_of(graph, COLOUR)
    colour.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(colour).reshape(3), COLOUR))
    for name, shape in SHAPES.items():
        graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))


def subtraction_of(graph: Any) -> Any:
    """The node that subtracts the mean, as `fold_preprocessing` leaves it; None where it left the graph as it was."""
    return next((node for node in graph.node if node.op_type == "Sub" and node.input[1] == COLOUR), None)


def is_plain_pool(node: Any) -> bool:
    """Whether a node is a max pool that a pool across and one down replace."""
    if getattr(node, "op_type", "") != "MaxPool" or len(node.output) != 1:
        return False
    fields = {entry.name: entry for entry in node.attribute}
    dilated = "dilations" in fields and any(step != 1 for step in fields["dilations"].ints)
    rounded_up = "ceil_mode" in fields and fields["ceil_mode"].i
    return {"kernel_shape", "strides", "pads"} <= fields.keys() and not dilated and not rounded_up


def subtracted(picture: str, output: str, name: str) -> list[Any]:
    """Bytes (1,H,W,3) -> the picture less its colour, float (1,3,H,W)."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Shape", [picture], [f"{name}_width"], f"{name}_width", start=2, end=3),
        helper.make_node("Tile", [COLOUR, f"{name}_width"], [f"{name}_colours"], f"{name}_colours"),  # (W*3)
        helper.make_node("Reshape", [picture, "row"], [f"{name}_rows"], f"{name}_rows"),  # (1,H,1,W*3)
        helper.make_node("Cast", [f"{name}_rows"], [f"{name}_float"], f"{name}_cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", [f"{name}_float", f"{name}_colours"], [f"{name}_less"], name),
        helper.make_node("Reshape", [f"{name}_less", "colours"], [f"{name}_last"], f"{name}_last"),  # (1,H,W,3)
        helper.make_node("Transpose", [f"{name}_last"], [output], f"{name}_planes", perm=[0, 3, 1, 2]),
    ]


def pooled(picture: str, pool: Any) -> list[Any]:
    """Bytes (1,H,W,3) -> their maxima less the picture's colour, (1,3,h,w)."""
    from onnx import helper

    fields = {entry.name: list(entry.ints) for entry in pool.attribute}
    (kh, kw), (down, across), (top, left, bottom, right) = (fields[key] for key in ("kernel_shape", "strides", "pads"))
    name = pool.name

    def along(axis: str, source: str, kernel: int, stride: int, pads: tuple[int, int]) -> Any:
        before, after = pads
        node = helper.make_node("MaxPool", [source], [f"{name}_{axis}"], f"{name}_{axis}")
        fields = {"kernel_shape": [kernel, 1], "strides": [stride, 1], "pads": [before, 0, after, 0]}
        node.attribute.extend(helper.make_attribute(key, value) for key, value in fields.items())
        return node

    def turned(source: str, output: str, perm: list[int]) -> Any:
        return helper.make_node("Transpose", [source], [output], output, perm=perm)

    return [
        helper.make_node("Reshape", [picture, "row"], [f"{name}_lines"], f"{name}_lines"),  # (1,H,1,W*3)
        turned(f"{name}_lines", f"{name}_columns", [0, 3, 1, 2]),  # (1,W*3,H,1)
        along("down", f"{name}_columns", kh, down, (top, bottom)),  # (1,W*3,h,1)
        turned(f"{name}_down", f"{name}_turned", [0, 2, 3, 1]),  # (1,h,1,W*3)
        helper.make_node("Reshape", [f"{name}_turned", "colours"], [f"{name}_bytes"], f"{name}_bytes"),  # (1,h,W,3)
        along("across", f"{name}_bytes", kw, across, (left, right)),  # (1,h,w,3)
        *subtracted(f"{name}_across", pool.output[0], name),
    ]
