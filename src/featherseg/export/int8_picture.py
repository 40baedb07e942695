"""The first layers in 8 bits, on the picture's bytes: what is written into a graph before it is quantised, and after.

A picture has 8 bits to begin with. But onnxruntime keeps the channels of a place side by side in 8 bits, and three of
them fill no register. So eight pixels, which lie side by side in memory, are read as one place of 24 channels, and a
layer of stride 2 gives the four places behind them as one of four times its channels: the same sums, and zeros.

    (1,H,W,3) -> (1,H,W/8,24); 3x3, stride 2 -> 3x2, stride 2 down and 1 across; (1,H/2,W/8,4C) -> (1,H/2,W/2,C)

What lies outside a convolution is zero once normalised, the mean's colour before; here it is one byte, `OUTSIDE`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from featherseg.export.lookup import fields_of, forget_shape, initializer_of, maker_of, readers_of
from featherseg.export.picture import COLOUR, is_plain_pool, subtraction_of

PIXELS = 8  # of the picture that are read as one place
PLACES = 4  # that a layer of stride 2 gives for them
OUTSIDE = 115  # the mean of ImageNet's pictures, all colours together
ZERO = "bytes.zero"  # OUTSIDE, as it is subtracted

SIZES = {"bytes.before": [0] * 6, "bytes.none": [0], "bytes.half": [2], "bytes.one": [1]}

SHAPES = {"bytes.line": [0, 0, 1, -1], "bytes.colours": [0, 0, -1, 3], "bytes.planes": [0, 0, 3, -1]}
"""Of Reshape: 0 is as before, -1 what remains."""


def byte_layers(graph: Any) -> list[Any]:
    """The convolutions that can read the picture's bytes; none unless whatever reads the picture can.

    They have stride 2 and give half the columns, rounded up; or a max pool has and does, and they are 1x1 behind it.
    Where there are several, their sum is all that reads them.
    """
    subtraction = subtraction_of(graph)
    if subtraction is None or any(len(readers_of(graph, node.output[0])) != 1 for node in front_of(graph)[:2]):
        return []
    layers: list[Any] = []
    for reader in readers_of(graph, subtraction.output[0]):
        behind = readers_of(graph, reader.output[0]) if is_plain_pool(reader) else []
        layer = behind[0] if len(behind) == 1 else reader
        if not halves_columns(reader) or not is_plain_convolution(graph, layer):
            return []
        if layer is not reader and not is_pointwise(graph, layer):
            return []
        layers.append(layer)
    return layers if len({chain_of(graph, layer, layers)[-1].output[0] for layer in layers}) == 1 else []


def front_of(graph: Any) -> list[Any]:
    """The nodes that make a picture floats in planes, less its mean."""
    subtraction = subtraction_of(graph)
    cast = maker_of(graph, subtraction.input[0])
    return [maker_of(graph, cast.input[0]), cast, subtraction]


def halves_columns(node: Any) -> bool:
    """Whether a convolution or pool has stride 2 and gives half the columns, rounded up."""
    fields = fields_of(node)
    _, left, _, right = fields.get("pads", [0] * 4)
    kernel = fields.get("kernel_shape", [0, 0])
    return fields.get("strides") == [2, 2] and left + right == kernel[1] - 1


def is_plain_convolution(graph: Any, node: Any) -> bool:
    """Whether a node is a convolution over all channels, undilated, its pads and weights its own."""
    if getattr(node, "op_type", "") != "Conv":
        return False
    fields = fields_of(node)
    weights = [initializer_of(graph, name) for name in node.input[1:]]
    own = all(item is not None and len(readers_of(graph, item.name)) == 1 for item in weights)
    by_rule = fields.get("auto_pad", b"NOTSET") != b"NOTSET"
    dilated = any(step != 1 for step in fields.get("dilations", []))
    return own and not by_rule and not dilated and fields.get("group", 1) == 1


def is_pointwise(graph: Any, convolution: Any) -> bool:
    """Whether a convolution looks at one place at a time, and at every one."""
    fields = fields_of(convolution)
    at_every = fields.get("strides", [1, 1]) == [1, 1] and not any(fields.get("pads", []))
    return at_every and [*initializer_of(graph, convolution.input[1]).dims[2:]] == [1, 1]


def chain_of(graph: Any, layer: Any, layers: list[Any]) -> list[Any]:
    """The nodes that may give places as one: the layer, its ReLU, the sum of all layers, its ReLU, where there are."""
    chain = [layer]
    for operations in (("Relu", "Clip"), ("Add",), ("Relu", "Clip")):
        readers = readers_of(graph, chain[-1].output[0])
        if len(readers) == 1 and getattr(readers[0], "op_type", "") in operations:
            parts = {behind_relu(graph, name) for name in readers[0].input}
            if operations != ("Add",) or parts == {each.name for each in layers}:
                chain.append(readers[0])
    return chain


def behind_relu(graph: Any, name: str) -> str:
    """The name of the node that makes a map, or that makes what a ReLU makes it of; empty where none does."""
    maker = maker_of(graph, name)
    if maker is not None and maker.op_type in ("Relu", "Clip"):
        maker = maker_of(graph, maker.input[0])
    return "" if maker is None else maker.name


def read_bytes(graph: Any) -> dict[str, Any]:
    """Rewrite the first layers, in place, where they can read bytes; returns how they are to be quantised."""
    from onnx import numpy_helper

    layers = byte_layers(graph)
    if not layers:
        return {}
    picture, subtraction = graph.input[0].name, subtraction_of(graph)
    colour = numpy_helper.to_array(initializer_of(graph, COLOUR)).reshape(3)
    bound_parts(graph, layers)
    end, channels = chain_of(graph, layers[0], layers)[-1], initializer_of(graph, layers[0].input[1]).dims[0]
    front: list[Any] = []
    quantised_as: dict[str, Any] = {}
    for layer in layers:
        above = maker_of(graph, layer.input[0])
        if above is subtraction:
            source, pixels = picture, PIXELS
        else:
            source, pixels = f"{above.name}_pooled", PLACES
            front += pooled_bytes(picture, above)
            graph.node.remove(above)
        front += as_places(source, pixels, layer.name)
        layer.input[0] = f"{layer.name}_less"
        spread(graph, layer, pixels, colour)
        quantised_as |= as_they_are(layer)
        for node in chain_of(graph, layer, layers):
            forget_shape(graph, node.output[0])
    for node in front_of(graph):
        graph.node.remove(node)
    for place, node in enumerate(front):
        graph.node.insert(place, node)
    for place, node in enumerate(as_columns(picture, end, channels), list(graph.node).index(end) + 1):
        graph.node.insert(place, node)
    constants = {**SIZES, **SHAPES, **{f"bytes.of_{n}": [1, 0, -1, 3 * n] for n in (PIXELS, PLACES)}}
    constants |= {"bytes.columns": [1, 0, -1, channels], **{f"bytes.step_{n}": [n] for n in (PIXELS, PLACES)}}
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    graph.initializer.append(numpy_helper.from_array(np.array(OUTSIDE, np.uint8), "bytes.outside"))
    graph.initializer.append(numpy_helper.from_array(np.array(OUTSIDE, np.float32), ZERO))
    for item in [item for item in graph.initializer if not readers_of(graph, item.name)]:
        graph.initializer.remove(item)
    return quantised_as


def pooled_bytes(picture: str, pool: Any) -> list[Any]:
    """Bytes (1,H,W,3) -> their maxima, bytes (1,h,w,3), called NAME_pooled: down, then across.

    Each way the other axis is the channels, so that whole registers are compared:

        (1,H,1,3W) -> (1,h,1,3W) -> (1,h,W,3) -> (1,W,3,h) -> (1,W,1,3h) -> (1,w,1,3h) -> (1,w,3,h) -> (1,h,w,3)
    """
    fields, name = fields_of(pool), pool.name
    top, left, bottom, right = fields["pads"]
    source, nodes = picture, []

    def then(operation: str, output: str, *more: str, **fields: Any) -> None:
        nonlocal source
        nodes.append(named(operation, [source, *more], f"{name}_{output}", **fields))
        source = f"{name}_{output}"

    def pool_along(axis: str, place: int, before: int, after: int) -> None:
        then("Transpose", f"{axis}_first", perm=[0, 3, 1, 2])
        kernel, stride = fields["kernel_shape"][place], fields["strides"][place]
        then("MaxPool", axis, kernel_shape=[kernel, 1], strides=[stride, 1], pads=[before, 0, after, 0])
        then("Transpose", f"{axis}_last", perm=[0, 2, 3, 1])

    then("Reshape", "rows", "bytes.line")
    pool_along("down", 0, top, bottom)
    then("Reshape", "columns", "bytes.colours")
    then("Transpose", "turned", perm=[0, 2, 3, 1])
    then("Reshape", "lines", "bytes.line")
    pool_along("across", 1, left, right)
    then("Reshape", "apart", "bytes.planes")
    then("Transpose", "pooled", perm=[0, 3, 1, 2])
    return nodes


def bound_parts(graph: Any, layers: list[Any]) -> None:
    """Move the ReLU of a sum before it, in place, where each channel is one layer's alone: no range has a sign then."""
    from onnx import numpy_helper

    end = chain_of(graph, layers[0], layers)[-1]
    values = [[numpy_helper.to_array(initializer_of(graph, name)) for name in layer.input[1:]] for layer in layers]
    used = [sum(np.abs(item).reshape(len(item), -1).sum(1) for item in items) > 0 for items in values]
    if end.op_type != "Relu" or len(layers) == 1 or np.sum(used, axis=0).max() > 1:
        return
    total = maker_of(graph, end.input[0])
    for place, source in enumerate(total.input):
        name = f"{end.name}_of_part{place}"
        graph.node.insert(list(graph.node).index(total), named("Relu", [source], name))
        total.input[place] = name
    total.output[0] = end.output[0]
    graph.node.remove(end)


