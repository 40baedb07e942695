"""Holes: wrong pixels far from every true border, where no doubt about the border's place excuses them."""

from __future__ import annotations

from typing import Any

import numpy as np

from featherseg.evaluation.borders import near_change
from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.measure import by_name, percent
from featherseg.metrics import Fractions, json_number, ratio
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError


class Interior:
    """Wrong pixels further than `distance` pixels (Chebyshev) from every true border.

    Paper 000 claims "no holes in large objects"; this counts them. A pixel is interior where all true labels of the
    square of 2 `distance` + 1 pixels around it are the same; the edge of an ignored area counts as a border, the
    picture's frame does not.

    Args:
        classes: the data's.
        distance: in pixels of the masks.
    """

    name = "interior"

    def __init__(self, classes: Classes, *, distance: int = 10) -> None:
        if distance < 1:
            raise FeathersegError("interior: distance", expected="pixels, 1 or more", got=distance)
        self.classes = classes
        self.distance = distance
        self.wrong = 0
        self.pixels = np.zeros(len(classes), np.int64)
        self.holes = np.zeros(len(classes), np.int64)

    def __call__(self, judged: Judged) -> None:
        """Add one picture."""
        target = judged.sample.mask
        labelled = target != self.classes.ignore_index
        wrong = labelled & (target != judged.mask)
        interior = labelled & ~near_change(target, self.distance)
        self.wrong += int(np.count_nonzero(wrong))
        self.pixels += np.bincount(target[interior], minlength=len(self.classes))
        self.holes += np.bincount(target[interior & wrong], minlength=len(self.classes))

    @property
    def share_of_wrong(self) -> float:
        """The share of all wrong pixels that are interior; NaN where nothing is wrong."""
        return float(self.holes.sum() / self.wrong) if self.wrong else float("nan")

    @property
    def error(self) -> float:
        """The share of the interior pixels that are wrong."""
        return float(self.holes.sum() / self.pixels.sum()) if self.pixels.sum() else float("nan")

    @property
    def error_of_class(self) -> Fractions:
        """The same for each true class, (C,)."""
        return ratio(self.holes.astype(np.float64), self.pixels)

    def to_json(self) -> dict[str, Any]:
        """Both shares, and the second for each true class."""
        return {
            "distance": self.distance,
            "share_of_wrong": json_number(self.share_of_wrong),
            "error": json_number(self.error),
            "per_class": by_name(self.classes, self.error_of_class),
        }

    def columns(self) -> dict[str, Fractions]:
        """One."""
        return {"holes": self.error_of_class}

    def text(self) -> str:
        """One line."""
        return (
            f"further than {self.distance} pixels from any true border: {percent(self.share_of_wrong)} % of the wrong "
            f"pixels; {percent(self.error)} % of the pixels there are wrong"
        )
