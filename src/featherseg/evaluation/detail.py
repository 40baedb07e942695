"""Every measure beyond the confusion matrix that `--detail` asks for, in the order in which they are shown."""

from __future__ import annotations

from typing import Any

from featherseg.evaluation.boundary import BoundaryF, BoundaryIoU
from featherseg.evaluation.groups import GammaGroups
from featherseg.evaluation.interior import Interior
from featherseg.evaluation.measure import Measure
from featherseg.evaluation.objects import Objects
from featherseg.runtime.classes import Classes


def detail(classes: Classes, card: dict[str, Any] | None = None) -> list[Measure]:
    """New measures with their defaults; the network's card may bring the class frequencies of its training split."""
    return [
        BoundaryIoU(classes),
        BoundaryF(classes),
        Interior(classes),
        Objects(classes),
        GammaGroups.by_card(classes, card or {}),
    ]
