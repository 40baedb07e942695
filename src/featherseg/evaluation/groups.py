"""Mean IoU over groups of classes of about equal frequency, the groups of OWFL's gamma (paper 004, Table VII)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.measure import percent
from featherseg.metrics import Fractions, Scores, json_number, mean_of_present
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

OWN = "the pictures that were scored"
CARD = "the training split, by the network's card"


class GammaGroups:
    """mIoU of the classes with gamma 0 (the rare ones), 1, 2 ..., where gamma = floor(log10(f / min f)).

    Args:
        classes: the data's.
        frequencies: the share of each class among labelled pixels, best those of the training split; empty counts them
            on the pictures that are scored, whose groups may differ.
        source: where the frequencies come from, in words.
    """

    name = "groups"

    def __init__(self, classes: Classes, frequencies: Sequence[float] = (), *, source: str = "given") -> None:
        if frequencies and len(frequencies) != len(classes):
            raise FeathersegError("groups: frequencies", expected=f"{len(classes)} shares", got=len(frequencies))
        self.classes = classes
        self.frequencies = tuple(frequencies)
        self.source = source if frequencies else OWN
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)

    @classmethod
    def by_card(cls, classes: Classes, card: dict[str, Any]) -> GammaGroups:
        """By the frequencies that a network's card notes at data.class_frequencies, else by the scored pictures' own.

        The card has them in the order of the classes' ids, or by name.
        """
        data = card.get("data")
        noted = data.get("class_frequencies") if isinstance(data, dict) else None
        if isinstance(noted, dict):
            noted = [noted[name] for name in classes.names] if set(noted) >= set(classes.names) else None
        if not isinstance(noted, (list, tuple)) or len(noted) != len(classes):
            return cls(classes)
        return cls(classes, [float(share) for share in noted], source=CARD)

    def __call__(self, judged: Judged) -> None:
        """Add one picture."""
        self.confusion += judged.confusion

    def groups(self) -> dict[int, tuple[str, ...]]:
        """Gamma -> the names of its classes; a class that never occurs is in no group."""
        shares = self.frequencies or tuple(self.confusion.sum(1).astype(float))
        gammas = magnitudes(shares)
        there = sorted({gamma for gamma in gammas if gamma is not None})
        return {
            gamma: tuple(name for name, own in zip(self.classes.names, gammas, strict=True) if own == gamma)
            for gamma in there
        }

    def miou(self) -> dict[int, float]:
        """Gamma -> mean IoU of its classes that occur."""
        iou = dict(zip(self.classes.names, Scores(self.confusion, self.classes).iou, strict=True))
        return {
            gamma: mean_of_present(np.array([iou[name] for name in names])) for gamma, names in self.groups().items()
        }

    def to_json(self) -> dict[str, Any]:
        """For each gamma its classes and their mean IoU."""
        scores = self.miou()
        return {
            "frequencies": self.source,
            "gamma": {
                str(gamma): {"classes": list(names), "miou": json_number(scores[gamma])}
                for gamma, names in self.groups().items()
            },
        }

    def columns(self) -> dict[str, Fractions]:
        """None."""
        return {}

    def text(self) -> str:
        """A line, and one for each group."""
        scores = self.miou()
        lines = [
            f"  gamma {gamma}: {percent(scores[gamma]):>6} %  {', '.join(names)}"
            for gamma, names in self.groups().items()
        ]
        return "\n".join([f"mIoU by frequency (of {self.source}):", *lines])


def magnitudes(frequencies: Sequence[float]) -> list[int | None]:
    """gamma of each class, floor(log10(f / min f)); None for one that never occurs.

    The twin of `featherseg.losses.object_weights`, which needs torch; a test holds them equal.
    """
    present = [share for share in frequencies if share > 0]
    return [math.floor(math.log10(share / min(present)) + 1e-9) if share > 0 else None for share in frequencies]
