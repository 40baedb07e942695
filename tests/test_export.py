"""Exported files: what a stranger's onnxruntime sees, that they agree at other sizes, that a failure leaves nothing."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import featherseg
from featherseg.app.export import beside
from featherseg.data.masks import IndexMasks, Pair
from featherseg.data.samples import SegData
from featherseg.export import agreement, export_onnx
from featherseg.hub import locate
from featherseg.models import MODELS, SegNetwork
from featherseg.runtime.artefact import METADATA_KEY, Artefact, InputRule, Preprocessing
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores

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
    assert export_onnx(network, artefact, path, pictures=PICTURES).holds
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
    assert export_onnx(network, artefact, path, pictures=PICTURES[:1], bias={"b": 0.75}).holds
    plain, moved = (featherseg.load(file).engine(PICTURES[0]) for file in (exported, path))
    assert np.abs(moved - plain - np.array([0, 0.75, 0, 0, 0], np.float32)[:, None, None]).max() < 1e-4
    assert featherseg.load(path).artefact.card["export"]["bias"] == {"b": 0.75}
    with pytest.raises(FeathersegError, match="bias of class"):
        export_onnx(network, artefact, path, pictures=PICTURES[:1], bias={"z": 1.0})


@pytest.mark.slow
def test_half_the_space_keeps_the_labels(tmp_path: Path) -> None:
    network, artefact = network_and_artefact("affnet")
    sizes = {}
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.onnx"
        export_onnx(network, artefact, path, pictures=PICTURES[:1], precision=precision, keep_despite=True)
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
        export_onnx(network, artefact, path, pictures=PICTURES[:1])
    assert path.read_bytes() == b"older"
    assert [item.name for item in tmp_path.iterdir()] == ["net.onnx"]
    report = export_onnx(network, artefact, path, pictures=PICTURES[:1], keep_despite=True)
    assert not report.holds
    assert featherseg.load(path).artefact.card["export"]["agrees"] is False


@pytest.fixture
def quick_trace(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes long: the same network's graph."""
    monkeypatch.setattr("featherseg.export.onnx.trace", lambda *_: onnx.load(exported))


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
    export_onnx(network, replace(artefact, card=LOCAL_CARD), tmp_path / "net.onnx", pictures=PICTURES[:1])
    assert before == LOCAL_CARD
    for path in tmp_path.iterdir():
        assert b"secret" not in path.read_bytes()
    card = featherseg.load(tmp_path / "net.onnx").artefact.card
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
    agreed = export_onnx(network, replace(artefact, card=LOCAL_CARD), path, pictures=PICTURES[:1], data=data)
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
        ("foreign.onnx", {}, r"foreign\.md: would be replaced by the file's card, and is none"),
    ],
)
def test_a_mistake_is_seen_before_the_trace(
    tmp_path: Path, name: str, options: dict[str, object], message: str
) -> None:
    (tmp_path / "foreign.md").write_text("# foreign\n\nnotes of somebody\n")
    network, artefact = network_and_artefact("affnet")
    with pytest.raises(FeathersegError, match=message):
        export_onnx(network, artefact, tmp_path / name, **{"pictures": PICTURES[:1], **options})  # type: ignore[arg-type]
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
        export_onnx(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1])
    assert caught.value.name == package


def test_a_card_of_ours_is_replaced(tmp_path: Path, quick_trace: None) -> None:
    network, artefact = network_and_artefact("affnet", presence=True)
    for name in ("first", "second"):
        export_onnx(network, replace(artefact, card={"name": name}), tmp_path / "net.onnx", pictures=PICTURES[:1])
    assert (tmp_path / "net.md").read_text().splitlines()[1] == "# second"


def test_the_file_goes_where_load_looks_for_it(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    (run / "best.safetensors").touch()
    beside(run / "best.safetensors").touch()
    assert locate(run, "onnxruntime") == run / "mine.onnx"
    assert beside(tmp_path / "net-camvid.safetensors") == tmp_path / "net-camvid.onnx"


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
    assert export_onnx(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1]).holds


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["ewa", "concat", "ewa+concat", "fpn_pan"])
def test_every_fusion_of_affnet_agrees_with_its_file(tmp_path: Path, fusion: str) -> None:
    network, artefact = network_and_artefact("affnet", fusion=fusion)
    assert export_onnx(network, artefact, tmp_path / "net.onnx", pictures=PICTURES[:1]).holds
