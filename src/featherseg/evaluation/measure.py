"""What is measured beyond the confusion matrix: a measure watches every judged picture and then says what it saw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from featherseg.evaluation.evaluate import Judged
from featherseg.metrics import Fractions, json_number
from featherseg.runtime.classes import Classes


class Measure(Protocol):
    """Handed to `evaluate(..., observe=[...])`; what it keeps does not grow with the pictures."""

    @property
    def name(self) -> str:
        """Its key among the scores."""
        ...

    def __call__(self, judged: Judged) -> None:
        """Add one picture."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What it has seen, as JSON values; what has no score is null."""
        ...

    def columns(self) -> dict[str, Fractions]:
        """Its values per class (C,), each under a short title, beside IoU and accuracy; none where it has none."""
        ...

    def text(self) -> str:
        """The same for people, a line or a few."""
        ...


def by_name(classes: Classes, values: Iterable[float] | Fractions) -> dict[str, float | None]:
    """One JSON number per class."""
    return {name: json_number(float(value)) for name, value in zip(classes.names, values, strict=True)}


def percent(value: float | None) -> str:
    """A fraction as per cent with two places; "-" for none."""
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}"
