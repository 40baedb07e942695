"""The peak of memory: watched over the steps alone, said once, and written on the card."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trees import folder_tree

import featherseg
from featherseg.recipes import RECIPES
from featherseg.runtime.peak import peak_bytes, restart_peak
from featherseg.training import peak, train, with_overrides
from featherseg.training.peak import PeakMemory

LARGE = 200_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="only there the peak can begin anew")


@linux
def test_the_peak_is_that_of_what_is_watched() -> None:
    memory = PeakMemory(torch.device("cpu"))
    assert (memory.text(), memory.to_json()) == ("", {})
    torch.ones(LARGE // 4)
    with memory.watched():
        pass
    first = memory.bytes
    assert first is not None
    with memory.watched():
        torch.ones(LARGE // 4)
    assert memory.bytes is not None
    assert memory.bytes - first > 0.8 * LARGE
    with memory.watched():
        pass
    assert memory.bytes - first > 0.8 * LARGE  # the most of all
    assert memory.to_json() == {"peak_memory": {"bytes": memory.bytes, "of": "process"}}


@linux
def test_a_restarted_peak_is_what_is_held_now() -> None:
    torch.ones(LARGE // 4)
    before = peak_bytes()
    restart_peak()
    after = peak_bytes()
    assert before is not None
    assert after is not None
    assert after < before


def test_a_gpu_is_asked_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    restarted: list[object] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", restarted.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3_210_000_000)
    memory = PeakMemory(torch.device("cuda", 1))
    with memory.watched():
        assert restarted == [torch.device("cuda", 1)]
    assert memory.text() == "memory: 3.21 GB at the most, on the GPU"
    assert memory.to_json() == {"peak_memory": {"bytes": 3_210_000_000, "of": "gpu"}}


def test_it_is_said_after_the_first_epoch_and_stands_on_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_tree(tmp_path / "data")
    words = (
        f"data.root={tmp_path / 'data'}", f"out={tmp_path / 'run'}", "tensorboard=false", "batch_size=2", "workers=0",
        "augment.crop_size=64x64", "epochs=2", "val_every=1", "input_rule.size=own",
    )  # fmt: skip
    run = with_overrides(RECIPES["affnet_folder"](), words)
    folder = train(run)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("memory:", "epoch "))]
    assert [line.split()[0] for line in said] == ["memory:", "epoch", "epoch"]
    for name in ("last", "best"):
        card = featherseg.load(folder / f"{name}.safetensors").artefact.card
        assert card["peak_memory"]["of"] == "process"
        assert card["peak_memory"]["bytes"] > 50_000_000

    monkeypatch.setattr(peak, "peak_bytes", lambda: None)  # a system that does not tell
    card = featherseg.load(train(replace(run, out=str(tmp_path / "untold")))).artefact.card
    assert "peak_memory" not in card
    assert "memory:" not in capsys.readouterr().err
