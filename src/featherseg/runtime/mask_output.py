"""Labels as an output of an ONNX file, for whoever cannot run `label_scores`."""

from __future__ import annotations

from typing import Any

import numpy as np


def add_mask(model: Any, *, align_corners: bool) -> None:
    """Give an exported model, in place, one more output: the scores resized to the picture, and argmax.

    mask    uint8   (1,H,W)

    Needs onnx. Where the picture's sides are fixed, the runtime settles the sizes once, on opening the file.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    scores = next(output for output in graph.output if output.name == "scores")
    classes = scores.type.tensor_type.shape.dim[1].dim_value
    constants = {"mask_first": [1], "mask_last": [3], "mask_classes": [1, classes]}
    graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    mode = "align_corners" if align_corners else "half_pixel"
    graph.node.extend(
        [
            helper.make_node("Shape", ["image"], ["mask_image"]),
            helper.make_node("Slice", ["mask_image", "mask_first", "mask_last"], ["mask_sides"]),
            helper.make_node("Concat", ["mask_classes", "mask_sides"], ["mask_sizes"], axis=0),
            helper.make_node(
                "Resize", ["scores", "", "", "mask_sizes"], ["mask_scores"],
                mode="linear", coordinate_transformation_mode=mode,
            ),
            helper.make_node("ArgMax", ["mask_scores"], ["mask_ids"], axis=1, keepdims=0),
            helper.make_node("Cast", ["mask_ids"], ["mask"], to=TensorProto.UINT8),
        ]
    )  # fmt: skip
    sides = graph.input[0].type.tensor_type.shape.dim[1:3]
    shape = [1, *(side.dim_param or side.dim_value for side in sides)]
    graph.output.append(helper.make_tensor_value_info("mask", TensorProto.UINT8, shape))
