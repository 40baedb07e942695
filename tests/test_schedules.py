"""Learning rates at the epochs that the papers' settings name, and the phases of a run."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from timm.layers.norm_act import BatchNormAct2d
from torch import nn
from torch.nn import Module
from trees import folder_tree

from featherseg.data.loading import Batch
from featherseg.models import create_model
from featherseg.recipes import RECIPES
from featherseg.runtime.errors import FeathersegError
from featherseg.training import SCHEDULES, Freeze, Part, Run, loop, train, with_overrides
from featherseg.training.distributed import World, synchronise_norms
from featherseg.training.phases import phases_of
from featherseg.training.state import read_state, states, unpack

QUICK = ("augment.crop_size=64x64", "workers=0", "val_every=100", "input_rule.size=own", "loss=ce", "samples=0")


def quick_run(tmp_path: Path, *words: str, model: str = "dsc_deeplab") -> Run:
    if not (tmp_path / "data").exists():
        folder_tree(tmp_path / "data")
    keys = (f"data.root={tmp_path / 'data'}", f"out={tmp_path / 'run'}", *QUICK, f"model={model}", *words)
    return with_overrides(RECIPES["affnet_folder"](), keys)


def test_poly_at_named_steps() -> None:
    poly = SCHEDULES["poly"](lr=0.01, steps=100, power=0.9)
    assert [poly(0), poly(50), poly(100)] == pytest.approx([0.01, 0.01 * 0.5**0.9, 0.0])
    warm = SCHEDULES["poly"](lr=1.0, steps=100, warmup_steps=4)
    assert warm(0) == pytest.approx(0.2)
    assert warm(4) == pytest.approx((1 - 0.04) ** 0.9)


def test_constant_stays() -> None:
    assert {SCHEDULES["constant"](lr=0.1, steps=10)(step) for step in range(10)} == {0.1}


def test_step_and_cos_of_paper_003_at_named_epochs() -> None:
    """Steps stand for epochs here: 3.5e-3 while frozen, 1.75e-3 thawed, the epoch going on."""
    frozen, thawed = (SCHEDULES["step"](lr=lr, steps=100) for lr in (3.5e-3, 1.75e-3))
    assert frozen(0) == frozen(9) == 3.5e-3
    assert frozen(10) == pytest.approx(3.5e-3 * 0.59948, rel=1e-4)
    assert frozen(49) == pytest.approx(4.52e-4, rel=2e-3)
    assert thawed(50) == pytest.approx(1.355e-4, rel=1e-3)
    assert thawed(99) == pytest.approx(1.75e-5)
    cos = SCHEDULES["cos"](lr=1.75e-3, steps=100)
    assert cos(0) == pytest.approx(1.75e-4)
    assert cos(2) == pytest.approx(1.75e-4 + (1.75e-3 - 1.75e-4) * (2 / 3) ** 2)
    assert cos(3) == pytest.approx(1.75e-3)
    assert cos(50) == pytest.approx(6.86e-4, rel=1e-3)
    assert cos(84) > cos(85) == cos(99) == pytest.approx(1.75e-5)


def test_a_rate_can_be_held_for_an_epoch() -> None:
    held = SCHEDULES["cos"](lr=1.0, steps=1000, hold=10)
    each = SCHEDULES["cos"](lr=1.0, steps=100)
    assert all(held(step) == pytest.approx(each(step // 10)) for step in range(0, 1000, 7))


def test_a_warm_up_by_epochs_has_no_dead_epoch() -> None:
    warm = SCHEDULES["constant"](lr=1.0, steps=1000, warmup_steps=200, hold=100)
    assert [warm(step) for step in (0, 99, 100, 199, 200, 999)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert SCHEDULES["constant"](lr=1.0, steps=1000, hold=100)(0) == 1
    each = SCHEDULES["constant"](lr=1.0, steps=1000, warmup_steps=3)
    assert [each(step) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("step", "levels", 1), ("step", "final", 0.0), ("step", "final", 1.5), ("poly", "power", -1.0),
        ("cos", "warmup", -0.1), ("cos", "tail", 1.0), ("cos", "start", 2.0), ("cos", "final", -0.5),
    ],
)  # fmt: skip
def test_values_of_no_use_are_refused(name: str, field: str, value: float) -> None:
    with pytest.raises(FeathersegError, match=rf"schedule\..*{field}.*; expected.*got"):
        SCHEDULES[name](lr=1.0, steps=100, **{field: value})


def test_a_decay_of_eight_per_cent_an_epoch_is_a_step_schedule() -> None:
    decay = SCHEDULES["step"](lr=5e-4, steps=50, levels=50, final=0.92**49)
    assert [decay(epoch) for epoch in range(50)] == pytest.approx([5e-4 * 0.92**epoch for epoch in range(50)])


def test_the_phases_of_paper_003() -> None:
    run = replace(
        RECIPES["affnet_folder"](),
        model=Part("dsc_deeplab"),
        optim=Part("sgd", {"lr": 7e-3}),
        schedule=Part("step"),
        epochs=100,
        batch_size=4,
        freeze=Freeze(epochs=50, batch_size=8),
        warmup_epochs=0.0,
        lr_scaling="batch16",
        lr_every="epoch",
    )
    frozen, thawed = phases_of(run)
    assert (frozen.lr, frozen.batch_size, thawed.lr, thawed.batch_size) == (3.5e-3, 8, 1.75e-3, 4)
    schedule = thawed.schedule(run, 30)
    assert schedule(thawed.place(run, 50, 7, 30)) == pytest.approx(1.355e-4, rel=1e-3)
    assert phases_of(replace(run, optim=Part("sgd", {"lr": 1e-4})))[1].lr == 5e-4  # clamped
    assert phases_of(replace(run, optim=Part("sgd", {"lr": 1.0})))[1].lr == 0.1
    assert phases_of(replace(run, lr_scaling="none"))[0].lr == 7e-3
    restarted = replace(run, freeze=Freeze(epochs=50, batch_size=8, restart=True))
    assert phases_of(restarted)[1].place(restarted, 50, 0, 30) == 0
    assert len(phases_of(replace(run, freeze=Freeze()))) == 1


def test_the_frozen_phase_freezes_the_encoder_and_the_thawed_one_moves_it(tmp_path: Path) -> None:
    run = quick_run(
        tmp_path, "epochs=2", "freeze.epochs=1", "freeze.batch_size=3", "batch_size=2", "ema=0", "optim=sgd",
        "optim.lr=0.01", "optim.weight_decay=0.1", "warmup_epochs=0",
    )  # fmt: skip
    start = loop.Training(run, Path(run.out), None).network.state_dict()
    folder = train(run)
    first, _ = (read_state(path) for path in states(folder))
    assert first[0].epoch == 1
    frozen, thawed = unpack(first[1], "model"), load_file(folder / "last.safetensors")
    weights = [name for name in start if name.startswith("encoder") and "running" not in name and "num_" not in name]
    assert len(weights) > 100
    assert all(torch.equal(start[name], frozen[name]) for name in weights)
    assert not all(torch.equal(start[name], thawed[name]) for name in weights)
    heads = [name for name in start if not name.startswith("encoder") and name.endswith("weight")]
    assert not any(torch.equal(start[name], frozen[name]) for name in heads)
    statistics = [name for name in start if name.startswith("encoder") and "running_mean" in name]
    assert not any(torch.equal(start[name], frozen[name]) for name in statistics)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [2, 5]  # six pictures in batches of three, then of two


def test_a_network_without_encoder_cannot_be_frozen(tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match=r"freeze\.epochs.*a network on a backbone"):
        train(quick_run(tmp_path, "freeze.epochs=1", "batch_size=2", model="affnet"))


def test_the_encoder_has_its_own_rate(tmp_path: Path) -> None:
    training = loop.Training(quick_run(tmp_path, "encoder_lr=0.1", "batch_size=2"), tmp_path / "run", None)
    training.step(next(batches_of(training)), 0.5)
    assert [group["lr"] for group in training.optimiser.param_groups] == [0.05, 0.5]


@pytest.mark.parametrize("loss", ["ce", "owfl_ce", "focal", "ce_dice"])
def test_accumulated_parts_equal_one_batch(tmp_path: Path, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm and dropout aside, which see each part alone; the mean of the parts' dice is no dice of the whole."""
    after = []
    for accumulate in (1, 3):
        run = quick_run(tmp_path, "batch_size=6", f"accumulate={accumulate}", f"loss={loss}", model="affnet")
        training = loop.Training(run, tmp_path / "run", None)
        monkeypatch.setattr(training.network, "train", lambda network=training.network: Module.train(network, False))
        value = training.step(next(batches_of(training)), 0.01)
        gradients = [parameter.grad for parameter in training.network.parameters() if parameter.grad is not None]
        after.append((value, torch.cat([gradient.flatten() for gradient in gradients])))
    exact = loss != "ce_dice"
    assert after[0][0] == pytest.approx(after[1][0], rel=1e-5 if exact else 0.1)
    difference = (after[0][1] - after[1][1]).norm() / after[0][1].norm()
    assert difference < (1e-4 if exact else 0.5)


