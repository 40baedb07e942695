"""Scores over a data set: each picture is predicted once, as asked, and a network is left as it was."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
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
from featherseg.evaluation import Bootstrap, detail, evaluate
from featherseg.evaluation.evaluate import Judged, predictor_of
from featherseg.evaluation.report import Worst, write_report
from featherseg.metrics import confusion_matrix
from featherseg.models import create_model
from featherseg.models import engine as engines
from featherseg.models.costs import count_macs
from featherseg.models.engine import TorchEngine
from featherseg.runtime import Artefact, Classes, InputRule, OnnxEngine, Predictor
from featherseg.runtime.errors import FeathersegError

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


def test_threads_read_and_judge_around_the_network_and_change_nothing(data: SegData) -> None:
    """The engine stays in the calling thread and sees the pictures in order; so do the observers."""
    here = threading.get_ident()
    elsewhere: list[bool] = []

    class Slow(Colours):
        def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            elsewhere.append(threading.get_ident() != here)
            time.sleep(0.01 * (len(self.seen) % 3))
            return super().__call__(image) + len(self.seen)

    engine, judged = Slow(), list[Judged]()
    predictor = Predictor(engine, Artefact(classes=CLASSES, stride=1))
    scores = evaluate(predictor, data, observe=lambda one: judged.append(one) or elsewhere.append(False))
    assert elsewhere == [False] * 2 * PICTURES
    expected = np.zeros((3, 3), np.int64)
    for index, one in enumerate(judged):
        sample = data.read(index)
        mask = Predictor(Colours(), predictor.artefact)(sample.image).mask
        np.testing.assert_array_equal(one.mask, mask)
        expected += confusion_matrix(mask, sample.mask, 3)
    np.testing.assert_array_equal(scores.confusion, expected)


def test_a_broken_picture_ends_it_when_its_turn_comes(data: SegData) -> None:
    broken = data.pairs[4].image
    broken.write_bytes(broken.read_bytes()[:300])
    judged, before = list[Judged](), threading.active_count()
    with pytest.raises(FeathersegError, match=broken.name):
        evaluate(Predictor(Colours(), Artefact(classes=CLASSES, stride=1)), data, observe=judged.append)
    assert [one.sample.name for one in judged] == [data.name_of(index) for index in range(len(judged))]
    assert len(judged) <= 4
    assert threading.active_count() == before


def test_the_worst_pictures_are_kept(data: SegData) -> None:
    worst, shares = Worst(count=2), {}
    predictor = Predictor(lambda image: image.transpose(2, 0, 1)[::-1].astype(np.float32), Artefact(classes=CLASSES))

    def observe(judged: Judged) -> None:
        worst(judged)
        shares[judged.sample.name] = np.trace(judged.confusion) / judged.confusion.sum()

    evaluate(predictor, data, observe=observe)
    expected = sorted(shares.items(), key=lambda item: item[1])[:2]
    assert [(judged.sample.name, accuracy) for accuracy, judged in worst.pictures] == expected


def test_several_observers_see_every_picture(data: SegData) -> None:
    first, second = list[Judged](), list[Judged]()
    evaluate(Predictor(Colours(), Artefact(classes=CLASSES, stride=1)), data, observe=[first.append, second.append])
    assert len(first) == PICTURES
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_every_measure_is_perfect_on_a_perfect_mask(data: SegData) -> None:
    class Truth:
        """Knows each picture's mask: ignored pixels are said to be the first class."""

        def __init__(self) -> None:
            self.masks = iter(data.read(index).mask for index in range(PICTURES))

        def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return np.eye(3, dtype=np.float32)[next(self.masks) % 255].transpose(2, 0, 1)

    measures = [*detail(data.classes), Bootstrap(data.classes, PICTURES, resamples=50)]
    scores = evaluate(Predictor(Truth(), Artefact(classes=CLASSES, stride=1)), data, size="own", observe=measures)
    assert scores.miou == 1
    value = {measure.name: json.loads(json.dumps(measure.to_json())) for measure in measures}
    assert value["boundary_iou"]["mean"] == value["boundary_f"]["mean"] == 1
    assert value["interior"]["error"] == 0
    assert {value["objects"][size]["iou"] for size in ("small", "medium", "large")} <= {1, None}
    assert {group["miou"] for group in value["groups"]["gamma"].values()} == {1}
    assert value["bootstrap"]["miou"] == [1, 1]


