"""Scores over a data set: each picture is predicted once, as asked, and a network is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny_onnx import CLASSES, write_network
from trees import folder_tree

import featherseg
from featherseg.app.cli import main
from featherseg.data import SegData, open_data
from featherseg.evaluation import evaluate
from featherseg.evaluation.evaluate import Judged, predictor_of
from featherseg.evaluation.report import Worst
from featherseg.models import engine as engines
from featherseg.runtime import Artefact, OnnxEngine, Predictor

PICTURES = 7


class Colours:
    """An engine that scores each pixel's own colour, and remembers the sizes that it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.seen.append(image.shape[:2])
        return image.transpose(2, 0, 1).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = folder_tree(tmp_path / "data", train=1, val=PICTURES)
    (folder / "classes.yaml").write_text("names: [red, green, blue]\n")
    return folder


@pytest.fixture
def data(root: Path) -> SegData:
    return open_data(root, "folder", "val")


def test_every_picture_is_predicted_once_and_shown(data: SegData) -> None:
    engine, judged, done = Colours(), list[Judged](), list[int]()
    predictor = Predictor(engine, Artefact(classes=CLASSES, stride=1))
    scores = evaluate(
        predictor, data, size=(40, 56), progress=lambda count, total: done.append(count), observe=judged.append
    )
    assert engine.seen == [(40, 56)] * PICTURES
    assert done == [1, 2, 3, 4, 5, 6, 7]
    assert scores.miou > 0.9
    np.testing.assert_array_equal(sum(one.confusion for one in judged), scores.confusion)
    assert [one.sample.name for one in judged] == [data.read(index).name for index in range(PICTURES)]
    assert all(one.mask.shape == one.sample.mask.shape for one in judged)


def test_the_worst_pictures_are_kept(data: SegData) -> None:
    worst, shares = Worst(count=2), {}
    predictor = Predictor(lambda image: image.transpose(2, 0, 1)[::-1].astype(np.float32), Artefact(classes=CLASSES))

    def observe(judged: Judged) -> None:
        worst(judged)
        shares[judged.sample.name] = np.trace(judged.confusion) / judged.confusion.sum()

    evaluate(predictor, data, observe=observe)
    expected = sorted(shares.items(), key=lambda item: item[1])[:2]
    assert [(judged.sample.name, accuracy) for accuracy, judged in worst.pictures] == expected


def test_a_network_is_left_in_the_mode_that_it_was_in(data: SegData) -> None:
    network = featherseg.create_model("fast_scnn", num_classes=3).train()
    network.downsample.eval()  # a part that is kept frozen
    modes = [module.training for module in network.modules()]
    during: list[bool] = []
    evaluate(network, data, observe=lambda _: during.append(any(m.training for m in network.modules())))
    assert during == [False] * PICTURES
    assert [module.training for module in network.modules()] == modes

    def stop(_: Judged) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(network, data, observe=stop)
    assert [module.training for module in network.modules()] == modes


def test_a_network_stays_on_its_device_with_its_index(data: SegData, monkeypatch: pytest.MonkeyPatch) -> None:
    second = torch.device("cuda:1")
    assert engines.choose_device(second) == second
    asked: list[object] = []
    monkeypatch.setattr(engines.TorchEngine, "__init__", lambda self, *_, device: asked.append(device))
    monkeypatch.setattr(torch.nn.Parameter, "device", second, raising=False)
    predictor_of(featherseg.create_model("fast_scnn", num_classes=3), data)
    assert asked == [second]


def test_a_report_is_of_the_size_that_was_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network, seen, run = write_network(root.parent / "net.onnx"), list[tuple[int, ...]](), OnnxEngine.__call__

    def watched(self: OnnxEngine, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        seen.append(image.shape[:2])
        return run(self, image)

    monkeypatch.setattr(OnnxEngine, "__call__", watched)
    report = root.parent / "new" / "report"
    words = ["val", str(network), "--root", str(root), "--size", "40x56", "--report", str(report), "--json"]
    assert main(words) == 0
    assert seen == [(40, 56)] * PICTURES
    scores = json.loads(capsys.readouterr().out)
    assert json.loads((report / "scores.json").read_text())["miou"] == scores["miou"]
    assert sorted(path.name for path in report.glob("*.png")) == [f"worst-{place}.png" for place in range(1, 6)]
    assert (report / "report.md").read_text().count("% of the pixels right") == 5


@pytest.mark.parametrize("place", ["taken", "taken/inside"])
def test_a_report_that_cannot_be_written_is_refused_first(
    root: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(root.parent / "net.onnx")
    (root.parent / "taken").touch()
    monkeypatch.setattr("featherseg.app.val.evaluate", lambda *_, **__: pytest.fail("it has evaluated"))
    assert main(["val", str(network), "--root", str(root), "--report", str(root.parent / place)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"--report {root.parent / place}; expected a folder; got a file, {root.parent / 'taken'}" in err
