"""benchmarks/zoo.py: the pages are those of the cards, and a latency goes to the network that it was measured of."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo", ROOT / "benchmarks" / "zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def card(zoo: ModuleType) -> dict[str, Any]:
    return copy.deepcopy(next(card for card in zoo.read_cards() if card["name"] == "smp_deeplabv3plus-camvid"))


def test_the_pages_are_those_of_the_cards(zoo: ModuleType) -> None:
    cards = zoo.read_cards()
    assert (ROOT / "docs" / "zoo.md").read_text("utf-8") == "\n".join(zoo.page_lines(cards)) + "\n"
    assert "\n".join([zoo.BEGIN, "", *zoo.readme_lines(cards), "", zoo.END]) in (ROOT / "README.md").read_text("utf-8")


def test_a_latency_is_of_one_network_at_one_size_with_so_many_classes(zoo: ModuleType, card: dict[str, Any]) -> None:
    timed = zoo.latencies()
    assert zoo.time_of(card, timed) == timed[zoo.case_of(card)]["ms"]["total"]["p50"] > 0
    card["model"]["pretrained"] = "none"
    assert zoo.time_of(card, timed) is not None
    smaller = {**card, "input_size": [320, 320]}
    fewer = copy.deepcopy(card)
    zoo.scores(fewer)["iou"].popitem()
    other = {**card, "model": {"name": "dsc_deeplab", "attention": "eca"}}
    assert [zoo.time_of(one, timed) for one in (smaller, fewer, other)] == [None, None, None]


def test_readme_compares_what_may_be_compared(zoo: ModuleType, card: dict[str, Any]) -> None:
    voc = {**card["data"], "format": "voc"}
    elsewhere = {**card, "name": "elsewhere", "recipe": "smp_deeplabv3plus_zoo_voc7", "data": voc}
    shorter = {**card, "name": "shorter", "command": f"{card['command']} epochs=8"}
    cards = [card, elsewhere, shorter]
    text, page = ("\n".join(lines(cards)) for lines in (zoo.readme_lines, zoo.page_lines))
    assert [name in text for name in (card["name"], "elsewhere", "shorter")] == [True, False, False]
    assert all(name in page for name in (card["name"], "elsewhere", "shorter"))


def test_a_network_of_several_trainings_tells_of_all(zoo: ModuleType, card: dict[str, Any]) -> None:
    before = {**card, "epochs": "30 of 40", "model": {"name": "smp_deeplabv3plus", "pretrained": "imagenet"}}
    before.pop("start")
    later = {**card, "epochs": "3 of 9", "start": "before.safetensors", "started_from": before}
    assert (zoo.epochs_in_all(later), zoo.began_with(later)) == (33, "ImageNet")
    text = "\n".join(zoo.again_lines([later]))
    assert card["command"] not in text
    assert "training.md" in text


def test_a_network_without_its_attention_is_still_under_the_protocol(zoo: ModuleType) -> None:
    command = "featherseg train hybrid_fusion_zoo_camvid data.root=camvid seed=1 model.attention=none"
    assert zoo.departures({"command": command}) == []
    assert zoo.departures({"command": f"{command} loss=wcel"}) == ["loss=wcel"]


def test_the_weights_fit_into_the_repository() -> None:
    places = (ROOT / "weights", ROOT / "src" / "featherseg" / "runtime" / "bundled")
    sizes = {path: path.stat().st_size for folder in places for path in folder.iterdir()}
    networks = sum(size for path, size in sizes.items() if path.suffix in (".safetensors", ".onnx"))
    assert networks <= 32_000_000
    assert sum(sizes.values()) <= 32 * 1024**2  # with cards and pictures
