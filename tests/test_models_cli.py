"""``featherseg models``, run as a user would."""

from __future__ import annotations

import importlib
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import CLASSES, write_network

from featherseg.app.cli import main
from featherseg.runtime import Artefact, weights

KEYS = {"name", "paper", "params", "macs", "num_classes", "size", "weights"}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Only the weights that a test puts into the folder it is given."""
    folder = tmp_path / "trained"
    folder.mkdir()
    monkeypatch.setattr(weights, "folders", lambda: [folder])
    return folder


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["models", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def as_data(capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    return {item["name"]: item for item in json.loads(printed(capsys, "--json"))}


def artefact(**card: object) -> str:
    return Artefact(classes=CLASSES, card=card).to_text()


def write_checkpoint(path: Path, text: str) -> None:
    header = json.dumps({"__metadata__": {"featherseg": text}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    networks = as_data(capsys)
    assert all(set(item) == KEYS for item in networks.values())
    assert {item["paper"] for item in networks.values()} == {"000", "001", "002", "003", "004", ""}
    affnet = networks["affnet"]
    assert (affnet["params"], affnet["num_classes"], affnet["size"]) == (1_622_810, 19, [512, 1024])
    assert affnet["weights"] == []


def test_text_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = printed(capsys).splitlines()
    assert head.split()[:2] == ["name", "paper"]
    assert {line.index("19 classes, 512x1024") for line in lines} == {head.index("counted at")}
    assert next(line for line in lines if line.startswith("affnet ")).split()[1:4] == ["004", "1,622,810", "5.19"]


def test_weights_with_their_cards(capsys: pytest.CaptureFixture[str], no_weights: Path) -> None:
    card = {"model": {"name": "affnet"}, "data": {"format": "camvid"}, "scores": {"val": {"miou": 0.675}}}
    write_network(no_weights / "affnet-camvid.onnx", metadata=artefact(**card))
    write_checkpoint(no_weights / "mine.safetensors", artefact(**card | {"data": {"format": "folder"}}))
    write_checkpoint(no_weights / "spssnet-untold.safetensors", artefact())
    write_checkpoint(no_weights / "stranger.safetensors", artefact())
    networks = as_data(capsys)
    assert networks["affnet"]["weights"] == [
        {"name": "affnet-camvid", "data": "camvid", "miou": 0.675},
        {"name": "mine", "data": "folder", "miou": 0.675},
    ]
    assert networks["spssnet"]["weights"] == [{"name": "spssnet-untold", "data": None, "miou": None}]
    text = printed(capsys)
    assert "affnet-camvid (camvid, mIoU 67.5 %)" in text
    assert "spssnet-untold" in text
    assert "stranger" not in text


def test_the_card_of_an_openvino_file_is_read_without_openvino(
    capsys: pytest.CaptureFixture[str], no_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    opset = importlib.import_module("openvino.opset13")
    picture = opset.parameter([1, 4], np.float32)
    model = openvino.Model([opset.relu(picture)], [picture])
    card = {"model": {"name": "spssnet"}, "data": {"format": "voc"}, "scores": {"val": {"miou": 0.5}}}
    model.set_rt_info(artefact(**card), "featherseg")
    openvino.save_model(model, no_weights / "mine.xml")
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert as_data(capsys)["spssnet"]["weights"] == [{"name": "mine", "data": "voc", "miou": 0.5}]


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, struct.pack("<Q", 4) + b"nope"])
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".xml"])
def test_a_broken_file_does_not_hide_the_rest(
    capsys: pytest.CaptureFixture[str], no_weights: Path, suffix: str, content: bytes
) -> None:
    (no_weights / f"affnet-broken{suffix}").write_bytes(content)
    assert as_data(capsys)["affnet"]["weights"] == [{"name": "affnet-broken", "data": None, "miou": None}]


def test_it_needs_no_torch() -> None:
    code = "import sys; from featherseg.app.cli import main; main(['models']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "affnet" in done.stdout


def test_a_mistake_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", "--jsno"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