@pytest.mark.parametrize("measured", [False, True])
def test_memory_does_not_grow_with_the_pictures(data: SegData, measured: bool) -> None:
    """What is held when the last picture is done: the same after 28 pictures as after 7."""
    decoded = data.in_memory().decoded

    def held(pictures: int) -> int:
        many = replace(data, pairs=data.pairs * (pictures // PICTURES), decoded=decoded * (pictures // PICTURES))
        predictor = Predictor(lambda image: image.transpose(2, 0, 1).astype(np.float32), Artefact(classes=CLASSES))
        measures = [*detail(CLASSES), Bootstrap(CLASSES, pictures)] if measured else []
        at_the_end: list[int] = []

        def look(done: int, total: int) -> None:
            if done == total:
                gc.collect()
                at_the_end.append(tracemalloc.get_traced_memory()[0])

        tracemalloc.start()
        try:
            evaluate(predictor, many, progress=look, observe=measures)
        finally:
            tracemalloc.stop()
        return at_the_end[0]

    held(PICTURES)  # what is made once and kept
    assert held(28) - held(PICTURES) < 60_000  # 21 masks would be 145,000; free lists fill up


def test_classes_in_another_order_name_the_option_that_helps(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = write_network(root.parent / "net.onnx")
    (root / "classes.yaml").write_text("names: [blue, green, red, violet]\n")
    words = ["val", str(network), "--root", str(root)]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "expected red, green, blue; got blue, green, red, violet: choose" in err
    assert "--classes red,green,blue;" in err
    assert main([*words, "--classes", "red,green,blue", "--json"]) == 0
    swapped = json.loads(capsys.readouterr().out)
    assert list(swapped["iou"]) == ["red", "green", "blue"]

    (root / "classes.yaml").write_text("names: [red, green, violet]\n")
    assert main(words) == 2
    assert "score it on data that have its classes" in capsys.readouterr().err


def test_detail_is_in_text_json_and_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, report = write_network(root.parent / "net.onnx"), root.parent / "report"
    words = ["val", str(network), "--root", str(root), "--detail", "--bootstrap", "100", "--report", str(report)]
    assert main([*words, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    names = {"boundary_iou", "boundary_f", "interior", "objects", "groups", "bootstrap"}
    assert names <= value.keys()
    assert value["bootstrap"]["resamples"] == 100
    written = json.loads((report / "scores.json").read_text())
    assert all(written[name] == value[name] for name in names)

    assert main(words) == 0
    text = capsys.readouterr().out
    for line in ("boundary IoU (0.02 of the diagonal)", "gamma 0:", "over 100 resamples", "contour F", "invented"):
        assert line in text
        assert line in (report / "report.md").read_text()
    table = text[text.index("\n  class  ") + 1 :].splitlines()
    assert len({len(line) for line in table[:4]}) == 1


def test_views_and_tiles_are_asked_for_and_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = write_network(root.parent / "net.onnx")
    words = ["val", str(network), "--root", str(root)]
    views = ["--scales", "0.5,1", "--flip", "--tiles", "40x48", "--overlap", "0.5"]
    assert main([*words, *views, "--bootstrap", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["scales"], value["flip"], value["tiles"], value["overlap"]) == ([0.5, 1], True, [40, 48], 0.5)
    assert (value["size"], value["bootstrap"]["resamples"]) == ("own", 1000)
    assert value["miou"] > 0.7
    assert main([*words, *views]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == (
        "measured with: pictures at their own size; mean over scales 0.5, 1; mean with the mirror image; "
        "tiles of 40x48, overlap 0.5"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlap", "0.5"], "--overlap is that of tiles: add --tiles HxW"),
        (["--tiles", "41x48"], "multiples of the stride 8; got 41x48: take 40x48"),
        (["--tiles", "own"], "expected HEIGHTxWIDTH, as 512x512; got 'own'"),
        (["--scales", "1;2"], "expected factors with commas between"),
        (["--scales", "0"], "scales; expected one or more factors"),
        (["--classes", "red,,blue"], "expected names with commas between"),
        (["--classes", "red,lilac"], "lilac"),
        (["--bootstrap", "many"], "expected a number of resamples"),
        (["--bootstrap", "3"], "bootstrap: resamples; expected 20 to 1,000,000; got 3"),
        (["--bootstrap", "0"], "bootstrap: resamples; expected 20 to 1,000,000; got 0"),
    ],
)
def test_options_without_sense_are_refused_in_one_line(
    root: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    network = write_network(root.parent / "net.onnx")
    try:
        code: object = main(["val", str(network), "--root", str(root), *words])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_chart_is_left_out_without_matplotlib(data: SegData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherseg.evaluation.report.importlib.util.find_spec", lambda _: None)
    scores = evaluate(Predictor(Colours(), Artefact(classes=CLASSES, stride=1)), data)
    write_report(tmp_path, data, scores, Worst(), title="net")
    assert not (tmp_path / "classes.png").exists()
    assert "classes.png" not in (tmp_path / "report.md").read_text()


def test_scoring_an_exported_file_needs_neither_torch_nor_matplotlib() -> None:
    code = "import sys, featherseg.app.val, featherseg.evaluation; print({'torch', 'matplotlib'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_network_is_left_as_it_was_and_a_quicker_copy_scored(data: SegData) -> None:
    network = featherseg.create_model("affnet", num_classes=3, presence=True).train()
    network.downsample.eval()  # a part that is kept frozen
    modes = {name: module.training for name, module in network.named_modules()}
    weights = {name: x.clone() for name, x in network.state_dict().items()}
    scores = evaluate(network, data)
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert network.state_dict().keys() == weights.keys()
    assert all(torch.equal(x, weights[name]) for name, x in network.state_dict().items())
    quicker = predictor_of(network, data).engine
    assert isinstance(quicker, TorchEngine)
    assert count_macs(quicker.network, (64, 96)) < 0.7 * count_macs(network.deployed(), (64, 96))
    whole = Artefact(classes=data.classes, align_corners=network.align_corners, stride=network.stride)
    plain = evaluate(Predictor(TorchEngine(network, whole), whole), data)
    assert np.abs(scores.confusion - plain.confusion).sum() < 0.001 * scores.confusion.sum()


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
    pictures = sorted(path.name for path in report.glob("*.png"))
    assert pictures == ["classes.png", *(f"worst-{place}.png" for place in range(1, 6))]
    text = (report / "report.md").read_text()
    assert text.count("% of the pixels right") == 5
    assert "measured with: pictures at 40x56" in text


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


def test_a_loaded_network_sees_pictures_as_it_says_itself(tmp_path: Path) -> None:
    data = open_data(folder_tree(tmp_path), "folder", "val")
    network = create_model("fast_scnn", num_classes=3).eval()
    assert predictor_of(network, data).artefact.input_rule == InputRule()
    artefact = Artefact(classes=data.classes, input_rule=InputRule(size=(64, 64)))
    network.artefact = artefact  # as from_pretrained has it
    own = evaluate(Predictor(TorchEngine(network, artefact), artefact), data)
    assert predictor_of(network, data).artefact is artefact
    assert (evaluate(network, data).confusion == own.confusion).all()
    network.artefact = replace(artefact, classes=Classes(names=("dog", "cat", "background")))
    with pytest.raises(FeathersegError, match="its classes are not the model's"):
        evaluate(network, data)