def as_places(source: str, pixels: int, name: str) -> list[Any]:
    """Bytes (1,H,W,3) -> so many pixels as one place, less `OUTSIDE`, float (1,3*pixels,H,W/pixels rounded up)."""
    from onnx import TensorProto

    return [
        named("Shape", [source], f"{name}_width", start=2, end=3),
        named("Neg", [f"{name}_width"], f"{name}_negative"),
        named("Mod", [f"{name}_negative", f"bytes.step_{pixels}"], f"{name}_missing"),
        named("Concat", ["bytes.before", f"{name}_missing", "bytes.none"], f"{name}_pads", axis=0),
        named("Pad", [source, f"{name}_pads", "bytes.outside"], f"{name}_padded"),
        named("Reshape", [f"{name}_padded", f"bytes.of_{pixels}"], f"{name}_places"),
        named("Transpose", [f"{name}_places"], f"{name}_bytes", perm=[0, 3, 1, 2]),
        named("Cast", [f"{name}_bytes"], f"{name}_float", to=TensorProto.FLOAT),
        named("Sub", [f"{name}_float", ZERO], f"{name}_less"),
    ]


def as_columns(picture: str, end: Any, channels: int) -> list[Any]:
    """The map that a node gives, places as one -> (1,C,H/2,W/2 rounded up), under the name that it had."""
    whole, name = end.output[0], f"{end.name}_columns"
    end.output[0] = f"{whole}_places"
    return [
        named("Shape", [picture], f"{name}_width", start=2, end=3),
        named("Add", [f"{name}_width", "bytes.one"], f"{name}_wider"),
        named("Div", [f"{name}_wider", "bytes.half"], f"{name}_half"),
        named("Transpose", [end.output[0]], f"{name}_last", perm=[0, 2, 3, 1]),
        named("Reshape", [f"{name}_last", "bytes.columns"], f"{name}_apart"),
        named("Slice", [f"{name}_apart", "bytes.none", f"{name}_half", "bytes.half"], f"{name}_cut"),
        named("Transpose", [f"{name}_cut"], whole, perm=[0, 3, 1, 2]),
    ]


