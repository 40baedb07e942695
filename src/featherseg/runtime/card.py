"""The run card of a network that leaves the machine that trained it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCAL = (("data", "root"), ("run", "data", "root"), ("run", "out"), ("run", "init"))
"""Where a card names folders of the machine that trained."""

WEIGHTS = (("model", "pretrained"), ("run", "model", "pretrained"), ("run", "distill", "teacher"))
"""Where a card names weights, which may be by a path: those that a backbone began with, and a teacher's."""


def shippable(card: dict[str, Any]) -> dict[str, Any]:
    """A copy of a card without the paths of the machine that trained; the checkpoint keeps them."""
    card = copy.deepcopy(card)
    for place in LOCAL:
        part_of(card, place[:-1]).pop(place[-1], None)
    for place in WEIGHTS:
        part = part_of(card, place[:-1])
        if place[-1] in part:
            part[place[-1]] = Path(part[place[-1]]).name
    if "started_from" in card:
        card["started_from"] = shippable(card["started_from"])
    return card


def part_of(card: dict[str, Any], way: Sequence[str]) -> dict[str, Any]:
    """The object inside a card that a chain of keys leads to; an empty one where there is none."""
    for key in way:
        part = card.get(key)
        card = part if isinstance(part, dict) else {}
    return card