@pytest.mark.parametrize("loss", ["ce", "focal", "dice", "ce_dice", "ohem", "owfl_se"])
def test_parts_without_labels_leave_the_others_as_they_are(
    tmp_path: Path, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[float] = []
    first: list[Batch] = []
    words = [f"loss={loss}", *(["model.presence=true"] if loss == "owfl_se" else [])]
    for accumulate in (1, 3):
        run = quick_run(tmp_path, f"batch_size={2 * accumulate}", f"accumulate={accumulate}", *words, model="affnet")
        training = loop.Training(run, tmp_path / "run", None)
        monkeypatch.setattr(training.network, "train", lambda network=training.network: Module.train(network, False))
        first = first or next(batches_of(training))
        rest = [part._replace(target=torch.full_like(part.target, 255)) for part in first * (accumulate - 1)]
        values.append(training.step([*first, *rest], 0.01))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert values[0] > 0.01


def test_any_seed_that_is_taken_can_be_trained_with(tmp_path: Path) -> None:
    training = loop.Training(
        quick_run(tmp_path, "seed=20260101123456", "batch_size=2", model="affnet"), tmp_path / "run", None
    )
    assert training.step(next(batches_of(training)), 0.01) > 0


def batches_of(training: loop.Training):  # type: ignore[no-untyped-def]
    from featherseg.data.loading import Augmented, Loader, Order
    from featherseg.training.opening import part_size

    run = training.run
    part = part_size(run, run.batch_size, training.world)
    order = Order(len(training.train_data), batch_size=run.batch_size, seed=0, part=part)
    return order.grouped(Loader(Augmented(training.train_data, run.augment, seed=0), order, workers=0))


def test_a_run_ends_early_when_nothing_gets_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("epochs=9", "val_every=1", "patience=2", "optim=sgd", "optim.lr=0", "ema=0", "batch_size=6")
    run = quick_run(tmp_path, *words, model="affnet")
    folder = train(run)
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert 3 <= len(rows) < 9
    assert "stopped early" in capsys.readouterr().err
    train(run)
    assert "finished" in capsys.readouterr().err
    assert list(csv.DictReader((folder / "metrics.csv").open())) == rows


@pytest.mark.slow
@pytest.mark.parametrize("word", ["precision=fp16", "precision=bf16", "channels_last=false"])
def test_other_precisions_and_layouts_take_a_step(tmp_path: Path, word: str) -> None:
    """In a process of its own: some virtual machines announce bf16 units that they lack, hence the limit."""
    run = quick_run(tmp_path, word, "epochs=1", "batch_size=3", model="affnet")
    (tmp_path / "run.json").write_text(json.dumps(run.to_json()))
    code = (
        "import json, sys; from featherseg.training import Run, train; "
        "print(train(Run.from_json(json.load(open(sys.argv[1])))))"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    words = [sys.executable, "-c", code, str(tmp_path / "run.json")]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    assert ("computing in fp32" in done.stderr) == (word == "precision=fp16")
    assert float(next(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))["loss"]) > 0


def test_uneven_parts_and_a_missing_presence_head_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeathersegError, match="a multiple of 4"):
        train(quick_run(tmp_path, "batch_size=6", "accumulate=4"))
    with pytest.raises(FeathersegError, match="normalises a 1x1 map"):
        train(quick_run(tmp_path, "batch_size=6", "accumulate=6"))
    with pytest.raises(FeathersegError, match="presence head"):
        train(quick_run(tmp_path, "batch_size=6", "loss=owfl_se"))
    folder = train(
        quick_run(tmp_path, "batch_size=6", "epochs=1", "loss=owfl_se", "model.presence=true", model="affnet")
    )
    assert "presence.weight" in load_file(folder / "last.safetensors")


