"""Exported files: what a stranger's onnxruntime sees, that they agree at other sizes, that a failure leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import featherseg
from featherseg.export import agreement, export_onnx
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
