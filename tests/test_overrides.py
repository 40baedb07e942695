"""key=value: what it sets, in any order, and what it refuses in one line; values are checked with the run."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from featherseg.app.cli import main
from featherseg.losses import LOSSES
from featherseg.models import MODELS
from featherseg.recipes import RECIPES
from featherseg.runtime.errors import FeathersegError
from featherseg.training import SCHEDULES, Freeze, Part, Run, with_overrides
from featherseg.training.run import OPTIMISERS


def changed(recipe: str, *words: str) -> Run:
    return with_overrides(RECIPES[recipe](), words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epoch=3", "did you mean 'epochs'"),
        ("data.rot=x", "did you mean 'data.root'"),
        ("data=x", "one of data.format"),
        ("epochs.x=3", "epochs has no parts"),
        ("model=afnet", "did you mean 'affnet'"),
        ("model.fusion=concat+ew", "did you mean 'concat"),
        ("model.fuzion=ewa", "did you mean 'fusion'"),
        ("loss=owfl_cee", "did you mean 'owfl_ce'"),
        ("loss.gamma=2", "loss field"),
        ("loss.class_weights=1,two", r"loss\.class_weights.*numbers like 0\.5,2; got '1,two'"),
        ("loss.class_weights=360x480", r"loss\.class_weights.*numbers like"),
        ("loss.class_weights=-1,2", r"loss\.class_weights.*0 or more"),
        ("loss.frequencies=0.5,2", r"loss\.frequencies.*0\.\.1"),
        ("loss.c=0.5", r"loss\.c.*more than 1"),
        ("loss.ce_weight=nan", r"loss\.ce_weight.*a number"),
        ("epochs=many", "a whole number"),
        ("epochs=0", "1 or more"),
        ("seed=-1", "0 or more"),
        ("workers=-1", "0 or more"),
        ("encoder_lr=nan", "0 or more"),
        ("warmup_epochs=inf", "0 or more"),
        ("optim.lr=abc", "optim.lr.*a number"),
        ("optim.lr=inf", "optim.lr.*a number"),
        ("optim.lr=-1", "Invalid learning rate"),
        ("optim.weight_dekay=1", "did you mean 'weight_decay'"),
        ("optim.momentum=0.9", "optim field"),
        ("optim.params=1", "optim field"),
        ("optim.betas=0.9", r"optim\.betas; expected 2 numbers"),
        ("optim.betas=0.9,2", "Invalid beta"),
        ("loss.c=abc", "loss.c.*a number"),
        ("schedule.power=abc", "schedule.power.*a number"),
        ("schedule.power=-1", "schedule.power.*0 or more"),
        ("schedule.lr=1", "schedule field"),
        ("input_rule.size=360", "input_rule.size; expected 2 numbers like 360x480"),
        ("augment.crop_size=none", "augment.crop_size"),
        ("augment.scale=0.5x2", "augment.scale; expected 2 numbers like 0.5,2"),
        ("augment.flip=2", r"0\.\.1"),
        ("preprocessing.mean=0.5", "preprocessing.mean; expected 3 numbers"),
        ("preprocessing.std=0,1,1", "three positive std"),
        ("deterministic=3", "true or false"),
        ("augment.crop_size=axb", "numbers like 360x480"),
        ("augment.crop_size=64.5x64", "numbers like 360x480"),
        ("epochs", "key=value"),
        ("model.=affnet", "key=value"),
        ("recipe=x", "one of"),
    ],
)
def test_mistakes_in_keys_name_the_remedy(word: str, message: str) -> None:
    with pytest.raises(FeathersegError, match=message) as caught:
        changed("affnet_folder", word)
    assert "\n" not in str(caught.value)


def test_lists_sizes_and_choices_are_read_as_their_fields_are() -> None:
    run = changed("affnet_folder", "optim.betas=0.9,0.99", "loss.class_weights=1,2,3", "loss.frequencies=0.1,0.9")
    assert run.optim.fields["betas"] == (0.9, 0.99)
    assert dict(run.loss.fields) == {"class_weights": (1.0, 2.0, 3.0), "frequencies": (0.1, 0.9)}
    assert Run.from_json(json.loads(json.dumps(run.to_json()))) == run
    assert changed("affnet_folder", "loss.class_weights=[1, 2, 3]", "loss.frequencies=(0.1,0.9)").loss == run.loss
    assert changed("affnet_folder", "loss.class_weights=").loss.fields["class_weights"] == ()
    for text in ("64x96", "64,96", "[64, 96]", "(64, 96)"):
        words = (f"augment.crop_size={text}", f"input_rule.size={text}")
        run = changed("affnet_folder", *words)
        assert run.augment.crop_size == run.input_rule.size == (64, 96)
    assert changed("affnet_folder", "input_rule.size=own").input_rule.size is None
    run = changed("dsc_deeplab_folder", "model.output_stride=8", "model.attention=none", "model.pretrained=8")
    assert dict(run.model.fields) == {"output_stride": 8, "attention": "none", "pretrained": "8"}
    assert changed("affnet_folder", "model.presence=true").model.fields["presence"] is True
    assert changed("dsc_deeplab_voc", "optim.nesterov=false").optim.fields["nesterov"] is False


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_takes_every_entry_of_the_menus(recipe: str) -> None:
    menus: dict[str, Any] = {"model": MODELS, "loss": LOSSES, "optim": OPTIMISERS, "schedule": SCHEDULES}
    for head, menu in menus.items():
        for name in menu:
            assert getattr(changed(recipe, f"{head}={name}"), head).name == name


def test_another_optimiser_keeps_what_means_the_same() -> None:
    for name in ("adam", "adamw"):
        assert changed("dsc_deeplab_voc", f"optim={name}").optim == Part(name, {"lr": 7e-3, "weight_decay": 1e-4})
    run = changed("affnet_folder", "optim.betas=0.9,0.99", "optim.eps=1e-6")
    adam = with_overrides(run, ["optim=adam"])
    assert adam.optim == Part("adam", run.optim.fields)
    sgd = with_overrides(run, ["optim=sgd", "optim.momentum=0.9"])
    assert sgd.optim == Part("sgd", {"lr": 1.5e-3, "weight_decay": 0.02, "momentum": 0.9})


def test_another_model_keeps_its_backbone_and_another_loss_starts_anew() -> None:
    run = changed("dsc_deeplab_voc", "model.backbone=xception65", "model.output_stride=8", "model.attention=eca")
    kept = {"pretrained": "imagenet", "backbone": "xception65", "output_stride": 8}
    assert with_overrides(run, ["model=fe_deeplab"]).model == Part("fe_deeplab", kept)
    assert with_overrides(run, ["model=affnet"]).model == Part("affnet")
    assert with_overrides(run, ["model=dsc_deeplab"]) == run
    run = changed("affnet_folder", "loss.c=1.1", "schedule.power=2")
    assert with_overrides(run, ["loss=wcel", "schedule=cos"]).loss == Part("wcel")
    assert with_overrides(run, ["loss=wcel", "schedule=cos"]).schedule == Part("cos")
    assert with_overrides(run, ["loss=owfl_ce", "schedule=poly"]) == run


def test_the_order_of_keys_does_not_matter_but_for_one_given_twice() -> None:
    words = ("loss.c=1.1", "loss=wcel", "optim.momentum=0.8", "optim=sgd", "optim.nesterov=true")
    runs = [changed("affnet_folder", *order) for order in itertools.permutations(words)]
    assert all(run == runs[0] for run in runs)
    assert runs[0].loss == Part("wcel", {"c": 1.1})
    assert runs[0].optim.fields["nesterov"] is True
    run = changed("dsc_deeplab_voc", "model.enhancement=none", "epochs=3", "model=fe_deeplab", "epochs=30")
    assert run.model == Part("fe_deeplab", {"pretrained": "imagenet", "enhancement": "none"})
    assert run.epochs == 30


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["schedule=step", "schedule.levels=1"], r"schedule\.levels; expected 2 or more; got 1"),
        (["schedule=step", "schedule.levels=2.5"], r"schedule\.levels; expected a whole number"),
        (["schedule=cos", "schedule.tail=1"], r"schedule\.warmup and \.tail"),
        (["loss=focal", "loss.gamma=-1"], r"loss\.gamma; expected a number, 0 or more; got -1"),
        (["loss=focal", "loss.focal_mean=al"], "did you mean 'all'"),
        (["loss=ce_dice", "loss.dice_mask_ignored=3"], r"loss\.dice_mask_ignored; expected true or false"),
    ],
)
def test_values_of_no_use_are_refused_at_once(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    with pytest.raises(FeathersegError, match=message):
        changed("affnet_folder", *words)
    out = tmp_path / "run"
    assert main(["train", "affnet_folder", *words, f"out={out}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_a_run_checks_its_own_values_too() -> None:
    run = RECIPES["affnet_folder"]()
    with pytest.raises(FeathersegError, match=r"schedule\.levels; expected 2 or more"):
        replace(run, schedule=Part("step", {"levels": 1}))
    with pytest.raises(FeathersegError, match=r"loss\.class_weights; expected some numbers"):
        replace(run, loss=Part("ce", {"class_weights": 3}))
    with pytest.raises(FeathersegError, match=r"optim\.lr; expected a number; got None"):
        replace(run, optim=Part("sgd"))
    assert replace(run, loss=Part("owfl", {"frequencies": [0.5, 0.5]})).loss.fields["frequencies"] == (0.5, 0.5)


@pytest.mark.parametrize(("epochs", "frozen"), [(200, 100), (100, 50), (20, 10), (3, 2), (2, 1), (1, 0)])
def test_fewer_epochs_freeze_in_proportion(epochs: int, frozen: int) -> None:
    run = changed("dsc_deeplab_voc", f"epochs={epochs}")
    assert (run.epochs, run.freeze) == (epochs, Freeze(epochs=frozen, batch_size=8))
    run = changed("dsc_deeplab_voc", f"epochs={epochs}", "freeze.batch_size=2")
    assert run.freeze == Freeze(epochs=frozen, batch_size=2)
    run = with_overrides(changed("dsc_deeplab_voc", "freeze.epochs=2"), [f"epochs={epochs}"])
    assert run.freeze.epochs == {200: 4, 100: 2}.get(epochs, min(1, epochs - 1))
    assert changed("affnet_folder", f"epochs={epochs}").freeze.epochs == 0


def test_frozen_epochs_that_are_given_stay_and_fit_into_the_run() -> None:
    run = changed("dsc_deeplab_voc", "freeze.epochs=5", "epochs=20")
    assert (run.epochs, run.freeze.epochs) == (20, 5)
    line = "freeze.epochs; expected fewer than epochs=20; got 50: for instance freeze.epochs=10"
    with pytest.raises(FeathersegError) as caught:
        changed("dsc_deeplab_voc", "epochs=20", "freeze.epochs=50")
    assert str(caught.value) == line
    with pytest.raises(FeathersegError, match=line):
        replace(RECIPES["dsc_deeplab_voc"](), epochs=20)
    with pytest.raises(FeathersegError, match="expected fewer than epochs=100; got 100"):
        changed("dsc_deeplab_voc", "freeze.epochs=100")