def test_only_chosen_classes_are_learned(tmp_path: Path) -> None:
    run = quick_run(tmp_path, "batch_size=6", "epochs=1", "data.classes=dog,background", model="affnet")
    assert run.data.classes == ("dog", "background")
    assert Run.from_json(run.to_json()) == run
    training = loop.Training(run, tmp_path / "run", None)
    assert training.train_data.classes.names == ("dog", "background")
    assert training.network.num_classes == 2


WORKER = """
import sys
import torch
from featherseg.models import create_model
from featherseg.recipes import RECIPES
from featherseg.training import train, with_overrides
torch.nn.Dropout.forward = lambda self, x: x  # each process draws its own
train(with_overrides(RECIPES["affnet_folder"](), sys.argv[1:]))
"""


def test_synchronised_norms_keep_what_they_do() -> None:
    """A backbone's batch norms hold its activations; every one is replaced, and the network computes the same."""
    torch.manual_seed(0)
    for device in ("cpu", "cuda"):
        network = create_model("dsc_deeplab", num_classes=3).eval()
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            before = network(images).logits
            synchronise_norms(network, World(0, 2, torch.device(device)))
            assert torch.equal(network(images).logits, before)
        plain = [module for module in network.modules() if type(module) in (nn.BatchNorm2d, BatchNormAct2d)]
        assert not plain


