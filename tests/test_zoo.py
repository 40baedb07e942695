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
    return copy.deepcopy(next(card for card in zoo.read_cards() if card["model"]["name"] == "smp_deeplabv3plus"))


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
    other = {**card, "model": {"name": "dsc_deeplab", "attention": "none"}}
    assert [zoo.time_of(one, timed) for one in (smaller, fewer, other)] == [None, None, None]


def test_readme_compares_on_one_data_set(zoo: ModuleType, card: dict[str, Any]) -> None:
    other = {**card, "name": "elsewhere", "data": {**card["data"], "format": "voc"}}
    text = "\n".join(zoo.readme_lines([card, other]))
    assert card["name"] in text
    assert "elsewhere" not in text
    assert "elsewhere" in "\n".join(zoo.page_lines([card, other]))


def test_a_network_without_its_attention_is_still_under_the_protocol(zoo: ModuleType) -> None:
    command = "featherseg train hybrid_fusion_zoo_camvid data.root=camvid seed=1 model.attention=none"
    assert zoo.departures({"command": command}) == []
    assert zoo.departures({"command": f"{command} loss=wcel"}) == ["loss=wcel"]
