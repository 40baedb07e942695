"""Exported files: what a stranger's onnxruntime sees, that they agree at other sizes, that a failure leaves nothing."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.torch_version import TorchVersion

import featherseg
from featherseg.app.export import beside, read_spread
from featherseg.data.masks import IndexMasks, Pair
from featherseg.data.samples import SegData
from featherseg.export import TARGETS, Agreement, agreement, export, exporter
from featherseg.export.card import card_lines
from featherseg.export.executorch import ExecuTorchTarget
from featherseg.export.executorch import layers_of as layers_of_module
from featherseg.export.exporter import MASKS, within_budget
from featherseg.export.graph import TRACES_POOLS
from featherseg.export.int8 import costly_layers, layers_of, quantise
from featherseg.export.norms import spread_norms
from featherseg.export.openvino import quantise_resizing
from featherseg.export.picture import fold_preprocessing, keep_colours_together
from featherseg.hub import locate
from featherseg.models import MODELS, SegNetwork
from featherseg.runtime.artefact import METADATA_KEY, Artefact, InputRule, Preprocessing
from featherseg.runtime.card import MARK, hardware
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores
from featherseg.runtime.openvino import arithmetic_of

PICTURES = [np.random.default_rng(seed).integers(0, 256, (120, 160, 3)).astype(np.uint8) for seed in range(2)]


def network_and_artefact(name: str, **fields: object) -> tuple[SegNetwork, Artefact]:
    """A network with random weights and lively batch-norm statistics, so that agreement is not agreement on nothing."""
    torch.manual_seed(0)
    network = featherseg.create_model(name, num_classes=5, **fields)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.7, 1.5)
    artefact = Artefact(
        classes=Classes(names=("a", "b", "c", "d", "e")),
        preprocessing=Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
        input_rule=InputRule(size=(96, 128)),
        align_corners=network.align_corners,
        stride=network.stride,
        card={"name": "tiny"},
    )
    return network.eval(), artefact


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AFFNet with random weights as a file."""
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    network, artefact = network_and_artefact("affnet", presence=True)
    assert export(network, artefact, path, pictures=PICTURES).holds
    assert sorted(item.name for item in path.parent.iterdir()) == ["net.md", "net.onnx"]
    return path