def named(operation: str, inputs: list[str], output: str, **fields: Any) -> Any:
    """A node that is called as what it gives."""
    from onnx import helper

    return helper.make_node(operation, inputs, [output], output, **fields)


def spread(graph: Any, layer: Any, pixels: int, colour: Any) -> None:
    """Give a convolution weights for places of so many pixels, and its channels once for each place that it gives."""
    from onnx import helper, numpy_helper

    fields = fields_of(layer)
    kernel = numpy_helper.to_array(initializer_of(graph, layer.input[1]))
    given, _, rows, columns = kernel.shape
    top, left, bottom, _ = fields.get("pads", [0] * 4)
    stride = pixels // PLACES
    read = {(at, k): divmod(stride * at - left + k, pixels) for at in range(PLACES) for k in range(columns)}
    first, last = min(read.values())[0], max(read.values())[0]
    wide = np.zeros((PLACES, given, pixels, 3, rows, last - first + 1), np.float32)
    for (at, k), (place, pixel) in read.items():
        wide[at, :, pixel, :, :, place - first] = kernel[:, :, :, k]
    shift = (kernel.sum((2, 3)) * (OUTSIDE - colour)).sum(1)
    if len(layer.input) == 3:
        shift += numpy_helper.to_array(initializer_of(graph, layer.input[2]))
    for name in layer.input[1:]:
        graph.initializer.remove(initializer_of(graph, name))
        forget_shape(graph, name)
    names = [f"{layer.name}.bytes.weight", f"{layer.name}.bytes.bias"]
    values = [wide.reshape(PLACES * given, pixels * 3, rows, -1), np.tile(shift, PLACES).astype(np.float32)]
    graph.initializer.extend(map(numpy_helper.from_array, values, names))
    del layer.input[1:], layer.attribute[:]
    layer.input.extend(names)
    new = {"kernel_shape": [rows, last - first + 1], "strides": [stride, 1], "pads": [top, -first, bottom, last]}
    layer.attribute.extend(helper.make_attribute(key, value) for key, value in new.items())


