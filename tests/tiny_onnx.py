"""A network of three classes, red, green and blue, that scores the mean colour of each 8x8 block of the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featherseg.runtime import Artefact, Classes, InputRule, Preprocessing

CLASSES = Classes(names=("red", "green", "blue"), palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)))
STRIDE = 8
OWN_SIZE = InputRule()


def write_network(
    path: Path,
    *,
    rule: InputRule = OWN_SIZE,
    metadata: str | None = None,
    foreign: bool = False,
    size: tuple[int, int] | None = None,
    output: str = "scores",
    align_corners: bool = False,
) -> Path:
    """Write the network as an exported file, or as a foreign one: normalised float input, no metadata."""
    onnx = pytest.importorskip("onnx")
    make, kinds = onnx.helper.make_node, onnx.TensorProto
    height, width = size or ("H", "W")
    weights = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    pool = make("AveragePool", ["nchw"], ["pooled"], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2, ceil_mode=1)
    classify = make("Conv", ["pooled", "weights"], [output])
    if foreign:
        image = onnx.helper.make_tensor_value_info("pixels", kinds.FLOAT, [1, 3, height, width])
        nodes = [make("Identity", ["pixels"], ["nchw"]), pool, classify]
    else:
        image = onnx.helper.make_tensor_value_info("image", kinds.UINT8, [1, height, width, 3])
        cast = make("Cast", ["image"], ["floats"], to=kinds.FLOAT)
        nodes = [cast, make("Transpose", ["floats"], ["nchw"], perm=[0, 3, 1, 2]), pool, classify]
    scores = onnx.helper.make_tensor_value_info(output, kinds.FLOAT, [1, 3, "h", "w"])
    graph = onnx.helper.make_graph(nodes, "tiny", [image], [scores], [onnx.numpy_helper.from_array(weights, "weights")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    if not foreign:
        artefact = Artefact(classes=CLASSES, input_rule=rule, stride=STRIDE, align_corners=align_corners)
        onnx.helper.set_model_props(model, {"featherseg": artefact.to_text() if metadata is None else metadata})
    onnx.save(model, path)
    return path


def foreign_artefact() -> Artefact:
    return Artefact(classes=CLASSES, preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)))


def striped(height: int, width: int) -> np.ndarray:
    """A picture whose left third is red, whose middle is green, whose right is blue."""
    colours = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200)], np.uint8)
    row = colours[np.minimum(np.arange(width) * 3 // width, 2)]
    return np.ascontiguousarray(np.broadcast_to(row, (height, width, 3)))
