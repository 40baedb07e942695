"""``featherseg publish``: a small file scored as it lies there, its card and picture; seeds; what is refused."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from trees import folder_tree

import featherseg
from featherseg.app import publish, published
from featherseg.app.cli import main
from featherseg.app.publish_place import Place
from featherseg.app.published import command, start
from featherseg.data import Sample
from featherseg.evaluation import Judged
from featherseg.evaluation.sheet import LIMIT, sheet_of, spread
from featherseg.export import weights as export_weights
from featherseg.export.card import MARK, PUBLISHED, is_foreign, write_card
from featherseg.export.exporter import TARGETS, require_path
from featherseg.export.published import published_text
from featherseg.models import create_model
from featherseg.models.checkpoint import read_checkpoint, save_checkpoint
from featherseg.recipes import RECIPES
from featherseg.runtime import weights
from featherseg.runtime.card import portable, shippable
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.training import Part, Run, train, with_overrides
from featherseg.training.fine_tuning import start_from
from featherseg.training.words import words_between

QUICK = (
    "tensorboard=false", "samples=0", "batch_size=2", "augment.crop_size=64x64", "workers=0", "epochs=1",
    "input_rule.size=own", "model.fusion=ewa",
)  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a user stands in: photos, and the run directory runs/0, trained for one epoch."""
    root = tmp_path_factory.mktemp("felix-home")
    folder_tree(root / "photos", val=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train(run_of_seed(0))
    return root


@pytest.fixture(autouse=True)
def inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test stands in that folder."""
    monkeypatch.chdir(trained)


def run_of_seed(seed: int) -> Run:
    return with_overrides(RECIPES["affnet_folder"](), ("data.root=photos", f"out=runs/{seed}", f"seed={seed}", *QUICK))


def seeded(root: Path, seed: int, miou: float, **changes: object) -> Path:
    """A copy of runs/0 as another seed would have left it, with this score on val."""
    folder = root / "runs" / f"{seed}-{miou}-{'-'.join(changes)}"
    if folder.exists():
        return folder
    shutil.copytree(root / "runs" / "0", folder)
    known = json.loads((folder / "run.json").read_text())
    known["run"] |= {"seed": seed, "out": str(folder), **changes}
    (folder / "run.json").write_text(json.dumps(known))
    tensors, model, artefact = read_checkpoint(folder / "best.safetensors")
    card = {**artefact.card, "seed": seed}
    card["scores"] = {"val": {**card["scores"]["val"], "miou": miou}}
    save_checkpoint(folder / "best.safetensors", tensors, model, replace(artefact, card=card))
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = main(["publish", *words, "--device", "cpu"])
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def full(*_: object) -> int:
    raise FeathersegError("disk full")


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting multiplications takes longer than all else here; one test does."""
    known = {"params": 1, "macs": 1, "input_size": [72, 96]}
    monkeypatch.setattr(published, "costs", lambda *_: known)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of one epoch is near chance, where int8 may cost anything."""
    monkeypatch.setattr(export_weights, "MAX_COST", 100.0)


@pytest.mark.usefixtures("free")
def test_the_file_scores_what_its_card_says(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "weights"
    code, text, err = said(capsys, "runs/0", "--out", str(out), "--json", "--baseline", "runs/0")
    assert (code, err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == [
        "affnet-folder.jpg", "affnet-folder.md", "affnet-folder.safetensors",
    ]  # fmt: skip
    path = out / "affnet-folder.safetensors"
    predictor = featherseg.load(path, device="cpu")
    card = predictor.artefact.card
    assert json.loads(text)["card"] == shippable(card) == card

    data = featherseg.data.open_data("photos", "folder", "val")
    scores = featherseg.evaluate(predictor, data)
    measured = card["scores"]["val"]
    assert measured["miou"] == pytest.approx(scores.miou, abs=1e-6)
    assert measured["pictures"] == 4
    assert {name: value["iou"] for name, value in measured["per_class"].items()} == measured["iou"]
    assert measured["interval"][0] <= measured["miou"] <= measured["interval"][1]
    assert (card["storage"], card["bytes"]) == ("int8", path.stat().st_size)
    assert card["bytes"] < 0.35 * (trained / "runs/0/best.safetensors").stat().st_size
    before = json.loads(text)["network_miou"]
    assert card["storage_costs"] == {"int8": pytest.approx(100 * (before - measured["miou"]), abs=1e-3)}

    network = create_model("affnet", num_classes=3, fusion="ewa")
    assert card["params"] == sum(parameter.numel() for parameter in network.deployed().parameters())
    assert card["input_size"] == [72, 96]
    assert card["macs"] > 0
    assert (card["paper"], card["start"], card["seed"], card["epochs"]) == ("004", "random", 0, "1 of 1")
    assert (card["epochs_asked"], card["epochs_done"], card["epoch"]) == (1, 1, 1)
    assert card["data"]["terms"] == "not stated"
    assert card["threads"] == torch.get_num_threads()
    assert card["seeds"] == {
        "runs": [{"seed": 0, "miou": card["network_scores"]["val"]["miou"], "epochs_done": 1}],
        "mean": card["network_scores"]["val"]["miou"],
        "std": None,
    }
    assert card["spread"]["of"] == "pictures"
    assert card["spread"]["interval"] == measured["interval"]

    words = shlex.split(card["command"])
    assert words[:3] == ["featherseg", "train", "affnet_folder"]
    again = with_overrides(RECIPES["affnet_folder"](), words[3:])
    assert replace(again, out="runs/0", workers=0) == run_of_seed(0)

    monkeypatch.setattr(weights, "folders", lambda: [out])
    main(["models", "--json"])
    listed = {item["name"]: item["weights"] for item in json.loads(capsys.readouterr().out)}
    assert listed["affnet"] == [{"name": "affnet-folder", "data": "folder", "miou": measured["miou"]}]
    assert featherseg.load("affnet-folder", device="cpu").artefact.card == card
    started = start_from("affnet-folder", network, Part("affnet", {"fusion": "ewa"}), predictor.classes)
    assert re.search(r"(\d+) of \1 tensors taken", started.lines[0])


@pytest.mark.usefixtures("free", "uncounted")
def test_the_card_for_people_and_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = said(capsys, "runs/0", "--out", str(tmp_path), "--name", "mine-1.0", "--baseline", "runs/0")
    assert code == 0
    assert text.splitlines()[-1] == str(tmp_path / "mine-1.0.safetensors")
    assert "mIoU on val" in text
    card = (tmp_path / "mine-1.0.md").read_text()
    score = featherseg.load(tmp_path / "mine-1.0.safetensors", device="cpu").artefact.card["scores"]["val"]["miou"]
    assert f"| mIoU on folder val | {100 * score:.2f} % (" in card
    assert "(mine-1.0.jpg)" in card
    assert "    featherseg train affnet_folder " in card
    assert "the interval over the pictures stands as the spread" in card
    assert "| cat | " in card
    assert len(card.splitlines()) < 50
    picture = Image.open(tmp_path / "mine-1.0.jpg")
    assert (picture.format, picture.width) == ("JPEG", 4 * 240 + 3 * 4)
    assert (tmp_path / "mine-1.0.jpg").stat().st_size <= LIMIT


@pytest.mark.usefixtures("free", "uncounted")
def test_nothing_tells_of_the_machine(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's folders lie below a folder with a user's name, and are given whole."""
    folder = seeded(
        trained, 3, 0.4, data={**run_of_seed(0).to_json()["data"], "root": str(trained / "photos")},
        init=str(trained / "runs" / "first" / "best.safetensors"),
    )  # fmt: skip
    code, _, _ = said(capsys, str(folder), "--out", str(tmp_path), "--name", "n")
    assert code == 0
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"felix" not in content
    assert str(trained).encode() not in content
    card = featherseg.load(tmp_path / "n.safetensors", device="cpu").artefact.card
    assert card["start"] == "first"
    assert "data.root=photos" in card["command"]
    assert "init=best.safetensors" in card["command"]


@pytest.mark.usefixtures("free", "uncounted")
def test_of_several_seeds_the_best_is_shipped_with_the_spread(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [seeded(trained, seed, miou) for seed, miou in ((1, 0.5), (2, 0.56), (3, 0.53))]
    code, text, err = said(
        capsys, *map(str, runs), "--out", str(tmp_path), "--name", "0", "--baseline", "runs/0", "--json"
    )
    assert (code, err) == (0, "")
    card = json.loads(text)["card"]
    assert card["seed"] == 2
    assert "seed=2" in card["command"]
    assert [(run["seed"], run["miou"]) for run in card["seeds"]["runs"]] == [(1, 0.5), (2, 0.56), (3, 0.53)]
    assert (card["seeds"]["mean"], card["seeds"]["std"]) == (0.53, 0.03)
    assert card["picture"]["columns"] == ["photo", "truth", "0, baseline", "0"]
    assert card["spread"] == {"of": "seeds", "what": "sample standard deviation of val mIoU", "std": 0.03}
    assert "53.00 ± 3.00 % on val" in (tmp_path / "0.md").read_text()


@pytest.mark.usefixtures("free", "uncounted")
@pytest.mark.parametrize("card_only", [False, True])
def test_seeds_published_before_count_with_the_runs(
    card_only: bool,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two, three = (str(seeded(trained, seed, miou)) for seed, miou in ((1, 0.5), (2, 0.56), (3, 0.53)))
    file = tmp_path / f"0{'.json' if card_only else '.safetensors'}"
    code, _, _ = said(capsys, one, "--out", str(tmp_path), "--name", "0", *(("--card-only",) if card_only else ()))
    assert code == 0
    code, text, err = said(capsys, str(file), two, "--json")  # the run is the better one
    assert (code, err) == (0, "")
    card = json.loads(text)["card"]
    assert (card["name"], card["seed"]) == ("0", 2)
    assert [(run["seed"], run["miou"]) for run in card["seeds"]["runs"]] == [(1, 0.5), (2, 0.56)]

    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stored = None if card_only else load_file(file)
    with monkeypatch.context() as patch:  # a full disk: nothing has changed
        patch.setattr(Place, "write_text", full)
        assert said(capsys, three, str(file))[0] == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    code, text, err = said(capsys, three, str(file), "--json", "--storage", "fp16", "--split", "val")  # the file is
    assert (code, err) == (0, f"{file} is the best, and stays: --storage, --split changed nothing\n")
    after = json.loads(text)["card"]
    assert (after["seed"], after["scores"], after["command"]) == (2, card["scores"], card["command"])
    assert [run["seed"] for run in after["seeds"]["runs"]] == [1, 2, 3]
    assert (after["seeds"]["mean"], after["spread"]["std"]) == (0.53, 0.03)
    assert "53.00 ± 3.00 % on val" in (tmp_path / "0.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == before.keys()
    assert (tmp_path / "0.jpg").read_bytes() == before["0.jpg"]
    if stored is None:
        assert json.loads(file.read_text()) == after
    else:
        assert read_checkpoint(file)[2].card == after
        assert after["bytes"] == file.stat().st_size
        assert load_file(file).keys() == stored.keys()
        assert all(torch.equal(value, stored[name]) for name, value in load_file(file).items())


@pytest.mark.usefixtures("free", "uncounted")
def test_seeds_published_before_that_do_not_fit_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "0.json"
    assert said(capsys, "runs/0", "--out", str(tmp_path), "--name", "0", "--card-only")[0] == 0
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "torn.json").write_text("{")
    shutil.copy(file, tmp_path / "renamed.json")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = seeded(trained, 4, 0.3, batch_size=3)
    one, elsewhere = seeded(trained, 1, 0.5), seeded(trained, 5, 0.9)
    tensors, model, artefact = read_checkpoint(elsewhere / "best.safetensors")
    data = {**artefact.card["data"], "train": "train, 9 pictures", "class_frequencies": [0.2, 0.3, 0.5]}
    changed = replace(artefact, card={**artefact.card, "data": data})
    save_checkpoint(elsewhere / "best.safetensors", tensors, model, changed)
    for words, message in (
        (["runs/0", str(file)], f"runs/0; expected another seed than {file} tells of; got seed 0"),
        ([str(other), str(file)], f"{file} is of another recipe than {other}; expected the same but for the seed; got "
         "other batch_size"),
        ([str(file)], "RUN; expected run directories, and at most one file"),
        ([str(one), str(file), str(file)], "RUN; expected run directories, and at most one file"),
        ([str(one), str(file), "--name", "1"], "would go on telling of other seeds of this recipe alone"),
        ([str(one), str(tmp_path / "list.json")], "list.json: not written by featherseg publish"),
        ([str(one), str(tmp_path / "torn.json")], "torn.json: not written by featherseg publish"),
        ([str(one), str(tmp_path / "renamed.json")], "renamed.json: not written by featherseg publish under that name"),
        ([str(elsewhere), str(file)], f"{file} is of another recipe than {elsewhere}; expected the same but for the "
         "seed; got other data (train), data (class_frequencies)"),
        ([str(one), str(other / "best.safetensors")], "best.safetensors: not written by featherseg publish"),
    ):  # fmt: skip
        code, out, err = said(capsys, *words)
        assert (code, out) == (2, "")
        assert message in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("uncounted")
def test_card_only_writes_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # and may be written again
        code, text, _ = said(capsys, "runs/0", "--out", str(tmp_path), "--card-only", "--json")
        assert code == 0
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jpg", ".json", ".md"]
    card = json.loads((tmp_path / "affnet-folder.json").read_text())
    assert card == json.loads(text)["card"]
    assert (card["storage"], card["bytes"]) == (None, None)
    assert card["scores"]["val"]["miou"] == pytest.approx(card["network_scores"]["val"]["miou"], abs=1e-5)
    assert "the weights are not shipped" in (tmp_path / "affnet-folder.md").read_text()


@pytest.mark.usefixtures("uncounted")
def test_auto_takes_fp16_where_int8_costs_too_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "affnet-folder.safetensors"
    target.write_bytes(b"earlier")
    monkeypatch.setattr(export_weights, "MAX_COST", -1000.0)
    code, _, err = said(capsys, "runs/0", "--out", str(tmp_path), "--storage", "int8")
    assert code == 2
    assert re.search(r"--storage int8; expected at most .* points lost; got .*: .*take --storage fp16 or auto", err)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(target.name, b"earlier")]
    code, text, _ = said(capsys, "runs/0", "--out", str(tmp_path), "--json")
    card = json.loads(text)["card"]
    assert (code, card["storage"], list(card["storage_costs"])) == (0, "fp16", ["int8", "fp16"])
    assert card["bytes"] == target.stat().st_size


@pytest.mark.usefixtures("free", "uncounted")
def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "write_final", full)
    code, _, err = said(capsys, "runs/0", "--out", str(tmp_path))
    assert (code, err) == (2, "featherseg publish: disk full\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("free", "uncounted")
def test_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    def push(path: Path, repo_id: str) -> str:
        sent.append((path, repo_id, path.is_file()))
        return f"https://hub/{repo_id}"

    monkeypatch.setattr(publish, "push_to_hub", push)
    monkeypatch.setattr(publish, "require_package", lambda _: None)
    code, text, _ = said(capsys, "runs/0", "--out", str(tmp_path), "--hub", "me/net")
    assert (code, text.splitlines()[-1]) == (0, "https://hub/me/net")
    assert sent == [(tmp_path / "affnet-folder.safetensors", "me/net", True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere; expected a run directory (run.json, best.safetensors); got no such folder"),
        (["photos"], "photos; expected a run directory"),
        (["runs/0", "--name", "a/b"], "--name; expected letters, digits"),
        (["runs/0", "--name", ".a"], "--name; expected letters, digits"),
        (["runs/0", "--storage", "int4"], "choose from"),
        (["runs/0", "--data", "folder"], "--data is the layout of --root"),
        (["runs/0", "--root", "nowhere"], "nowhere: there is no such folder"),
        (["runs/0", "--split", "test"], "test"),
        (["runs/0", "--baseline", "nothing-such"], "nothing-such"),
        (["runs/0", "--baseline", "affnet-camvid"], "--baseline affnet-camvid; expected a network with the classes"),
        (["runs/0", "--hub", "net"], "--hub; expected ORG/NAME; got 'net'"),
        (["runs/0", "--hub", "a/b", "--card-only"], "--card-only writes none"),
        (["runs/0", "runs/0"], "expected another seed than that of the others; got seed 0, as runs/0"),
        (["runs/0", "--out", "photos/classes.yaml"], "expected a folder; got a file"),
        ([], "RUN"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    trained: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not (trained / "weights").exists()


def test_other_recipes_are_refused_by_their_keys(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = seeded(trained, 1, 0.3, loss={"name": "focal"}, batch_size=3)
    code, _, err = said(capsys, "runs/0", str(other))
    assert code == 2
    assert (
        "another recipe than runs/0; expected runs that differ in the seed alone; got other loss.name, batch_size"
        in err
    )


def test_what_publish_did_not_write_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix, words in ((".md", ()), (".jpg", ()), (".json", ("--card-only",))):
        foreign = tmp_path / f"affnet-folder{suffix}"
        foreign.write_text("mine")
        code, _, err = said(capsys, "runs/0", "--out", str(tmp_path), *words)
        assert code == 2
        assert f"{foreign}: would be written over" in err
        assert foreign.read_text() == "mine"
        foreign.unlink()
    code, _, err = said(capsys, "runs/0", "--out", "runs/0", "--name", "best")
    assert code == 2
    assert "best.safetensors: would be written over" in err
    (tmp_path / "affnet-folder.safetensors").touch()
    code, _, err = said(capsys, "runs/0", "--out", str(tmp_path), "--card-only")
    assert code == 2
    assert "affnet-folder would be published both with its weights and without: remove that file first" in err


def test_the_card_of_an_exported_file_tells_the_paper_and_the_versions(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.touch()
    machine = {"cpu": "a processor", "cores": 2, "python": "3.11.7", "versions": {"torch": "2.15.0"}}
    network = {"model": {"name": "affnet"}, "paper": "004", "title": "AFFNet", "params": 1234}
    write_card(file, {**network, "machine": machine})
    said = (tmp_path / "net.md").read_text()
    assert "- network: affnet (paper 004, AFFNet)\n" in said
    assert "- size: 1,234 parameters\n" in said
    assert "- versions: Python 3.11.7, torch 2.15.0\n" in said


def test_an_export_beside_published_weights_has_a_card_of_its_own(tmp_path: Path) -> None:
    card, file = tmp_path / "net.md", tmp_path / "net.onnx"
    card.write_text(f"{PUBLISHED}\n# net\n")
    file.touch()
    assert not is_foreign(card)
    export = {"bias": {"road": 1.0}, "equal_pixels": 0.5, "agrees": False}
    for _ in range(2):  # one is replaced by the next
        write_card(file, {"export": export})
        assert card.read_text() == f"{PUBLISHED}\n# net\n"
        said = (tmp_path / "net.onnx.md").read_text()
        assert said.startswith(MARK)
        assert "bias: road +1" in said
        assert "DOES NOT AGREE" in said
    (tmp_path / "net.onnx.md").write_text("mine")
    with pytest.raises(FeathersegError, match=r"net\.onnx\.md: would be replaced"):
        require_path(file, TARGETS["onnx"])


@pytest.mark.parametrize(
    ("teacher", "kept"),
    [("/x/weights/big.safetensors", "big.safetensors"), ("ORG/big", "ORG/big"), ("runs/big", "runs/big")],
)
def test_a_teacher_leaves_the_machine_without_its_path(teacher: str, kept: str) -> None:
    card = {"run": {"distill": {"teacher": teacher, "weight": 1.0}}}
    assert shippable(card) == {"run": {"distill": {"teacher": kept, "weight": 1.0}}}


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("data/camvid", "data/camvid"),
        ("camvid", "camvid"),
        ("/data/felix/camvid", "camvid"),
        ("~/camvid", "camvid"),
        ("../felix/camvid", "camvid"),
        ("C:\\felix\\camvid", "camvid"),
        ("C:camvid", "camvid"),
    ],
)
def test_paths_are_told_as_given_or_by_their_last_part(path: str, kept: str) -> None:
    assert portable(path) == kept


def test_what_a_training_began_with() -> None:
    run = RECIPES["deeplabv3plus_camvid"]()
    assert start(replace(run, model=Part("deeplabv3plus", {"pretrained": "imagenet"}))) == "imagenet"
    assert start(replace(run, model=Part("deeplabv3plus", {"pretrained": "/x/mobile.pth"}))) == "mobile.pth"
    assert start(replace(run, model=Part("deeplabv3plus"))) == "random"
    assert start(replace(run, init="runs/a/")) == "a"
    assert start(replace(run, init="/x/net.safetensors")) == "net.safetensors"
    assert command(replace(run, recipe="of-old")) is None


RUNS = ("affnet_camvid", "dsc_deeplab_voc", "fe_deeplab_voc_2021", "caspp_deeplab_cityscapes", "spssnet_camvid")


@pytest.mark.parametrize("recipe", RUNS)
def test_words_between_two_runs_lead_from_one_to_the_other(recipe: str) -> None:
    first = RECIPES[recipe]()
    for other in RUNS:
        second = RECIPES[other]()
        words = [f"{key}={value}" for key, value in words_between(first, second)]
        there = replace(with_overrides(first, words), recipe=other, workers=second.workers)
        assert not words_between(second, there)
        assert (there.augment, there.freeze, there.data, there.epochs) == (
            second.augment, second.freeze, second.data, second.epochs,
        )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["epochs=20"],
        ["epochs=20", "freeze.epochs=3"],
        ["model.attention=se", "model=dsc_deeplab", "loss=wcel", "loss.c=1.2", "loss.class_weights=1,2,3"],
        ["optim=adam", "optim.betas=0.8,0.99", "schedule=cos", "deterministic=true", "input_rule.size=own"],
        ["data.classes=cat,dog", "data.root=my photos", "augment.scale=1,2", "preprocessing.mean=0,0,0"],
    ],
)
def test_words_are_found_again(words: list[str]) -> None:
    recipe = RECIPES["dsc_deeplab_voc"]()
    run = with_overrides(recipe, words)
    found = [f"{key}={value}" for key, value in words_between(recipe, run)]
    assert with_overrides(recipe, found) == run


def test_a_sheet_of_pictures_that_jpeg_cannot_shrink_stays_small() -> None:
    rng = np.random.default_rng(0)
    classes = Classes(names=("a", "b"))
    judged = []
    for size in ((400, 300), (90, 500), (40, 30)):
        mask = rng.integers(0, 2, size).astype(np.uint8)
        sample = Sample(rng.integers(0, 256, (*size, 3)).astype(np.uint8), mask, "x")
        judged.append(Judged(sample=sample, mask=mask, confusion=np.eye(2, dtype=np.int64)))
    content = sheet_of(judged, classes, {"a title that is much too long for it " * 3: [each.mask for each in judged]})
    assert len(content) <= LIMIT
    width, height = Image.open(io.BytesIO(content)).size
    assert width / height == pytest.approx((3 * 244 - 4) / (20 + 320 + 43 + 320 + 2 * 4), rel=0.02)


def test_pictures_are_chosen_by_their_place() -> None:
    assert [spread(count) for count in (0, 1, 2, 3, 101)] == [(), (0,), (0, 1), (0, 1, 2), (0, 33, 67)]


def test_the_card_tells_of_the_trainings_before() -> None:
    card = read_checkpoint(Path(__file__).parents[1] / "weights" / "affnet-camvid.safetensors")[2].card
    first = {key: value for key, value in card.items() if key != "started_from"}
    text = published_text({**first, "started_from": first})
    assert text.split("## Training")[1].count(", poly | 8 |") == 2
    assert "The last of these trainings again; it began with the weights of the one before" in text
    assert "## Training" not in published_text(first)
    assert "The same training again:" in published_text(first)
