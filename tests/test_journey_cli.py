"""The command line as a person uses it, from labelled pictures to a mask; a mistake is one line and exit code 2."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import folder_tree

from featherseg import load
from featherseg.app.cli import VERBS, main, open_verb
from featherseg.export.onnx import trace
from featherseg.models import SegNetwork
from featherseg.runtime.artefact import Artefact
from featherseg.training.directory import COLUMNS

QUICK = ["batch_size=2", "augment.crop_size=64x64", "workers=0", "epochs=1", "input_rule.size=own"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes long: the second export takes the graph of the first."""
    traced: list[Any] = []

    def once(network: SegNetwork, artefact: Artefact) -> Any:
        if not traced:
            traced.append(trace(network, artefact))
        return copy.deepcopy(traced[0])

    monkeypatch.setattr("featherseg.export.onnx.trace", once)


def test_from_labelled_pictures_to_a_mask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], traced_once: None
) -> None:
    data, run = folder_tree(tmp_path / "data"), tmp_path / "run"
    words = ["train", "affnet_folder", f"data.root={data}", f"out={run}", *QUICK]
    code, out, err = said(capsys, *words)
    assert (code, out.strip()) == (0, str(run))
    assert "epoch 1/1" in err
    code, out, _ = said(capsys, *words, "--json")
    assert code == 0
    assert json.loads(out)["epochs"] == 1

    code, out, _ = said(capsys, "val", str(run), "--root", str(data), "--report", str(tmp_path / "report"), "--json")
    scores = json.loads(out)
    assert code == 0
    assert set(scores["iou"]) == {"background", "cat", "dog"}
    assert np.array(scores["confusion"]).sum() == scores["pixels"] == 2 * (72 * 96 - 16)
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "classes.png", "report.md", "scores.json", "worst-1.png", "worst-2.png",
    ]  # fmt: skip

    code, out, _ = said(
        capsys, "export", str(run), "--to", "onnx", "--out", str(tmp_path / "net.onnx"), "--json",
        "--device", "cpu",
    )  # fmt: skip
    report = json.loads(out)
    assert code == 0
    content = (tmp_path / "net.onnx").read_bytes() + (tmp_path / "net.md").read_bytes()
    assert str(tmp_path).encode() not in content
    card = load(tmp_path / "net.onnx").artefact.card
    assert card["data"]["format"] == "folder"
    assert card["scores"]["folder val"] == {"pictures": 2, **card["scores"]["folder val"], "miou": report["miou"]}
    assert "## Scores on folder val (2 pictures), of this file" in (tmp_path / "net.md").read_text()
    assert report["agrees"] is True
    assert report["miou"] == pytest.approx(scores["miou"], abs=1e-3)

    small = tmp_path / "small.onnx"
    code, _, _ = said(capsys, "export", str(run), "--to", "onnx", "--size", "48x64", "--out", str(small))
    assert code == 0
    assert load(small).artefact.input_rule.size == (48, 64)

    photo = data / "images" / "val" / "photo0.jpg"
    code, _, _ = said(capsys, "predict", str(photo), "--model", str(tmp_path / "net.onnx"), "--out", str(tmp_path))
    assert code == 0
    mask = Image.open(tmp_path / "photo0_mask.png")
    assert (mask.mode, mask.size) == ("P", (96, 72))

    code, out, err = said(capsys, "export", str(run), "--to", "onnx", "--calibrate", str(tmp_path / "nowhere"))
    assert code == 2
    assert "nowhere" in err

    for words, message in (
        (["--data", "folder"], "--data is the layout of --root"),
        (["--calibrate", str(photo.parent), "--split", "val"], "--split is of labelled pictures"),
        (["--calibrate", str(photo.parent), "--root", str(data)], "--calibrate in fp32: nothing is calibrated"),
        (["--calibrate", str(photo.parent), "--max-drop", "1"], "--max-drop; expected labelled pictures"),
        (["--split", "test"], "test"),  # of the run's own pictures
    ):
        code, out, err = said(capsys, "export", str(run), "--to", "onnx", *words)
        assert (code, out) == (2, "")
        assert message in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "afnet_folder"], "did you mean 'affnet_folder'"),
        (["train", "affnet_folder"], "add data.root=DIR"),
        (["train", "affnet_folder", "data.root=nowhere"], "no such folder"),
        (["train", "affnet_folder", "epoks=3"], "did you mean 'epochs'"),
        (["val", "nothing-such", "--root", "."], "nothing-such"),
        (["val", "affnet_folder"], "--root"),
        (["export", "nothing-such", "--to", "onnx"], "nothing-such"),
        (["export", "x", "--to", "onx"], "onnx"),
        (["export", "x", "--to", "onnx", "--device", "tpu"], "choose from"),
        (["export", "x", "--to", "onnx", "--size", "10x64"], "files take sides of 32 and more; got '10x64'"),
        (["export", "x", "--to", "onnx", "--max-drop", "-1"], "--max-drop: expected mIoU points, 0 or more"),
        (["export", "x", "--to", "onnx", "--precision", "bf16"], "got bf16: --to openvino has bf16"),
        (["export", "x", "--to", "torch", "--precision", "fp16"], "--to onnx and --to openvino have fp16"),
        (["train", "affnet_folder", "--device", "tpu"], "choose from"),
        (["trane"], "did you mean 'train'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples_that_parse(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, verb, "--help")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    examples = [re.split(r"\s{2,}", line)[0] for line in lines if re.match(rf"featherseg {verb}\b", line)]
    assert examples
    parser, _ = open_verb(verb)
    for example in examples:
        assert parser.parse(shlex.split(example)[2:])


def test_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)


def test_a_checkpoint_with_other_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = folder_tree(tmp_path / "data"), tmp_path / "run"
    said(capsys, "train", "affnet_folder", f"data.root={data}", f"out={run}", *QUICK)
    (data / "classes.yaml").write_text("names: [background, cat, horse]\n")
    code, _, err = said(capsys, "val", str(run), "--root", str(data))
    assert code == 2
    assert "its classes are not the model's; expected background, cat, dog; got background, cat, horse" in err


def test_a_home_folder_in_out_is_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text(",".join(COLUMNS) + "\n")
    monkeypatch.setattr("featherseg.app.train.train", lambda asked: Path(asked.out).expanduser())
    assert main(["train", "affnet_folder", "data.root=D", "out=~/run", "--json"]) == 0