def test_affnet_file_is_what_the_contract_says(exported: Path) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    path = exported
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,), (scores,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, scores.name, scores.type) == ("image", "tensor(uint8)", "scores", "tensor(float)")
    assert (image.shape[0], image.shape[3]) == (1, 3)
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    assert set(metadata) == {
        "classes", "palette", "ignore_index", "mean", "std", "input_rule", "align_corners", "stride", "card",
    }  # fmt: skip
    assert metadata["card"]["export"]["agrees"] is True
    for height, width in ((32, 32), (33, 47), (200, 75)):
        picture = np.random.default_rng(9).integers(0, 256, (height, width, 3)).astype(np.uint8)
        (out,) = session.run(None, {"image": picture[None]})
        normalised = torch.from_numpy(artefact.preprocessing(picture))
        with torch.no_grad():
            expected = network(normalised).logits.numpy()
        assert out.shape == expected.shape == (1, 5, -(-height // 8), -(-width // 8))
        assert np.abs(out - expected).max() < 1e-3 * np.abs(expected).max()
    predictor = featherseg.load(path)
    with torch.no_grad():
        full = network.logits(torch.from_numpy(artefact.preprocessing(PICTURES[0]))).argmax(1)[0].numpy()
    assert (predictor(PICTURES[0], size="own").mask == full).mean() > 0.9999


@pytest.mark.slow
def test_a_bias_moves_the_scores_of_its_class_alone(exported: Path, tmp_path: Path) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    path = tmp_path / "net.onnx"
    published = replace(artefact, card={**artefact.card, "paper": "004", "bytes": 123, "spread": {}})
    assert export(network, published, path, pictures=PICTURES[:1], bias={"b": 0.75}).holds
    plain, moved = (featherseg.load(file).engine(PICTURES[0]) for file in (exported, path))
    assert np.abs(moved - plain - np.array([0, 0.75, 0, 0, 0], np.float32)[:, None, None]).max() < 1e-4
    card = featherseg.load(path).artefact.card
    assert card["export"]["bias"] == {"b": 0.75}
    assert card["paper"] == "004"
    assert not {"bytes", "spread"} & card.keys()
    with pytest.raises(FeathersegError, match="bias of class"):
        export(network, artefact, path, pictures=PICTURES[:1], bias={"z": 1.0})


@pytest.mark.slow
def test_half_the_space_keeps_the_labels(tmp_path: Path) -> None:
    network, artefact = network_and_artefact("affnet")
    sizes = {}
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.onnx"
        export(network, artefact, path, pictures=PICTURES[:1], precision=precision, keep_despite=True)
        sizes[precision] = path.stat().st_size
    assert sizes["fp16"] < 0.55 * sizes["fp32"]
    masks = [label_scores(featherseg.load(tmp_path / f"{name}.onnx").engine(PICTURES[0]), (120, 160)) for name in sizes]
    assert (masks[0] == masks[1]).mean() > 0.98


def test_a_file_that_disagrees_is_not_kept_and_an_older_one_stays(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"older")
    monkeypatch.setattr("featherseg.export.onnx.trace", lambda *_: onnx.load(exported))  # tracing takes long
    monkeypatch.setattr(agreement, "TOLERANCES", {"fp32": (-1.0, 1.0)})
    with pytest.raises(FeathersegError, match=r"does not agree with the network.*--force"):
        export(network, artefact, path, pictures=PICTURES[:1])
    assert path.read_bytes() == b"older"
    assert [item.name for item in tmp_path.iterdir()] == ["net.onnx"]
    report = export(network, artefact, path, pictures=PICTURES[:1], keep_despite=True)
    assert not report.holds
    assert featherseg.load(path).artefact.card["export"]["agrees"] is False
    assert "it DOES NOT AGREE with it, and was kept by --force" in path.with_suffix(".md").read_text()


@pytest.fixture
def quick_trace(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes long: the same network's graph."""
    for target in ("onnx", "openvino"):
        monkeypatch.setattr(f"featherseg.export.{target}.trace", lambda *_: onnx.load(exported))


@pytest.fixture
def no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """For mistakes that must be seen before the long work."""
    monkeypatch.setattr("featherseg.export.onnx.trace", lambda *_: pytest.fail("it has traced"))


LOCAL_CARD = {
    "name": "mine",
    "model": {"name": "affnet", "presence": True},
    "data": {"format": "folder", "root": "/secret/data", "terms": "ours"},
    "run": {
        "model": {"name": "fe_deeplab", "pretrained": "/secret/mobilenet.safetensors"},
        "data": {"format": "folder", "root": "/secret/data", "val": "val"},
        "out": "/secret/runs/mine",
        "init": "/secret/runs/first",
        "seed": 3,
    },
    "scores": {"val": {"miou": 0.5, "iou": {}, "pixel_accuracy": 0.5, "class_accuracy": 0.5, "fwiou": 0.5}},
    "started_from": {"recipe": "r", "data": {"root": "/secret/older"}, "started_from": {"run": {"out": "/secret"}}},
}


def test_paths_of_this_machine_stay_behind(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    before = copy.deepcopy(LOCAL_CARD)
    export(network, replace(artefact, card=LOCAL_CARD), tmp_path / "net.onnx", pictures=PICTURES[:1])
    assert before == LOCAL_CARD
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()
    card = featherseg.load(tmp_path / "net.onnx").artefact.card
    assert "scores" not in card  # the file was not scored: what lists files shows no score
    assert card["network_scores"]["val"]["miou"] == 0.5
    assert card["data"] == {"format": "folder", "terms": "ours"}
    assert card["run"] == {
        "model": {"name": "fe_deeplab", "pretrained": "mobilenet.safetensors"},
        "data": {"format": "folder", "val": "val"},
        "seed": 3,
    }
    text = (tmp_path / "net.md").read_text()
    assert "## Scores on val, of the network that it was exported from" in text  # the file itself was not scored


def test_scores_name_the_data_that_they_were_measured_on(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    for name, picture in zip("ab", PICTURES, strict=True):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        Image.fromarray(picture[..., 0] // 52).save(tmp_path / f"{name}_mask.png")
    pairs = tuple(Pair(tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png") for name in "ab")
    masks = IndexMasks({index: index for index in range(len(artefact.classes))}, classes=artefact.classes)
    data = SegData(name="folder", root=tmp_path, split="holdout", classes=artefact.classes, pairs=pairs, masks=masks)
    path = tmp_path / "net.onnx"
    agreed = export(network, replace(artefact, card=LOCAL_CARD), path, pictures=PICTURES[:1], data=data)
    scores = featherseg.load(path).artefact.card["scores"]
    assert list(scores) == ["folder holdout"]
    assert scores["folder holdout"]["pictures"] == 2
    assert scores["folder holdout"]["miou"] == round(agreed.after.miou, 6)
    assert "## Scores on folder holdout (2 pictures), of this file" in path.with_suffix(".md").read_text()


@pytest.mark.usefixtures("no_trace")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (".", {}, r"is a folder; expected a file: for instance .*net\.onnx"),
        ("plain.bin", {}, r"plain\.bin; expected a file ending in \.onnx; got '\.bin'"),
        ("missing/net.onnx", {}, r"missing/net\.onnx: there is no folder .*missing: make it first"),
        ("net.onnx", {"max_drop": 1.0}, "max_drop; expected labelled pictures"),
        ("net.onnx", {"pictures": []}, "expected at least one picture"),
        ("net.onnx", {"max_drop": -1.0, "data": object()}, "max_drop; expected mIoU points, 0 or more"),
        ("foreign.onnx", {}, r"foreign\.md: would be replaced by the file's card, and is none"),
    ],
)
def test_a_mistake_is_seen_before_the_trace(
    tmp_path: Path, name: str, options: dict[str, object], message: str
) -> None:
    (tmp_path / "foreign.md").write_text("# foreign\n\nnotes of somebody\n")
    network, artefact = network_and_artefact("affnet")
    with pytest.raises(FeathersegError, match=message):
        export(network, artefact, tmp_path / name, **{"pictures": PICTURES[:1], **options})  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.md"]
    assert (tmp_path / "foreign.md").read_text().startswith("# foreign")


@pytest.mark.usefixtures("no_trace")
@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_seen_before_the_trace(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, artefact = network_and_artefact("affnet")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        export(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1])
    assert caught.value.name == package


def test_a_card_of_ours_is_replaced(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    for name in ("first", "second"):
        export(network, replace(artefact, card={"recipe": name}), tmp_path / "net.onnx", pictures=PICTURES[:1])
    lines = (tmp_path / "net.md").read_text().splitlines()
    assert lines[1] == "# net"
    assert "- recipe: second" in lines


def test_the_file_goes_where_load_looks_for_it(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    (run / "best.safetensors").touch()
    beside(run / "best.safetensors", ".onnx", "fp32").touch()
    assert locate(run, "onnxruntime") == run / "mine.onnx"
    checkpoint = tmp_path / "net-camvid.safetensors"
    assert beside(checkpoint, ".onnx", "fp16") == tmp_path / "net-camvid.onnx"
    assert beside(checkpoint, ".xml", "int8") == tmp_path / "net-camvid-int8.xml"


def test_an_exported_file_runs_without_torch(exported: Path) -> None:
    program = (
        "import sys, numpy, featherseg; "
        f"mask = featherseg.load({str(exported)!r})(numpy.zeros((50, 70, 3), numpy.uint8)).mask; "
        "assert mask.shape == (50, 70); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != "affnet"])
def test_every_network_agrees_with_its_file(tmp_path: Path, name: str) -> None:
    network, artefact = network_and_artefact(name)
    assert export(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1]).holds


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["ewa", "concat", "ewa+concat", "fpn_pan"])
def test_every_fusion_of_affnet_agrees_with_its_file(tmp_path: Path, fusion: str) -> None:
    network, artefact = network_and_artefact("affnet", fusion=fusion)
    assert export(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1]).holds


def test_openvino_files_say_the_same_at_every_size(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    agreed = export(network, artefact, tmp_path / "net.xml", to="openvino", pictures=PICTURES[:1])
    assert agreed.holds
    assert agreed.equal_pixels == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.md", "net.xml"]
    predictor = featherseg.load(tmp_path / "net.xml")
    assert predictor.classes == artefact.classes
    assert predictor.artefact.card["export"]["target"] == "openvino"
    for _ in range(2):  # the graph for any size, then the one for this size
        assert predictor(PICTURES[0]).mask.shape == (120, 160)


@pytest.mark.parametrize(
    ("precision", "capabilities", "arithmetic"),
    [("int8", ["FP32", "INT8"], "f32"), ("int8", ["FP32", "BF16"], "bf16"), ("fp32", ["BF16"], "f32"),
     ("fp16", ["BF16"], "f32"), ("bf16", ["FP32"], "bf16"), (None, ["BF16"], "f32")],
)  # fmt: skip
def test_what_openvino_calculates_in(precision: str | None, capabilities: list[str], arithmetic: str) -> None:
    export_of = {} if precision is None else {"export": {"precision": precision}}
    _, artefact = network_and_artefact("affnet")
    assert arithmetic_of(replace(artefact, card=export_of), capabilities) == arithmetic


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_mask_is_what_label_scores_makes_of_the_scores(
    exported: Path, tmp_path: Path, to: str, align_corners: bool
) -> None:
    _, artefact = network_and_artefact("affnet", presence=True)
    artefact = replace(artefact, align_corners=align_corners)
    target = TARGETS[to]
    assert isinstance(target, MASKS)
    path = tmp_path / f"net{target.suffix}"
    model = target.convert(onnx.load(exported), "fp32")
    target.write(target.with_mask(model, artefact), artefact, path)
    engine = target.open(path)
    for height, width in ((64, 96), (75, 201), (75, 201)):  # OpenVINO compiles a graph for a size seen twice
        picture = np.random.default_rng(9).integers(0, 256, (height, width, 3)).astype(np.uint8)
        scores, mask = engine.with_mask(picture)
        assert (mask.dtype, mask.shape) == (np.uint8, (height, width))
        expected = label_scores(scores, (height, width), align_corners=align_corners)
        assert (mask == expected).mean() > 0.9999
        assert len(np.unique(mask)) > 1


def test_a_file_with_a_mask_is_compared_and_loaded_like_any_other(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    agreed = export(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1], mask=True)
    assert agreed.holds
    assert agreed.equal_mask > 0.9999
    assert not replace(agreed, equal_mask=0.99).holds
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    scores, mask = session.get_outputs()
    assert (scores.name, mask.name, mask.type, mask.shape[0]) == ("scores", "mask", "tensor(uint8)", 1)
    predictor = featherseg.load(tmp_path / "net.onnx")
    assert predictor(PICTURES[0], size="own").mask.shape == PICTURES[0].shape[:2]
    assert predictor.artefact.card["export"]["equal_mask"] > 0.9999


@pytest.mark.parametrize("to", ["torch", "executorch"])
def test_a_mask_is_refused_where_there_is_none(tmp_path: Path, to: str) -> None:
    network, artefact = network_and_artefact("affnet")
    with pytest.raises(FeathersegError, match=f"a file for {to} gives scores alone"):
        export(network, artefact, tmp_path / f"net{TARGETS[to].suffix}", to=to, pictures=PICTURES[:1], mask=True)


@pytest.mark.slow
def test_eight_bits_in_both_runtimes(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    sizes = {}
    for to, name in (("onnx", "net.onnx"), ("openvino", "net.xml")):
        agreed = export(
            network, artefact, tmp_path / name, to=to, pictures=PICTURES[:1], precision="int8", calibration=PICTURES,
            keep_despite=True,
        )  # fmt: skip
        assert 0.8 < agreed.equal_pixels < 1  # random weights: their scores lie close together
        card = featherseg.load(tmp_path / name).artefact.card["export"]
        assert (card["precision"], card["calibrated_on"]) == ("int8", 2)
        sizes[to] = sum(path.stat().st_size for path in tmp_path.iterdir() if path.suffix in (".onnx", ".xml", ".bin"))
    weights = sum(parameter.numel() for parameter in network.deployed().parameters())
    assert sizes["onnx"] < 1.6 * weights  # bytes, where fp32 takes four for each
    depthwise = [node for node in model_of(tmp_path / "net.xml") if node.get_type_name() == "GroupConvolution"]
    assert len(depthwise) > 9
    for node in depthwise:  # a number of 8 bits and a scale a channel: else OpenVINO has no kernels for it in 8 bits
        scaled = node.input_value(1).get_node()
        assert scaled.get_type_name() == "Multiply"
        assert scaled.input_value(0).get_node().input_value(0).get_element_type().get_type_name() == "i8"
        channels = node.get_input_shape(1)[0]
        assert scaled.get_input_shape(1) == [channels, 1, 1, 1, 1]
    products = [node for node in model_of(tmp_path / "net.xml") if node.get_type_name() == "MatMul"]
    assert [node.input_value(1).get_node().get_type_name() for node in products] == 2 * ["FakeQuantize"]


def test_products_with_matrices_of_sizes_are_quantised() -> None:
    """Not with a map, with weights, or where the layer is to stay in float."""
    openvino = pytest.importorskip("openvino")
    op = openvino.opset13
    x = op.parameter([1, 2, -1, 4], np.float32)
    size = op.convert(op.shape_of(x), "f32")
    matrix = op.matmul(op.unsqueeze(size, np.array(1)), op.constant(np.full((1, 4), 0.1, np.float32)), False, False)
    factors = {"sizes": matrix, "map": op.relu(x), "weights": op.constant(np.eye(4, dtype=np.float32)), "kept": matrix}
    products = [op.matmul(x, factor, False, name == "map", name=name) for name, factor in factors.items()]
    model = openvino.Model([op.result(product) for product in products], [x])
    quantise_resizing(model, ["kept"])
    kinds = {p.get_friendly_name(): p.input_value(1).get_node().get_type_name() for p in products}
    assert kinds == {"sizes": "FakeQuantize", "map": "Relu", "weights": "Constant", "kept": "MatMul"}


def model_of(path: Path) -> list[Any]:
    """The operations of OpenVINO's files."""
    import openvino

    return list(openvino.Core().read_model(path).get_ordered_ops())


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < TRACES_POOLS, reason="torch cannot trace a max pool for every size")
def test_a_torch_program_is_read_back_by_torch_alone(tmp_path: Path) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    path = tmp_path / "net.pt2"
    assert export(network, artefact, path, to="torch", pictures=PICTURES[:1]).holds
    extra = {METADATA_KEY: ""}
    module = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra[METADATA_KEY])["classes"] == list(artefact.classes.names)
    scores = module(torch.from_numpy(PICTURES[0])[None])
    assert scores.shape == (1, 5, 15, 20)


def test_a_torch_that_cannot_trace_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As 2.11 and 2.12 cannot what has a max pool; of a later one the fault is told as it is."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Constraints violated (height, width)! For more information, ...")

    monkeypatch.setattr(torch.export, "export", refuse)
    network, artefact = network_and_artefact("affnet")
    for version, error, words in (
        ("2.12.0", FeathersegError, r"torch 2\.12\.0 cannot trace this network .*: use torch 2\.13 or newer"),
        ("2.13.0", RuntimeError, "^Constraints violated"),
    ):
        monkeypatch.setattr(torch, "__version__", TorchVersion(version))
        with pytest.raises(error, match=words):
            export(network, artefact, tmp_path / "net.pt2", to="torch", pictures=PICTURES[:1])
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("no_trace")
def test_eight_bits_need_pictures_and_a_target_that_has_them(tmp_path: Path) -> None:
    network, artefact = network_and_artefact("affnet")
    with pytest.raises(FeathersegError, match=r"int8; expected pictures to measure the ranges on"):
        export(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1], precision="int8")
    with pytest.raises(FeathersegError, match="precision for torch"):
        export(network, artefact, tmp_path / "net.pt2", to="torch", pictures=PICTURES[:1], precision="int8")


def wild_graph() -> onnx.ModelProto:
    """3x3 convolutions of a uint8 picture: "first", "calm", and "wild", one of whose maps dwarfs the others."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.normal(0, 0.02, (8, 3, 3, 3)),
        "calm": rng.normal(0, 0.1, (8, 8, 3, 3)),
        "wild": rng.normal(0, 0.1, (4, 8, 3, 3)),
    }
    weights["wild"][0] *= 3000
    mixed = np.zeros((5, 4, 1, 1))
    mixed[:, 1:] = rng.normal(0, 1, (5, 3, 1, 1))
    weights["mixed"] = mixed
    node = onnx.helper.make_node
    nodes = [
        node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]),
        node("Cast", ["turned"], ["x0"], to=onnx.TensorProto.FLOAT),
        node("Conv", ["x0", "first_w"], ["y"], name="first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Conv", ["y", "calm_w"], ["x1"], name="calm", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["x1"], ["x2"]),
        node("Conv", ["x2", "wild_w"], ["x3"], name="wild", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Conv", ["x3", "mixed_w"], ["scores"], name="mixed", kernel_shape=[1, 1]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "wild",
        [value("image", onnx.TensorProto.UINT8, [1, "h", "w", 3])],
        [value("scores", onnx.TensorProto.FLOAT, [1, 5, "h", "w"])],
        [onnx.numpy_helper.from_array(array.astype(np.float32), f"{name}_w") for name, array in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)


def test_the_layer_that_eight_bits_hurt_most_is_found_and_can_stay_in_float() -> None:
    model = wild_graph()
    order = costly_layers(model, PICTURES)
    assert sorted(order) == sorted(layers_of(model)) == ["calm", "mixed", "wild"]
    assert order[-1] == "calm"  # the others calculate with the map that dwarfs the rest
    for kept in ([], order[:1], order[:2]):
        names = {item.name for item in quantise(model, PICTURES, kept).graph.initializer}
        in_float = {name for name in ("first", *order) if f"{name}_w" in names}
        assert in_float == {"first", *kept}  # what reads the picture stays in float in any case


def test_layers_stay_in_float_until_the_budget_holds() -> None:
    order = [f"layer{index}" for index in range(12)]

    class Fake:
        def costly_layers(self, graph: object, pictures: object) -> list[str]:
            return order

        def quantise(self, graph: object, pictures: object, kept: tuple[str, ...]) -> int:
            return len(kept)

    def attempt(kept: int, *, needed: int) -> Agreement:
        equal = 1.0 if kept >= needed else 0.6 if kept == 2 else 0.5
        return Agreement(
            sizes=(), pictures=1, largest_difference=0.0, equal_pixels=equal, precision="int8", latency_ms=(1.0, 1.0)
        )

    for needed, expected in ((0, 0), (1, 1), (3, 4), (4, 4), (7, 2)):  # 7 are too many: the best attempt
        model, agreed = within_budget(Fake(), None, [], lambda kept, needed=needed: attempt(kept, needed=needed))  # type: ignore[arg-type]
        assert (model, agreed.layers_in_float) == (expected, tuple(order[:expected]))
        assert agreed.holds == (needed <= 4)


@pytest.mark.parametrize("parameters", [("scale", "shift", "mean", "variance"), ("scale", "shift", "shift", "scale")])
@pytest.mark.parametrize(("widths", "joined"), [((8, 8), ["Concat"]), ((4, 3), ["Add"])])
def test_a_norm_behind_a_concatenation_goes_into_its_parts(
    widths: tuple[int, int], joined: list[str], parameters: tuple[str, ...]
) -> None:
    """Parts that would have to be copied about to lie side by side are added, each with zeros in the other's place.

    The exporter writes equal arrays once, so a norm that has learned nothing reads each twice.
    """
    own, pooled = widths
    rng = np.random.default_rng(1)
    total = own + pooled
    arrays = {
        "w": rng.normal(size=(own, pooled, 3, 3)), "scale": rng.uniform(0.5, 2, total),
        "shift": rng.normal(size=total), "mean": rng.normal(size=total), "variance": rng.uniform(0.5, 2, total),
    }  # fmt: skip
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("MaxPool", ["x"], ["b"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Concat", ["a", "b"], ["c"], name="join", axis=1),
        node("BatchNormalization", ["c", *parameters], ["d"], epsilon=1e-5),
    ]
    value, number = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", number, [1, pooled, 9, 8])], [value("d", number, [1, total, 9, 8])],
        [onnx.numpy_helper.from_array(arrays[name].astype(np.float32), name) for name in {"w", *parameters}],
        value_info=[value("a", number, [1, own, 9, 8]), value("b", number, [1, pooled, 9, 8])],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    x = rng.normal(size=(1, pooled, 9, 8)).astype(np.float32)

    def run() -> np.ndarray:
        onnx.checker.check_model(model)
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]  # type: ignore[no-any-return]

    before = run()
    spread_norms(model)
    assert [item.op_type for item in model.graph.node] == ["Conv", "MaxPool", "Conv", *joined]
    read = {name for item in model.graph.node for name in item.input}
    assert {item.name for item in model.graph.initializer} <= read  # runtimes warn of others
    assert np.abs(run() - before).max() < 1e-5 * np.abs(before).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["affnet", "enet"])
def test_the_graph_of_a_network_is_rewritten(name: str) -> None:
    """The passes look for what the exporter writes: should it write otherwise, nothing else would tell."""
    model = TARGETS["onnx"].trace(*network_and_artefact(name))
    graph = model.graph
    kinds = [node.op_type for node in graph.node]
    by_name = {node.name: node.op_type for node in graph.node}
    assert by_name["normalise"] == "Sub"
    assert "BatchNormalization" not in kinds or name == "enet"  # ENet has some without a convolution before them
    first = next(node for node in graph.node if node.op_type in ("Concat", "Add") and node.name.startswith("node_cat"))
    assert first.op_type == "Add"
    read = {name for node in graph.node for name in node.input}
    assert {item.name for item in graph.initializer} <= read
    keep_colours_together(model)
    pools_bytes = sum(node.op_type == "Reshape" and node.input[0] == "image" for node in graph.node) == 2
    assert pools_bytes == (name == "affnet")  # ENet pads the picture first, with the colour that is subtracted
    assert ("fusion.fuse_attention.reduce.taps.weight" in str([node.input for node in graph.node])) == (
        name == "affnet"
    )


@pytest.mark.parametrize(
    ("kernel", "strides", "pads"),
    [((3, 3), (2, 2), (1, 1, 1, 1)), ((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 2), (1, 2), (1, 0, 0, 1))],
)
def test_the_layers_on_the_picture_take_the_normalisation(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int]
) -> None:
    """Where a convolution and a max pool read it; what else reads it keeps the convolution that normalises."""
    rng = np.random.default_rng(2)
    node, value, types = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto
    mean, std = rng.uniform(0.3, 0.6, 3), rng.uniform(0.2, 0.3, 3)
    arrays = {
        "normalise.weight": np.diag(1 / (255 * std)).reshape(3, 3, 1, 1),
        "normalise.bias": -mean / std,
        "w": rng.normal(size=(4, 3, 3, 3)),
    }
    nodes = [
        node("Transpose", ["image"], ["t"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["t"], ["x"], name="cast", to=types.FLOAT),
        node("Conv", ["x", "normalise.weight", "normalise.bias"], ["n"], name="normalise", kernel_shape=[1, 1]),
        node("Conv", ["n", "w"], ["a"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("MaxPool", ["n"], ["b"], name="pool", kernel_shape=kernel, pads=pads, strides=strides),
    ]
    image = rng.integers(0, 256, (1, 9, 8, 3)).astype(np.uint8)

    def model_of(nodes: list[onnx.NodeProto], outputs: tuple[str, ...]) -> onnx.ModelProto:
        graph = onnx.helper.make_graph(
            nodes, "g", [value("image", types.UINT8, [1, "h", "w", 3])],
            [value(name, types.FLOAT, [1, None, None, None]) for name in outputs],
            [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
        )  # fmt: skip
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)

    def run(model: onnx.ModelProto) -> list[np.ndarray]:
        onnx.checker.check_model(model)
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})  # type: ignore[no-any-return]

    def kinds(model: onnx.ModelProto) -> list[str]:
        return [item.op_type for item in model.graph.node]

    model = model_of(nodes, ("a", "b"))
    before = run(model)
    fold_preprocessing(model)
    assert kinds(model) == ["Transpose", "Cast", "Sub", "Conv", "MaxPool", "Conv"]
    folded = run(model)
    for ours, theirs in zip(folded, before, strict=True):  # edges included, where padding is zero once normalised
        assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    keep_colours_together(model)
    assert kinds(model)[:7] == ["Shape", "Tile", "Reshape", "Cast", "Sub", "Reshape", "Transpose"]
    assert kinds(model)[7:12] == ["Reshape", "Transpose", "MaxPool", "Transpose", "Reshape"]  # the bytes are pooled
    assert [name for item in model.graph.node for name in item.input].count("image") == 3  # their width is read, too
    for ours, theirs in zip(run(model), folded, strict=True):
        assert np.array_equal(ours, theirs)
    left = model_of([*nodes, node("Relu", ["n"], ["c"], name="relu")], ("a", "b", "c"))
    for rewrite in (fold_preprocessing, keep_colours_together):
        rewrite(left)
        assert kinds(left) == [*(item.op_type for item in nodes), "Relu"]


@pytest.mark.slow
def test_executorch_files_say_the_same_at_every_size(tmp_path: Path) -> None:
    """Where ExecuTorch is installed (extra `executorch`, which development does not bring)."""
    runtime = pytest.importorskip("executorch.runtime").Runtime.get()
    network, artefact = network_and_artefact("affnet", presence=True)
    assert export(network, artefact, tmp_path / "net.pte", to="executorch", pictures=PICTURES[:1]).holds
    program = runtime.load_program(tmp_path / "net.pte")  # as a stranger opens it
    assert program.method_names == {"forward", METADATA_KEY}
    card = Artefact.from_text(program.load_method(METADATA_KEY).execute([])[0], source="net.pte").card
    assert card["export"]["target"] == "executorch"
    picture = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (1, 101, 77, 3), np.uint8))
    scores = program.load_method("forward").execute([picture])[0]
    assert (scores.dtype, tuple(scores.shape)) == (torch.float32, (1, 5, 13, 10))
    engine = TARGETS["executorch"].open(tmp_path / "net.pte")
    assert [engine(np.zeros((side, side, 3), np.uint8)).shape for side in (32, 1024)] == [(5, 4, 4), (5, 128, 128)]
    with pytest.raises(FeathersegError, match="picture; expected at most 1024x1024; got 64x1025"):
        engine(np.zeros((64, 1025, 3), np.uint8))


@pytest.mark.slow
def test_executorch_files_in_eight_bits(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    network, artefact = network_and_artefact("affnet")
    target, path = TARGETS["executorch"], tmp_path / "net.pte"
    target.write(target.quantise(target.trace(network, artefact), PICTURES, ()), artefact, path)
    agreed = agreement.measure_agreement(network, artefact, target.open(path), PICTURES[:1], precision="int8")
    assert 0.8 < agreed.equal_pixels < 1
    weights = sum(value.numel() for value in network.deployed().parameters())
    assert path.stat().st_size < 2 * weights  # bytes; float takes four for each


@pytest.mark.slow
def test_executorch_leaves_named_layers_in_float() -> None:
    pytest.importorskip("executorch")
    network, artefact = network_and_artefact("affnet")
    target = TARGETS["executorch"]
    graph = target.trace(network, artefact)
    layers = [name for name, _ in layers_of_module(graph.module)]
    program = target.quantise(graph, PICTURES[:1], layers[::3]).program
    in_8_bits = sum("dequantize_per_channel" in str(node.target) for node in program.graph.nodes)
    assert in_8_bits == len(layers) - len(layers[::3])


def test_executorch_refuses_pictures_that_it_would_have_no_memory_for() -> None:
    _, artefact = network_and_artefact("affnet")
    require_room, own = TARGETS["executorch"].require_room, replace(artefact, input_rule=InputRule())
    require_room(own, [(1024, 1024)])
    with pytest.raises(FeathersegError, match="picture; expected at most 1024x1024; got 64x1025"):
        require_room(own, [(1024, 1024), (64, 1025)])
    for rule in (InputRule(size=(512, 2048)), InputRule(size=(96, 128)), InputRule(size=(96, 128), fit="letterbox")):
        require_room(replace(artefact, input_rule=rule), [(64, 1025), (3000, 4000)])
    with pytest.raises(FeathersegError, match="got 32x1056"):  # as many pixels as 1024x32, in its own aspect
        require_room(replace(artefact, input_rule=InputRule(size=(1024, 32), fit="area")), [(10, 350)])


def test_executorch_reads_the_headers_of_labelled_pictures_before_it_lowers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, artefact = network_and_artefact("affnet")
    monkeypatch.setattr(ExecuTorchTarget, "packages", ())
    monkeypatch.setattr(ExecuTorchTarget, "trace", Mock(side_effect=RuntimeError("lowered")))
    monkeypatch.setattr(exporter, "evaluate", Mock())
    pairs = [Pair(tmp_path / name, tmp_path / name) for name in ("small.png", "wide.png")]
    for pair, width in zip(pairs, (64, 1025), strict=True):
        Image.new("RGB", (width, 64)).save(pair.image)
    own = replace(artefact, input_rule=InputRule())

    def outcome(artefact: Artefact, *pairs: Pair) -> str:
        masks = IndexMasks({}, classes=artefact.classes)
        data = SegData(name="x", root=tmp_path, split="val", classes=artefact.classes, pairs=pairs, masks=masks)
        with pytest.raises((FeathersegError, RuntimeError)) as caught:
            export(network, artefact, tmp_path / "net.pte", to="executorch", pictures=PICTURES, data=data)
        return str(caught.value)

    assert outcome(own, *pairs).startswith("executorch: picture; expected at most 1024x1024; got 64x1025")
    part = pairs[1]._replace(window=(0, 1, 64, 1024))
    assert {outcome(artefact, *pairs), outcome(own, pairs[0]), outcome(own, part)} == {"lowered"}


def test_executorch_ranks_layers_by_what_rounding_them_costs() -> None:
    """As `wild_graph`: one of the maps between "wild" and "mixed" dwarfs the others, and comes to nothing."""
    network, artefact = network_and_artefact("affnet")
    graph = TARGETS["executorch"].trace(network, artefact)
    torch.manual_seed(0)
    calm, wild, mixed = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3), torch.nn.Conv2d(4, 5, 1)
    wild.weight.data[0] *= 3000
    mixed.weight.data[:, 0] = 0
    graph.module.network = torch.nn.Sequential(OrderedDict(calm=calm, wild=wild, mixed=mixed))
    graph.module.forward = lambda image: graph.module.network(graph.module.normalise(image.permute(0, 3, 1, 2).float()))
    before = copy.deepcopy(graph.module.state_dict())
    order = TARGETS["executorch"].costly_layers(graph, PICTURES)
    assert set(order[:2]) == {"wild", "mixed"}
    assert set(order[2:]) == {"calm", "normalise"}
    assert all(torch.equal(value, before[name]) for name, value in graph.module.state_dict().items())


def test_every_target_is_described() -> None:
    assert set(TARGETS) >= {"onnx", "openvino", "executorch", "torch"}


def test_sizes_that_take_turns_are_not_compiled_again_and_again(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, artefact = network_and_artefact("affnet", presence=True)
    target = TARGETS["openvino"]
    target.write(target.convert(onnx.load(exported), "fp32"), artefact, tmp_path / "net.xml")
    engine = target.open(tmp_path / "net.xml")
    compiled: list[tuple[int, int]] = []

    def graph_of(size: tuple[int, int]) -> object:
        compiled.append(size)
        return type(engine).graph_of(engine, size)

    monkeypatch.setattr(engine, "graph_of", graph_of)
    sizes = [(32, 32 * count) for count in range(1, 6)]
    for size in sizes * 3:
        engine(np.zeros((*size, 3), np.uint8))
    assert compiled == sizes[:4]
    for _ in range(2):
        engine(np.zeros((64, 64, 3), np.uint8))
    assert compiled == [*sizes[:4], (64, 64)]


def test_what_a_card_lacks_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"1234")
    assert list(card_lines(path, {})) == [MARK, "# net", "", "- file: net.onnx, 0.00 MB"]


def test_pictures_are_spread_over_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherseg.app.export.read_image", lambda path: path)
    paths = [Path(str(index)) for index in range(63)]
    places = [int(str(path)) for path in read_spread(paths, 32)]
    assert len(places) == 32
    assert max(np.diff(places)) == 2
    assert places[-1] > 60
    assert read_spread(paths[:3], 5) == paths[:3]


def test_a_bias_that_is_no_number_is_named(tmp_path: Path) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    name = artefact.classes.names[0]
    with pytest.raises(FeathersegError, match=f"bias of class {name}; expected a finite number; got nan"):
        export(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1], bias={name: float("nan")})


def test_a_card_names_what_trained() -> None:
    facts = {"cpu": "C", "cores": 2, "gpu": "G"}
    assert hardware(facts) == hardware({**facts, "device": "cuda"}) == "G"
    assert hardware({**facts, "device": "cpu"}) == hardware({**facts, "gpu": None}) == "C, 2 cores"
