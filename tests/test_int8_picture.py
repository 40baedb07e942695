"""First layers that read the picture's bytes give what they gave, at every size; what cannot is left as it is."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest

from featherseg.export.int8 import layers_of, quantise
from featherseg.export.int8_picture import OUTSIDE, byte_layers, read_bytes
from featherseg.export.lookup import fields_of, initializer_of, maker_of, readers_of
from featherseg.export.picture import COLOUR

SIZES = [(64, 96), (33, 47), (32, 41), (31, 42), (30, 43), (29, 44), (40, 45), (9, 8), (5, 3), (2, 1)]
RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (60, 83, 3), dtype=np.uint8) for _ in range(2)]


def first_layers(
    *,
    pool: bool = False,
    bound: str = "Relu",
    stride: int = 2,
    pads: tuple[int, ...] = (1, 1, 1, 1),
    kernel: int = 3,
    joined: bool = True,
    colour: tuple[float, float, float] = (OUTSIDE, OUTSIDE, OUTSIDE),
) -> onnx.ModelProto:
    """A picture less its colour, a convolution "first", a pool and "scaled" for more channels, then "second"."""
    rng = np.random.default_rng(1)
    node, value, number = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    channels = 7 if pool else 8
    weights = {
        "a": rng.normal(0, 0.01, (8, 3, kernel, kernel)), "ab": rng.normal(0, 0.3, 8),
        COLOUR: np.reshape(colour, (1, 3, 1, 1)),
        "b": np.zeros((8, 3, 1, 1)), "bb": np.zeros(8), "c": rng.normal(0, 0.3, (5, 8, 3, 3)),
        "low": np.float32(0), "high": np.float32(2),
    }  # fmt: skip
    if pool:
        weights["a"][channels:] = weights["ab"][channels:] = 0
        weights["b"][channels:], weights["bb"][channels:] = rng.normal(0, 0.01, (1, 3, 1, 1)), 0.2
    shape = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": list(pads)}
    nodes = [
        node("Transpose", ["image"], ["turned"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["turned"], ["x"], name="cast", to=number),
        node("Sub", ["x", COLOUR], ["y"], name="normalise"),
        node("Conv", ["y", "a", "ab"], ["f"], name="first", **shape),
    ]
    if pool:
        nodes += [
            node("MaxPool", ["y"], ["p_raw"], name="pool", **shape),
            node("Conv", ["p_raw", "b", "bb"], ["p"], name="scaled", kernel_shape=[1, 1]),
        ]
        nodes += (
            [node("Add", ["f", "p"], ["s"], name="sum")] if joined else [node("Mul", ["f", "p"], ["s"], name="sum")]
        )
    bounded = ["s" if pool else "f", *(("low", "high") if bound == "Clip" else ())]
    nodes += [
        node(bound, bounded, ["r"], name="bound"),
        node("Conv", ["r", "c"], ["scores"], name="second", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    used = {name for item in nodes for name in item.input}
    graph = onnx.helper.make_graph(
        nodes, "g", [value("image", onnx.TensorProto.UINT8, [1, "h", "w", 3])],
        [value("scores", number, [1, 5, None, None])],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in weights.items() if name in used],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


def scores_of(model: onnx.ModelProto, picture: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": picture[None]})[0]


@pytest.mark.parametrize("fields", [{}, {"bound": "Clip"}, {"pool": True}, {"kernel": 5, "pads": (2, 2, 2, 2)}])
def test_bytes_give_the_same_scores_at_every_size(fields: dict[str, object]) -> None:
    model = first_layers(**fields)  # type: ignore[arg-type]
    rewritten = copy.deepcopy(model)
    quantised_as = read_bytes(rewritten.graph)
    assert len(quantised_as) / 2 == len(byte_layers(model.graph)) == 1 + bool(fields.get("pool"))
    assert not {"turn", "cast", "normalise", "pool"} & {node.name for node in rewritten.graph.node}
    for size in SIZES:
        picture = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
        np.testing.assert_allclose(scores_of(rewritten, picture), scores_of(model, picture), atol=1e-4)


def test_another_mean_shows_at_the_rim_alone() -> None:
    model = first_layers(colour=(123.675, 116.28, 103.53))
    rewritten = copy.deepcopy(model)
    read_bytes(rewritten.graph)
    there, here = (scores_of(each, PICTURES[0]) for each in (model, rewritten))
    assert np.abs(there - here)[:, :, 2:-2, 2:-2].max() < 1e-4
    assert 1e-4 < np.abs(there - here).max() < 0.1 * np.abs(there).max()


@pytest.mark.parametrize("pool", [False, True])
def test_quantised_layers_read_nothing_but_bytes(pool: bool) -> None:
    model = first_layers(pool=pool)
    assert layers_of(model)[0] == "first"
    quantised = quantise(copy.deepcopy(model), PICTURES)
    for node in quantised.graph.node:  # nothing of the picture's pixels in floating point, and no byte quantised again
        assert node.op_type not in ("Cast", "Sub")
    for name in ("first", "scaled")[: 1 + pool]:
        layer = next(node for node in quantised.graph.node if node.name == name)
        dequantise = maker_of(quantised.graph, layer.input[0])
        made_by = [maker_of(quantised.graph, dequantise.input[0])]
        while made_by[-1].op_type != "Pad":
            made_by.append(maker_of(quantised.graph, made_by[-1].input[0]))
        assert [node.op_type for node in made_by] == ["Transpose", "Reshape", "Pad"]
        weights = maker_of(quantised.graph, layer.input[1]).input[0]
        values = onnx.numpy_helper.to_array(initializer_of(quantised.graph, weights))
        assert 60 < np.abs(values.astype(int)).max() <= 64  # two products of white pixels fit 16 bits
    exact, rounded = (scores_of(each, PICTURES[0]) for each in (model, quantised))
    assert (exact - rounded).std() < 0.05 * exact.std()


def test_parts_of_a_sum_have_no_sign() -> None:
    graph = first_layers(pool=True).graph
    read_bytes(graph)
    total = next(node for node in graph.node if node.op_type == "Add" and node.name == "sum")
    assert [maker_of(graph, name).op_type for name in total.input] == ["Relu", "Relu"]
    assert readers_of(graph, total.output[0])[0].op_type == "Transpose"


@pytest.mark.parametrize(
    "fields", [{"stride": 1}, {"pads": (0, 0, 0, 0)}, {"pads": (0, 0, 2, 1)}, {"pool": True, "joined": False}]
)
def test_what_cannot_read_bytes_stays_as_it_is(fields: dict[str, object]) -> None:
    model = first_layers(**fields)  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert read_bytes(model.graph) == {}
    assert model.SerializeToString() == before
    assert layers_of(model) == ["second"]


def test_a_sum_with_another_map_is_not_of_places() -> None:
    model = first_layers()
    node = onnx.helper.make_node
    bound = next(each for each in model.graph.node if each.name == "bound")
    bound.input[0] = "s"
    made = [
        node("Shape", ["image"], ["size"], name="size", start=1, end=3),
        node("Add", ["size", "one"], ["wider"], name="wider"),
        node("Div", ["wider", "two"], ["half"], name="half"),
        node("Concat", ["eight", "half"], ["shape"], name="shape", axis=0),
        node("ConstantOfShape", ["shape"], ["other"], name="other"),
        node("Add", ["f", "other"], ["s"], name="sum"),
    ]
    for place, each in enumerate(made, list(model.graph.node).index(bound)):
        model.graph.node.insert(place, each)
    for name, values in {"one": [1], "two": [2], "eight": [1, 8]}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    rewritten = copy.deepcopy(model)
    assert read_bytes(rewritten.graph)
    assert [each.name for each in readers_of(rewritten.graph, "f")] == ["sum"]  # in columns already
    np.testing.assert_allclose(scores_of(rewritten, PICTURES[0]), scores_of(model, PICTURES[0]), atol=1e-4)


def test_a_picture_that_something_else_reads_stays_as_it_is() -> None:
    model = first_layers()
    model.graph.node.append(onnx.helper.make_node("Neg", ["x"], ["negative"], name="other"))
    assert read_bytes(model.graph) == {}


def test_a_first_layer_that_is_to_stay_in_float_reads_the_picture_as_before() -> None:
    model = first_layers(pool=True)
    kept = quantise(copy.deepcopy(model), PICTURES, ["first"])
    first = next(node for node in kept.graph.node if node.name == "first")
    assert maker_of(kept.graph, first.input[0]).input[1] == COLOUR
    assert fields_of(first)["kernel_shape"] == [3, 3]
