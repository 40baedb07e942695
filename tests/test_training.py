"""Training on a generated folder: it learns, resumes to the bit, refuses what cannot be, and says what it did."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from trees import folder_tree

import featherseg
from featherseg.app.cli import main
from featherseg.data.loading import Batch
from featherseg.metrics import Scores
from featherseg.models import create_model
from featherseg.models.checkpoint import save_checkpoint
from featherseg.recipes import RECIPES
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.training import Part, Run, loop, train, with_overrides
from featherseg.training.directory import alone_in, diverged
from featherseg.training.ema import EMA
from featherseg.training.fine_tuning import start_from
from featherseg.training.state import optimiser_tensors, read_state, restore_optimiser, states

QUICK = (
    "tensorboard=false",
    "batch_size=2",
    "augment.crop_size=64x64",
    "workers=0",
    "epochs=2",
    "val_every=1",
    "input_rule.size=own",
)


def quick_run(tmp_path: Path, *words: str) -> Run:
    if not (tmp_path / "data").exists():
        folder_tree(tmp_path / "data")
    keys = (f"data.root={tmp_path / 'data'}", f"out={tmp_path / 'run'}", *QUICK, *words)
    return with_overrides(RECIPES["affnet_folder"](), keys)


def test_learns_and_leaves_a_whole_run_directory(tmp_path: Path) -> None:
    folder = train(quick_run(tmp_path, "epochs=14", "val_every=7", "optim.lr=0.003", "ema=0.5", "tensorboard=true"))
    names = sorted(path.name for path in folder.iterdir())
    assert [name for name in names if not name.startswith("state")] == [
        ".lock", "best.safetensors", "curves.png", "last.safetensors", "metrics.csv", "run.json", "samples.png",
        "tensorboard",
    ]  # fmt: skip
    assert len(states(folder)) == 2
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 15))
    assert sum(float(row["loss"]) for row in rows[-3:]) / 3 < 0.6 * float(rows[0]["loss"])
    assert Image.open(folder / "samples.png").height == 2 * 1440 * 72 // (
        3 * 96
    )  # two rows of photo, truth, prediction
    assert list((folder / "tensorboard").glob("events.*"))
    assert [bool(row["val_miou"]) for row in rows] == [epoch in (7, 14) for epoch in range(1, 15)]
    assert float(rows[-1]["val_miou"]) > 0.5
    predictor = featherseg.load(folder)
    assert predictor.classes.names == ("background", "cat", "dog")
    data = featherseg.data.open_data(tmp_path / "data", "folder", "val")
    best = max(float(row["val_miou"]) for row in rows if row["val_miou"])
    assert featherseg.evaluate(predictor, data).miou == pytest.approx(best, abs=1e-5)
    card = predictor.artefact.card
    assert card["scores"]["val"]["miou"] == pytest.approx(best, abs=1e-5)
    assert Run.from_json(json.loads((folder / "run.json").read_text())["run"]) == replace(
        quick_run(tmp_path, "epochs=14", "val_every=7", "optim.lr=0.003", "ema=0.5", "tensorboard=true")
    )


class Killed(BaseException):
    """Stands for a kill between two steps."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    return train(quick_run(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("kill_at", [2, 3, 4])
