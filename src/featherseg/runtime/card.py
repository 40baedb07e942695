"""The run card of a network that leaves the machine that trained it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

LOCAL = (("data", "root"), ("run", "data", "root"), ("run", "out"), ("run", "init"))
"""Where a card names folders of the machine that trained."""

PRETRAINED = (("model",), ("run", "model"))
"""Where a card names the weights that a backbone began with: "none", "imagenet" or a path."""


MARK = "<!-- The card of a network, written by featherseg export; the next export replaces it. -->"
"""The first line of every card; no file that begins otherwise is replaced."""

PUBLISHED = "<!-- The card of a network, written by featherseg publish; the next publish replaces it. -->"
"""The first line of the card of published weights, which is of theirs: what is exported beside them has another."""


def is_card(path: Path) -> bool:
    """Whether it is a card that featherseg wrote."""
    return begins(path, MARK) or begins(path, PUBLISHED)


def begins(path: Path, mark: str) -> bool:
    """Whether it is a file that begins with this mark."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(mark)) == mark.encode()


def hardware(machine: dict[str, Any]) -> str:
    """What a network was trained on: the GPU, unless the card says that it was another device; else the processor."""
    cpu = f"{machine.get('cpu')}, {machine.get('cores')} cores"
    return (machine.get("gpu") if machine.get("device", "cuda") == "cuda" else None) or cpu


def shippable(card: dict[str, Any]) -> dict[str, Any]:
    """A copy of a card without the paths of the machine that trained; the checkpoint keeps them."""
    card = copy.deepcopy(card)
    for place in LOCAL:
        part_of(card, place[:-1]).pop(place[-1], None)
    for way in PRETRAINED:
        part = part_of(card, way)
        if "pretrained" in part:
            part["pretrained"] = base_name(part["pretrained"])
    distill = part_of(card, ("run", "distill"))
    if "teacher" in distill:
        distill["teacher"] = portable(distill["teacher"])
    if "started_from" in card:
        card["started_from"] = shippable(card["started_from"])
    return card


def portable(path: str) -> str:
    """A path as it was given, where that says nothing of the machine; else its last part."""
    parts = PurePosixPath(path).parts
    leads_out = ".." in parts or path.startswith("~") or PurePosixPath(path).is_absolute()
    return base_name(path) if leads_out or PureWindowsPath(path).drive or "\\" in path else path


def base_name(path: str) -> str:
    """The last part of a path, of either system."""
    return PureWindowsPath(path).name or path


def part_of(card: dict[str, Any], way: Sequence[str]) -> dict[str, Any]:
    """The object inside a card that a chain of keys leads to; an empty one where there is none."""
    for key in way:
        part = card.get(key)
        card = part if isinstance(part, dict) else {}
    return card
