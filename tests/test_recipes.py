"""Every recipe is a complete run, and trains on a miniature of its own data set."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from format_trees import cityscapes_tree, voc_tree
from safetensors.torch import load_file
from trees import camvid_tree, folder_tree

from featherseg.app.cli import main
from featherseg.models import MODELS
from featherseg.recipes import RECIPES
from featherseg.recipes.tables import PAPERS
from featherseg.training import Part, Run, train, with_overrides
from featherseg.training.phases import phases_of

TREES: dict[str, Callable[[Path], Path]] = {
    "camvid": camvid_tree,
    "folder": folder_tree,
    "cityscapes": cityscapes_tree,
    "voc": voc_tree,
    "auto": lambda root: voc_tree(root, aug=True),
}


def miniature(name: str, tmp_path: Path, *words: str) -> Run:
    """The recipe, cut down to two steps on a tree in the true layout; everything else is left as it is."""
    run = RECIPES[name]()
    root = TREES[run.data.format](tmp_path / "data")
    keys = [f"data.root={root}", f"out={tmp_path / 'run'}", "epochs=2", "batch_size=2", "workers=0", "val_every=1"]
    keys += ["augment.crop_size=64x64", "input_rule.size=own", "tensorboard=false"]
    if "pretrained" in run.model.fields:
        keys.append("model.pretrained=none")
    if run.freeze.epochs:
        keys += ["freeze.epochs=1", "freeze.batch_size=2"]
    return with_overrides(run, [*keys, *words])


def test_every_network_has_a_recipe_for_a_folder_and_every_paper_one_for_each_data_set() -> None:
    assert {f"{name}_folder" for name in MODELS} <= set(RECIPES)
    networks = ("caspp_deeplab", "fe_deeplab", "hybrid_fusion", "dsc_deeplab", "affnet")
    assert {f"{name}_{data}" for name in networks for data in ("voc", "cityscapes", "camvid")} <= set(RECIPES)
    assert {f"{name}_zoo_camvid" for name in MODELS} <= set(RECIPES)
    assert {recipe.paper for recipe in RECIPES.values()} == {*PAPERS, ""}


def test_under_the_zoo_protocol_nothing_but_the_network_differs() -> None:
    for protocol in ("zoo_camvid", "zoo_voc7"):
        runs = [recipe() for name, recipe in RECIPES.items() if name.endswith(protocol)]
        same = [replace(run, recipe="", model=Part("affnet")) for run in runs]
        assert len(runs) >= 5
        assert all(run == same[0] for run in same)
        for run in runs:
            has_backbone = "pretrained" in MODELS[run.model.name].fields()
            assert run.model.fields == ({"pretrained": "imagenet"} if has_backbone else {})


def test_recipes_for_a_folder_differ_in_network_and_loss_alone() -> None:
    runs = [recipe() for name, recipe in RECIPES.items() if name.endswith("_folder")]
    same = [replace(run, recipe="", model=Part("affnet"), loss=Part("ce")) for run in runs]
    assert len(runs) == len(MODELS)
    assert all(run == same[0] for run in same)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_complete_run_and_its_docstring_tells_printed_from_assumed(name: str) -> None:
    recipe = RECIPES[name]
    run = recipe()
    assert run.recipe == name == recipe.name
    assert Run.from_json(json.loads(json.dumps(run.to_json()))) == run
    assert name.startswith(run.model.name)
    if recipe.paper and not name.endswith("_folder"):
        assert "Printed" in (recipe.make.__doc__ or "")
    if name.startswith("affnet") or name.endswith("_folder"):
        assert run.model.fields.get("pretrained", "none") == "none"  # nothing is downloaded
    assert phases_of(run)


FAST = ("dsc_deeplab_voc",)
SHARED = ("_zoo_", "_folder")
ONE_OF_EACH = ("affnet_zoo_camvid", "hybrid_fusion_zoo_voc7", "affnet_folder")  # the others differ in network and loss
MINIATURES = [name for name in RECIPES if name in ONE_OF_EACH or not any(part in name for part in SHARED)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in MINIATURES]
)
def test_a_recipe_trains_on_a_miniature_of_its_data(name: str, tmp_path: Path) -> None:
    folder = train(miniature(name, tmp_path))
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert int(rows[-1]["step"]) >= 2
    assert all(torch.isfinite(value).all() for value in load_file(folder / "last.safetensors").values())


@pytest.mark.slow
def test_a_voc_recipe_takes_the_plain_tree_where_there_is_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tree, found in ((voc_tree(tmp_path / "plain"), "voc"), (voc_tree(tmp_path / "aug", aug=True), "voc_aug")):
        words = ["dsc_deeplab_voc", f"data.root={tree}", "model.attention=eca", "model.pretrained=none", "epochs=1"]
        words += ["freeze.epochs=0", "batch_size=2", "workers=0", "augment.crop_size=64x64", "input_rule.size=64x64"]
        assert main(["train", *words, f"out={tmp_path / found}", "tensorboard=false"]) == 0
        assert f"data: {found} in" in capsys.readouterr().err


def test_the_settings_of_paper_003_and_001() -> None:
    frozen, thawed = phases_of(RECIPES["dsc_deeplab_voc"]())
    assert (frozen.end, frozen.batch_size, frozen.lr, frozen.frozen) == (50, 8, 3.5e-3, True)
    assert (thawed.end, thawed.batch_size, thawed.lr, thawed.frozen) == (100, 4, 1.75e-3, False)
    run = RECIPES["dsc_deeplab_voc"]()
    rates = [phase.schedule(run, 10)(phase.place(run, epoch, 3, 10)) for phase, epoch in ((frozen, 49), (thawed, 50))]
    assert rates == pytest.approx([4.52e-4, 1.355e-4], rel=2e-3)
    assert (run.augment.pad_label, run.input_rule.fit, run.preprocessing.std) == (0, "letterbox", (1.0, 1.0, 1.0))
    run = RECIPES["fe_deeplab_voc_2021"]()
    frozen, thawed = phases_of(run)
    rates = [
        phase.schedule(run, 10)(phase.place(run, epoch, 0, 10))
        for phase, epoch in ((frozen, 0), (frozen, 1), (thawed, 50), (thawed, 99))
    ]
    assert rates == pytest.approx([5e-4, 5e-4 * 0.92, 5e-5, 5e-5 * 0.92**49])


def test_help_lists_every_recipe_with_its_paper_and_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in RECIPES)
    assert "74.83" in out
    assert out.count("core-hours]") == len(RECIPES)
    assert all(f"paper {number}" in out for number in PAPERS)


def test_a_recipe_takes_keys_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dsc_deeplab_voc", f"data.root={tmp_path}", "model.attention=eca", "--show"]
    assert main(["train", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["model"]["attention"], shown["recipe"]) == ("eca", "dsc_deeplab_voc")
    assert main(["train", "dsc_deeplab_voc", "model.atention=eca"]) == 2
    assert "did you mean 'attention'" in capsys.readouterr().err
    assert main(["train", "dsc_deeplb_voc"]) == 2
    assert "did you mean 'dsc_deeplab_voc'" in capsys.readouterr().err