def test_resumed_equals_uninterrupted_to_the_bit(
    tmp_path: Path, whole: Path, kill_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six pictures, batches of two: three steps an epoch; the kill falls inside, at the end of and after epoch 1."""
    original = loop.Training.step

    def killed(self: loop.Training, parts: list[Batch], rate: float) -> float:
        if self.progress.step == kill_at:
            raise Killed
        return original(self, parts, rate)

    run = replace(quick_run(tmp_path), out=str(tmp_path / "again"))
    monkeypatch.setattr(loop, "STATE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(loop.Training, "step", killed)
    with pytest.raises(Killed):
        train(run)
    monkeypatch.setattr(loop.Training, "step", original)
    again = train(run)
    for name in ("last.safetensors", "best.safetensors"):
        first, second = load_file(whole / name), load_file(again / name)
        assert all(torch.equal(first[key], second[key]) for key in first)
    strip = [[row[:-1] for row in csv.reader((path / "metrics.csv").open())] for path in (whole, again)]
    assert strip[0] == strip[1]


def test_a_damaged_newest_state_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick_run(tmp_path, "epochs=3")
    folder = train(replace(run, epochs=2))
    known = json.loads((folder / "run.json").read_text())
    known["run"]["epochs"] = 3  # as a run that was stopped after its second epoch
    (folder / "run.json").write_text(json.dumps(known))
    newest = states(folder)[-1]
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    train(run)
    said = capsys.readouterr().err
    assert f"{newest.name} cannot be read" in said
    assert [read_state(path)[0].step for path in states(folder)] == [6, 9]
    assert "resuming from step 3 (epoch 2)" in said


def test_a_finished_run_says_so_and_other_keys_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick_run(tmp_path, "epochs=1")
    folder = train(run)
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert train(run) == folder
    assert "finished" in capsys.readouterr().err
    with pytest.raises(FeathersegError, match=r"holds another run: seed.*expected seed=0; got seed=1"):
        train(replace(run, seed=1))
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_cannot_train_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match="normalises a 1x1 map, which needs two pictures"):
        train(quick_run(tmp_path, "batch_size=1"))
    with pytest.raises(FeathersegError, match="normalises a 1x1 map, which needs two pictures"):
        train(
            quick_run(
                tmp_path, "batch_size=1", "model=hybrid_fusion", "model.pretrained=none", "augment.crop_size=32x32"
            )
        )
    with pytest.raises(FeathersegError, match="seed; expected 0 to 9223372036854775807"):
        quick_run(tmp_path, f"seed={2**63}")
    with pytest.raises(FeathersegError, match="at most the training split's 6 pictures; got 8"):
        train(quick_run(tmp_path, "batch_size=8"))
    with pytest.raises(FeathersegError, match="no such folder"):
        train(quick_run(tmp_path, f"data.root={tmp_path / 'nowhere'}"))
    with pytest.raises(FeathersegError, match="expected 3 shares; got 2"):
        train(quick_run(tmp_path, "loss.frequencies=[0.5,0.5]"))
    with pytest.raises(FeathersegError, match=r"are the same pictures.*images/val"):
        train(quick_run(tmp_path, "data.train=val"))
    broken = tmp_path / "data" / "images" / "val" / "photo1.jpg"
    broken.write_bytes(broken.read_bytes()[:900])
    with pytest.raises(FeathersegError, match=r"photo1\.jpg"):
        train(quick_run(tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_else_is_refused_and_drafts_are_swept(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "epochs=1")
    folder = Path(run.out)
    folder.mkdir()
    (folder / ".0123456789abcdef.tmp").write_bytes(b"half")
    train(run)
    assert not list(folder.glob(".*.tmp"))
    (folder / "run.json").write_text('{"run": {"reci')
    with pytest.raises(FeathersegError, match=r"run\.json: no readable run"):
        train(run)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(FeathersegError, match="not empty and holds no run"):
        train(replace(run, out=str(tmp_path / "other")))
    with pytest.raises(FeathersegError, match="is a file"):
        train(replace(run, out=str(tmp_path / "other" / "thesis.txt")))


@pytest.mark.parametrize("damage", ["junk", "deleted"])
def test_a_run_without_a_readable_state_is_refused_and_keeps_its_results(tmp_path: Path, damage: str) -> None:
    run = quick_run(tmp_path, "epochs=1")
    folder = train(run)
    best = (folder / "best.safetensors").read_bytes()
    for path in states(folder):
        path.write_bytes(b"junk") if damage == "junk" else path.unlink()
    with pytest.raises(FeathersegError, match=r"results but no readable state.*use another out"):
        train(run)
    assert (folder / "best.safetensors").read_bytes() == best


def test_an_unreadable_picture_met_by_a_worker_is_one_line(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "data.cache=false", "workers=1", "loss=ce")
    broken = tmp_path / "data" / "images" / "train" / "photo3.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(FeathersegError, match=r"photo3\.jpg") as caught:
        train(run)
    assert "Traceback" not in str(caught.value)


def test_fine_tuning_keeps_classifier_rows_by_class_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(quick_run(tmp_path, "epochs=1"))
    folder_tree(tmp_path / "other")
    (tmp_path / "other" / "classes.yaml").write_text("names: [dog, background, cow, horse]\n")
    keys = (f"init={first}", f"data.root={tmp_path / 'other'}", f"out={tmp_path / 'tuned'}", *QUICK)
    run = with_overrides(RECIPES["affnet_folder"](), keys)
    training = loop.Training(run, Path(run.out), None)
    training.reporter.release()
    said = capsys.readouterr().err
    assert "kept by name: dog, background; new: cow, horse" in said
    old = load_file(first / "best.safetensors")
    new = training.network.state_dict()
    assert torch.equal(new["classifier.3.weight"][0], old["classifier.3.weight"][2])
    assert torch.equal(new["classifier.3.weight"][1], old["classifier.3.weight"][0])
    assert torch.equal(new["unit1.0.body.0.0.weight"], old["unit1.0.body.0.0.weight"])


def test_fine_tuning_with_as_many_classes_as_there_may_be(tmp_path: Path) -> None:
    classes = Classes(names=tuple(map(str, range(255))))
    network = create_model("affnet", num_classes=255)
    save_checkpoint(tmp_path / "net.safetensors", network.state_dict(), {"name": "affnet"}, Artefact(classes=classes))
    start = start_from(
        str(tmp_path / "net.safetensors"), create_model("affnet", num_classes=255), Part("affnet"), classes
    )
    assert not any("begun anew" in line for line in start.lines)


def test_resuming_needs_nothing_but_the_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(quick_run(tmp_path, "epochs=1"))
    run = replace(quick_run(tmp_path, f"init={first}", "loss=owfl_ce"), out=str(tmp_path / "tuned"))
    original = loop.Training.step

    def killed(self: loop.Training, parts: list[Batch], rate: float) -> float:
        if self.progress.step == 4:
            raise Killed
        return original(self, parts, rate)

    monkeypatch.setattr(loop.Training, "step", killed)
    with pytest.raises(Killed):
        train(run)
    monkeypatch.setattr(loop.Training, "step", original)
    first.rename(tmp_path / "gone")
    monkeypatch.setattr("featherseg.training.opening.class_frequencies", None)  # they are in run.json
    card = featherseg.load(train(run)).artefact.card
    assert card["started_from"]["name"] == "run"
    assert sum(card["data"]["class_frequencies"]) == pytest.approx(1)
    assert card["precision"] == "fp32"


@pytest.mark.parametrize("what", ["the classes", "the train split", "the teacher"])
def test_resuming_on_something_else_is_refused(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, teacher = tmp_path / "data", train(quick_run(tmp_path, "epochs=1")) / "best.safetensors"
    run = replace(quick_run(tmp_path, f"distill.teacher={teacher}"), out=str(tmp_path / "taught"))
    original = loop.Training.validate

    def killed(self: loop.Training, epoch: int, *, counts: bool) -> Scores | None:
        if epoch == 1:
            raise Killed
        return original(self, epoch, counts=counts)

    monkeypatch.setattr(loop.Training, "validate", killed)
    with pytest.raises(Killed):
        train(run)
    monkeypatch.setattr(loop.Training, "validate", original)
    if what == "the classes":
        (data / "classes.yaml").write_text("names: [background, dog, cat]\n")
    elif what == "the train split":
        for path in (data / "images" / "train" / "photo5.jpg", data / "masks" / "train" / "photo5.png"):
            path.unlink()
    else:
        teacher.write_bytes(
            train(replace(quick_run(tmp_path, "seed=1"), out=str(tmp_path / "other")))
            .joinpath("best.safetensors")
            .read_bytes()
        )
    with pytest.raises(FeathersegError, match=f"{what} changed since the run began; expected .*; got .*another out"):
        train(run)


def test_labels_are_needed_to_choose_and_to_learn_without_a_teacher(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "epochs=1", "loss=ce")
    teacher = train(run)
    classes = tmp_path / "data" / "classes.yaml"
    classes.write_text(classes.read_text() + "allow: [all-ignore]\n")

    def unlabel(split: str) -> None:
        for path in (tmp_path / "data" / "masks" / split).glob("*.png"):
            Image.new("L", (96, 72), 255).save(path)

    unlabel("train")
    for cache in ("true", "false"):
        words = (f"data.cache={cache}", f"out={tmp_path / cache}")
        with pytest.raises(FeathersegError, match="no pixel of the train split has a class"):
            train(with_overrides(run, words))
        assert not (tmp_path / cache).exists()
        card = featherseg.load(train(with_overrides(run, (*words, f"distill.teacher={teacher}")))).artefact.card
        assert card["teacher"] == {"name": "run", "miou": card["teacher"]["miou"]}
    unlabel("val")
    with pytest.raises(FeathersegError, match="no pixel of the val split has a class"):
        train(with_overrides(run, (f"distill.teacher={teacher}", f"out={tmp_path / 'blind'}")))
    assert not (tmp_path / "blind").exists()


def test_training_leaves_torchs_own_settings(tmp_path: Path) -> None:
    tuned = torch.backends.cudnn.benchmark
    for before in (True, False):
        torch.use_deterministic_algorithms(before, warn_only=before)
        try:
            train(quick_run(tmp_path, "epochs=1", f"deterministic={not before}", f"out={tmp_path / str(before)}"))
            assert torch.are_deterministic_algorithms_enabled() == before
            assert torch.is_deterministic_algorithms_warn_only_enabled() == before
            assert torch.backends.cudnn.benchmark == tuned
        finally:
            torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("word", ["batch_size=50", "init=nope", "loss=owfl_se", "distill.teacher=nope"])
def test_a_mistake_is_told_alone(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_tree(tmp_path / "data")
    out = tmp_path / "run"
    assert main(["train", "affnet_folder", f"data.root={tmp_path / 'data'}", f"out={out}", *QUICK, word]) == 2
    said = capsys.readouterr().err
    assert said.startswith("featherseg train: ")
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_run_without_a_directory_goes_to_that_of_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = replace(quick_run(tmp_path, "epochs=1"), out="")
    monkeypatch.chdir(tmp_path)
    assert train(run) == Path("runs/affnet_folder")
    assert (tmp_path / "runs/affnet_folder/best.safetensors").is_file()


def test_what_a_checkpoint_cannot_give_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(quick_run(tmp_path, "epochs=1"))
    capsys.readouterr()
    words = (f"init={first}", "preprocessing.mean=0,0,0", "preprocessing.std=1,1,1", "model.presence=true")
    run = replace(quick_run(tmp_path, *words), out=str(tmp_path / "other"))
    loop.Training(run, tmp_path / "other", None).reporter.release()
    said = capsys.readouterr().err
    assert "begun anew: presence" in said
    assert "to keep them: preprocessing.mean=0.485,0.456,0.406 preprocessing.std=0.229" in said


def test_two_trainings_in_one_directory_are_refused(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "epochs=1")
    with alone_in(Path(run.out)), pytest.raises(FeathersegError, match="another process trains in it"):
        train(run)
    train(run)


def test_a_metrics_file_of_another_program_is_refused_by_name(tmp_path: Path) -> None:
    run = quick_run(tmp_path)
    folder = train(run)
    path = folder / "metrics.csv"
    written = path.read_text()
    states(folder)[-1].unlink()  # the run stands at its first epoch again
    for other in (written.replace(",", ";"), "", written + "3,"):
        path.write_text(other)
        with pytest.raises(FeathersegError, match=r"metrics\.csv: not as training wrote it.*put it back, or delete it"):
            train(run)
    path.unlink()
    train(run)
    assert [row["epoch"] for row in csv.DictReader(path.open())] == ["2"]


def test_a_run_that_left_all_bounds_says_what_helps(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "ema=0")
    training = loop.Training(run, Path(run.out), None)
    next(training.network.parameters()).data.fill_(float("nan"))
    with pytest.raises(FeathersegError, match=r"not finite after epoch 1: start anew .* a lower optim.lr$"):
        training.validate(0, counts=True)
    (tmp_path / "last.safetensors").touch()
    said = str(diverged("the loss is nan", replace(run, precision="bf16"), tmp_path))
    assert said.endswith(
        f"lower optim.lr or precision=fp32; its last weights serve by init={tmp_path / 'last.safetensors'}"
    )


def test_restored_moments_lie_in_memory_as_their_weights() -> None:
    def optimiser() -> torch.optim.AdamW:
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
        layer(torch.ones(1, 4, 8, 8)).sum().backward()
        return torch.optim.AdamW([{"params": [layer.weight]}, {"params": [layer.bias]}])

    first, second = optimiser(), optimiser()
    first.step()
    stored = {name: value.contiguous() for name, value in optimiser_tensors(first).items()}
    restore_optimiser(second, stored)
    for (_, before), (weight, after) in zip(first.state.items(), second.state.items(), strict=True):
        assert torch.equal(before["exp_avg"], after["exp_avg"])
        assert after["exp_avg"].stride() == after["exp_avg_sq"].stride() == weight.stride()
        assert after["step"] == 1


def test_where_the_system_has_no_locks_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with alone_in(tmp_path / "run"):
        pass


def test_what_another_process_trained_meanwhile_is_not_trained_again(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "epochs=1")
    late = loop.Training(run, Path(run.out), None)
    train(run)
    before = (Path(run.out) / "metrics.csv").read_bytes()
    with pytest.raises(FeathersegError, match=r"another process has trained in it.*start it again"):
        late.fit()
    assert (Path(run.out) / "metrics.csv").read_bytes() == before


def test_bars_are_never_trained_as_a_class_that_is_no_background(tmp_path: Path) -> None:
    train(quick_run(tmp_path, "epochs=1", "augment.pad_label=0"))
    with pytest.raises(FeathersegError, match=r"pad_label=0.*is cat here.*pad_label=-1"):
        train(replace(quick_run(tmp_path, "data.classes=cat,dog", "augment.pad_label=0"), out=str(tmp_path / "b")))


def test_a_picture_in_both_splits_is_refused_and_one_that_looks_so_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick_run(tmp_path, "epochs=1")
    images, masks = (tmp_path / "data" / kind for kind in ("images", "masks"))
    (masks / "val" / "again.png").write_bytes((masks / "train" / "photo0.png").read_bytes())
    Image.open(images / "train" / "photo0.jpg").save(images / "val" / "again.jpg", quality=80)
    train(run)
    assert "again.jpg: the train split has the same picture, encoded anew" in capsys.readouterr().err
    (images / "val" / "again.jpg").write_bytes((images / "train" / "photo0.jpg").read_bytes())
    with pytest.raises(FeathersegError, match=r"again\.jpg: the train split has the same picture: .*photo0\.jpg"):
        train(replace(run, out=str(tmp_path / "second")))


def test_classifiers_are_known_by_growing_with_the_classes(tmp_path: Path) -> None:
    """As many classes as a layer has channels, in another order, and nine rows per class (DAP)."""
    names = tuple(f"c{index}" for index in range(128))
    turned = names[1:] + names[:1]
    torch.manual_seed(0)
    old = create_model("caspp_deeplab", num_classes=128)
    artefact = Artefact(classes=Classes(names=names), stride=4)
    save_checkpoint(tmp_path / "old.safetensors", old.state_dict(), {"name": "caspp_deeplab"}, artefact)
    new = create_model("caspp_deeplab", num_classes=128)
    start_from(str(tmp_path / "old.safetensors"), new, Part("caspp_deeplab"), Classes(names=turned))
    before, after = old.state_dict(), new.state_dict()
    grown = {"decoder.classifier.weight", "decoder.classifier.bias", *(k for k in before if "aux_heads" in k)}
    for name, value in before.items():
        rows = value.reshape(128, -1).roll(-1, 0).view_as(value) if name in grown else value
        assert torch.equal(after[name], rows), name


@pytest.mark.parametrize("name", ["enet", "erfnet"])
def test_a_classifier_may_be_a_transposed_convolution(tmp_path: Path, name: str) -> None:
    """Its tensors have the classes as their second axis; four of them are as many as a square layer's channels."""
    torch.manual_seed(0)
    old = create_model(name, num_classes=4)
    artefact = Artefact(classes=Classes(names=("a", "b", "c", "d")), stride=1)
    save_checkpoint(tmp_path / "old.safetensors", old.state_dict(), {"name": name}, artefact)
    larger = create_model(name, num_classes=5).state_dict()
    weight = next(key for key, value in old.state_dict().items() if value.shape[1:2] != larger[key].shape[1:2])
    for names, places in ((("d", "a", "c", "b"), (3, 0, 2, 1)), (("b", "x", "a", "c", "d"), (1, None, 0, 2, 3))):
        new = create_model(name, num_classes=len(names))
        fresh = {key: value.clone() for key, value in new.state_dict().items()}
        start = start_from(str(tmp_path / "old.safetensors"), new, Part(name), Classes(names=names))
        assert start.lines[0].endswith(f"{len(fresh)} of {len(fresh)} tensors taken")
        for index, place in enumerate(places):
            wanted = fresh[weight][:, index] if place is None else old.state_dict()[weight][:, place]
            assert torch.equal(new.state_dict()[weight][:, index], wanted)


def test_ema_is_the_running_average() -> None:
    network = torch.nn.BatchNorm1d(2)
    ema = EMA(network, 0.5)
    expected = network.weight.detach().clone()
    for value in (2.0, 5.0, -1.0):
        torch.nn.init.constant_(network.weight, value)
        network.num_batches_tracked += 1
        keep = min(0.5, (1 + ema.updates) / (10 + ema.updates))
        ema.update(network)
        expected = keep * expected + (1 - keep) * value
    assert torch.allclose(ema.weights["weight"], expected)
    assert int(ema.weights["num_batches_tracked"]) == 3


@pytest.mark.slow
def test_killed_processes_resume_to_the_same_bits(tmp_path: Path) -> None:
    """The command itself, ended by SIGKILL three times."""
    folder_tree(tmp_path / "data")
    base = [sys.executable, "-m", "featherseg.app.cli", "train", "affnet_folder", f"data.root={tmp_path / 'data'}"]
    keys = [*QUICK, "epochs=6"]
    subprocess.run([*base, f"out={tmp_path / 'whole'}", *keys], check=True, capture_output=True)
    for kill in range(3):  # each one soon after the state that follows the one it began with
        child = subprocess.Popen([*base, f"out={tmp_path / 'again'}", *keys], stderr=subprocess.DEVNULL)
        while len(steps_saved(tmp_path / "again")) == 0 or steps_saved(tmp_path / "again")[-1] < 3 * (kill + 1):
            assert child.poll() is None, "ended before it was killed"
            time.sleep(0.01)
        time.sleep(0.1 * kill)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    last = subprocess.run([*base, f"out={tmp_path / 'again'}", *keys], check=True, capture_output=True, text=True)
    assert "resuming from step" in last.stderr
    first, second = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "again"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def steps_saved(folder: Path) -> list[int]:
    return [int(path.stem.removeprefix("state-")) for path in states(folder)]
