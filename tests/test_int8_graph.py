"""What is rewritten for onnxruntime's kernels in 8 bits says the same as before, and is what those kernels want."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from featherseg.export.int8 import layers_of, quantise
from featherseg.export.int8_graph import better_in_float, fill_registers, pool_before_relu, pool_whole_maps

PICTURES = [np.random.default_rng(seed).integers(0, 256, (60, 80, 3)).astype(np.uint8) for seed in range(2)]


def sized_graph() -> onnx.ModelProto:
    """A convolution of the picture and its pool, then a product with the picture's width and one of two maps."""
    node, value, number = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [
        node("Transpose", ["image"], ["turned"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["turned"], ["x"], name="cast", to=number),
        node("Conv", ["x", "a"], ["c"], name="first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], name="relu"),
        node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Conv", ["r", "b"], ["d"], name="second", kernel_shape=[1, 1]),
        node("Add", ["d", "p"], ["e"], name="sum"),
        node("Shape", ["image"], ["s"], name="shape", start=2, end=3),
        node("Cast", ["s"], ["w"], name="width", to=number),
        node("Mul", ["e", "w"], ["f"], name="sized"),
        node("MatMul", ["f", "w"], ["g"], name="resized"),
        node("MatMul", ["g", "e"], ["scores"], name="attention"),
    ]
    weights = {"a": np.ones((4, 3, 3, 3), np.float32), "b": np.ones((4, 4, 1, 1), np.float32)}
    graph = onnx.helper.make_graph(
        nodes, "g", [value("image", onnx.TensorProto.UINT8, [1, "h", "h", 3])],
        [value("scores", number, [1, 4, "h", "h"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


def test_what_eight_bits_make_slower_or_wrong_stays_in_float() -> None:
    model = sized_graph()
    in_float = better_in_float(model.graph)
    assert in_float == {"turn", "cast", "first", "relu", "pool", "width", "sized", "attention"}
    assert layers_of(model) == ["second", "resized"]
    pool_before_relu(model.graph, in_float)
    onnx.checker.check_model(model)
    made_from = {node.name: node.input[0] for node in model.graph.node}
    assert (made_from["pool"], made_from["pool_relu"], made_from["sum"]) == ("c", "p_raw", "d")


def graph_of(tail: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The picture, a first convolution to the map "x" of 8 channels, and what follows to "scores"."""
    rng = np.random.default_rng(0)
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("Transpose", ["image"], ["turned"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["turned"], ["floats"], name="cast", to=onnx.TensorProto.FLOAT),
        node("Conv", ["floats", "first_w"], ["x"], name="first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        *tail,
    ]
    arrays = {"first_w": rng.normal(0, 0.01, (8, 3, 3, 3)).astype(np.float32), **weights}
    graph = onnx.helper.make_graph(
        nodes, "g", [value("image", onnx.TensorProto.UINT8, [1, "h", "w", 3])],
        [value("scores", onnx.TensorProto.FLOAT, [1, "c", "i", "j"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto) -> np.ndarray:
    """The scores, calculated as the graph is written: products of bytes overflow on processors without VNNI."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    scores: np.ndarray = session.run(["scores"], {"image": PICTURES[0][None]})[0]
    return scores


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}


@pytest.mark.parametrize(("channels", "size", "filled"), [(5, 3, 16), (19, 3, 20), (24, 3, 24), (5, 1, 5)])
@pytest.mark.parametrize("biased", [False, True])
def test_a_classifier_gets_whole_registers(channels: int, size: int, filled: int, biased: bool) -> None:
    rng = np.random.default_rng(1)
    weights = {"w": rng.normal(0, 1, (channels, 8, size, size)).astype(np.float32)}
    if biased:
        weights["b"] = rng.normal(0, 1, channels).astype(np.float32)
    pads = [size // 2] * 4
    tail = [onnx.helper.make_node("Conv", ["x", *weights], ["scores"], "last", kernel_shape=[size, size], pads=pads)]
    model = graph_of(tail, weights)
    before = run(model)
    fill_registers(model.graph, better_in_float(model.graph))
    assert all(len(weights_of(model)[name]) == filled for name in weights)
    assert len(weights_of(model)["first_w"]) == 8  # it stays in float
    after = run(model)
    assert after.shape == before.shape
    assert np.abs(after - before).max() < 1e-4 * np.abs(before).max()


@pytest.mark.parametrize(("groups", "behind"), [(1, "Conv"), (8, "Sigmoid"), (1, "Relu")])
def test_a_convolution_with_a_relu_or_groups_or_shared_weights_stays(groups: int, behind: str) -> None:
    node = onnx.helper.make_node
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "group": groups}
    shares = behind == "Conv"
    tail = [
        node("Conv", ["x", "w"], ["y"], "one", **conv),
        node(behind, ["y", "w"] if shares else ["y"], ["scores"], "two", **(conv if shares else {})),
    ]
    model = graph_of(tail, {"w": np.ones((8, 8 // groups, 3, 3), np.float32)})
    before = copy.deepcopy(model)
    fill_registers(model.graph, set())
    assert model == before


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [1], [2]])
def test_means_and_maxima_over_a_map(axes: list[int]) -> None:
    node = onnx.helper.make_node
    tail = [
        node("ReduceMean", ["x", "axes"], ["m"], "mean", keepdims=1),
        node("ReduceMax", ["x", "axes"], ["p"], "peak", keepdims=1),
        node("Add", ["m", "p"], ["scores"]),
    ]
    model = onnx.shape_inference.infer_shapes(graph_of(tail, {"axes": np.array(axes, np.int64)}))
    before = run(model)
    pool_whole_maps(model.graph)
    assert ("GlobalAveragePool" in [node.op_type for node in model.graph.node]) == (len(axes) == 2)
    assert ("axes" in weights_of(model)) == (len(axes) == 1)
    assert np.allclose(run(model), before, rtol=1e-5, atol=1e-5)


def test_a_mean_over_other_axes_of_more_than_a_map_stays() -> None:
    node = onnx.helper.make_node
    tail = [
        node("Unsqueeze", ["x", "one"], ["y"]),  # (1, 1, 8, h, w)
        node("ReduceMean", ["y", "axes"], ["m"], "mean", keepdims=1),
        node("Squeeze", ["m", "one"], ["scores"]),
    ]
    weights = {"one": np.array([1], np.int64), "axes": np.array([2, 3], np.int64)}
    model = onnx.shape_inference.infer_shapes(graph_of(tail, weights))
    before = copy.deepcopy(model)
    pool_whole_maps(model.graph)
    assert model == before


@pytest.mark.parametrize(("bound", "shared"), [("Relu", False), ("Clip", False), ("", True), ("MaxPool", False)])
def test_a_concatenation_shares_its_range_but_where_a_range_is_the_bound(bound: str, shared: bool) -> None:
    """The quantiser drops a ReLU behind a convolution: the range that begins at 0 stands for it."""
    rng = np.random.default_rng(2)
    node = onnx.helper.make_node
    narrow = rng.normal(0, 0.1, (8, 8, 1, 1)).astype(np.float32)
    bounds = {"Clip": ["", "zero", "six"], "": [], "Relu": [""], "MaxPool": [""]}[bound]
    fields: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]} if bound == "MaxPool" else {}
    tail = [
        node("Conv", ["x", "narrow"], ["n" if bound else "a"], "narrow", kernel_shape=[1, 1]),
        *([node(bound, ["n", *bounds[1:]], ["a"], "bound", **fields)] if bound else []),
        node("Conv", ["x", "wide"], ["b"], "wide", kernel_shape=[1, 1]),
        node("Concat", ["a", "b"], ["c"], "join", axis=1),
        node("Conv", ["c", "last"], ["scores"], "last", kernel_shape=[1, 1]),
    ]
    weights = {
        "narrow": narrow, "wide": 30 * narrow, "last": np.eye(16, dtype=np.float32)[:, :, None, None],
        **({"zero": np.float32(0), "six": np.float32(0.2)} if bound == "Clip" else {}),
    }  # fmt: skip
    weights = {name: np.asarray(array) for name, array in weights.items()}
    model = graph_of(tail, weights)
    exact = run(model)
    quantised = quantise(model, PICTURES)
    made = {name: node for node in quantised.graph.node for name in node.output}
    join = next(node for node in quantised.graph.node if node.op_type == "Concat")
    whole = next(node for node in quantised.graph.node if join.output[0] in node.input)
    ranges = [made[name].input[1] for name in join.input]
    assert {item.name for item in quantised.graph.initializer} <= {i for n in quantised.graph.node for i in n.input}
    assert ranges[1] == whole.input[1]
    assert (ranges[0] == whole.input[1]) == shared
    if bound == "Relu":
        assert not any(node.op_type == "Relu" for node in quantised.graph.node)  # should it stay, the rule is void
        assert exact[:, :8].min() == 0
        assert run(quantised)[:, :8].min() >= 0
    assert np.abs(run(quantised) - exact).max() < 0.05 * np.abs(exact).max()