def as_they_are(layer: Any) -> dict[str, Any]:
    """How what a layer reads and its weights are quantised, for `quantize_static`.

    A byte is itself. The weights have 7 bits: processors without VNNI add two products in 16 bits, and where a picture
    is white two of 255 * 127 are too many.
    """
    from onnxruntime.quantization import QuantType

    scale, zero = np.array(1, np.float32), np.array(OUTSIDE, np.uint8)
    picture = {"quant_type": QuantType.QUInt8, "scale": scale, "zero_point": zero}
    weights = {"quant_type": QuantType.QInt8, "axis": 0, "symmetric": True, "reduce_range": True}
    return {layer.input[0]: [picture], layer.input[1]: [weights]}


def take_bytes(graph: Any) -> None:
    """Hand the quantised graph's layers the bytes, in place, instead of what is made of them and quantised again."""
    for less in [node for node in graph.node if node.op_type == "Sub" and node.input[1] == ZERO]:
        readers = readers_of(graph, less.output[0])
        if [getattr(node, "op_type", "") for node in readers] != ["QuantizeLinear"]:
            continue  # a layer that stays in floating point
        cast = maker_of(graph, less.input[0])
        for dequantise in readers_of(graph, readers[0].output[0]):
            dequantise.input[0] = cast.input[0]
        for node in (cast, less, readers[0]):
            graph.node.remove(node)
    for item in [item for item in graph.initializer if item.name == ZERO and not readers_of(graph, ZERO)]:
        graph.initializer.remove(item)