def test_synchronised_norms_reckon_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision's sums over many values near 5 would be off by a tenth of their deviation."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)  # of one process
    images = (5 + 0.2 * torch.randn(4, 3, 60, 90, generator=torch.Generator().manual_seed(0))).bfloat16()
    plain, together = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    synchronise_norms(nn.Sequential(together), World(0, 2, torch.device("cpu")))
    expected, given = plain(images), together(images)
    assert given.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(given.float(), expected.float(), atol=0.02)
    assert torch.allclose(together.running_mean, plain.running_mean, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["affnet", "dsc_deeplab"])
def test_two_processes_equal_one(tmp_path: Path, model: str) -> None:
    """One step over the same batch; gloo, an all-reduced batch norm, dropout off; the order of sums rounds otherwise.

    Without the all-reduced batch norm the two differ by far more: the test would see it.
    """
    folder_tree(tmp_path / "data")
    (tmp_path / "worker.py").write_text(WORKER)
    keys = [
        f"data.root={tmp_path / 'data'}", *QUICK, "epochs=1", "batch_size=6", "loss=owfl_ce", "ema=0", "optim=sgd",
        "optim.lr=0.05", "optim.weight_decay=0", "warmup_epochs=0", "tensorboard=false", f"model={model}",
    ]  # fmt: skip
    script = [str(tmp_path / "worker.py")]
    pair = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *script]
    ways = {"one": script, "two": pair, "apart": [*pair, "sync_bn=false"]}
    for name, words in ways.items():
        command = [sys.executable, *words, f"out={tmp_path / name}", *keys]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    one, two, apart = (load_file(tmp_path / name / "last.safetensors") for name in ways)
    torch.manual_seed(0)
    start = create_model(model, num_classes=3).state_dict()
    step = distance(one, start)
    assert distance(one, two) < 0.02 * step  # rounding, which sixty batch norms over small maps amplify
    assert distance(one, apart) > 0.1 * step
    rows = [next(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("one", "two")]
    for name in ("loss", "val_miou"):
        assert float(rows[0][name]) == pytest.approx(float(rows[1][name]), abs=1e-3)


def distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float((first[name].float() - second[name].float()).square().sum()) for name in first))
