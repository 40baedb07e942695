"""The bundled network reads the bundled picture rightly: what `make demo` promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_examples import import_example

from featherseg.app.cli import main
from featherseg.hub import load
from featherseg.metrics import Scores, confusion_matrix
from featherseg.runtime.weights import BUNDLED

PROMISED = 4  # classes with an IoU above one half


def test_the_demo_finds_its_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = BUNDLED / "affnet-camvid.onnx"
    assert main(["predict", str(BUNDLED / "street.jpg"), "--model", str(network), "--out", str(tmp_path)]) == 0
    overlay = Path(capsys.readouterr().out.splitlines()[-1])
    assert overlay == tmp_path / "street_overlay.png"
    assert Image.open(overlay).size == (640, 480)

    _, truth = import_example("render_street").render()
    mask = np.asarray(Image.open(tmp_path / "street_mask.png"))
    classes = load(network).classes
    scores = Scores(confusion_matrix(mask, truth, len(classes)), classes)
    found = [name for name, iou in zip(classes.names, scores.iou, strict=True) if iou > 0.5]
    assert len(found) >= PROMISED, found
    assert {"sky", "building", "road"} <= set(found)
