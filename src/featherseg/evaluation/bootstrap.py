"""How much a score would vary had other pictures been drawn: a bootstrap over pictures, without keeping them.

B. Efron, "Bootstrap methods: another look at the jackknife", 1979. A resample draws N of the N pictures with
replacement; its score is computed as ever, from summed counts. How often each picture is drawn is multinomial, and a
multinomial can be drawn one picture after the other: of the draws still open, the next picture gets a binomial number
with the chance 1 / (pictures left). So nothing is kept but what the scores need: three numbers per resample
and class.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.measure import percent
from featherseg.metrics import Fractions, iou_of, json_number, means_of_present
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

RESAMPLES = 1000
LEVEL = 0.95


class Bootstrap:
    """Percentile intervals of mIoU, each class's IoU and pixel accuracy.

    Equal seeds draw equal pictures: of two networks scored on the same data, `miou[i]` are pairs, and the interval of
    their differences says whether one is better.

    Args:
        classes: the data's.
        pictures: how many will be judged.
        resamples: how many data sets to draw.
        seed: of the draws.
    """

    name = "bootstrap"

    def __init__(self, classes: Classes, pictures: int, *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        if not 20 <= resamples <= 1_000_000:
            raise FeathersegError("bootstrap: resamples", expected="20 to 1,000,000", got=resamples)
        self.classes = classes
        self.pictures = pictures
        self.judged = 0
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.open = np.full(resamples, pictures, np.int64)  # draws of each resample that are not yet made
        self.hit, self.truth, self.found = (np.zeros((resamples, len(classes)), np.int64) for _ in range(3))

    def __call__(self, judged: Judged) -> None:
        """Add one picture, as often to each resample as it is drawn."""
        if self.judged == self.pictures:
            raise FeathersegError("bootstrap: pictures", expected=self.pictures, got="more")
        times = self.rng.binomial(self.open, 1 / (self.pictures - self.judged))
        self.open -= times
        self.judged += 1
        self.hit += np.outer(times, np.diag(judged.confusion))
        self.truth += np.outer(times, judged.confusion.sum(1))
        self.found += np.outer(times, judged.confusion.sum(0))

    @cached_property
    def iou(self) -> Fractions:
        """(B,C), of each resample; NaN where the class is not in it."""
        if self.judged != self.pictures:
            raise FeathersegError("bootstrap: pictures", expected=self.pictures, got=self.judged)
        return iou_of(self.hit, self.truth, self.found)

    @property
    def miou(self) -> Fractions:
        """(B,), over the classes that occur in each resample."""
        return means_of_present(self.iou)

    def interval(self, values: Fractions) -> tuple[float, float]:
        """The middle 95 % of the resamples' values; those without a value are left out."""
        present = values[~np.isnan(values)]
        if not len(present):
            return float("nan"), float("nan")
        low, high = np.quantile(present, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """Intervals as [low, high]."""
        total = self.truth.sum(1)
        accuracy = np.divide(self.hit.sum(1), total, out=np.full(len(total), np.nan), where=total > 0)
        return {
            "resamples": len(self.open),
            "seed": self.seed,
            "level": LEVEL,
            "miou": self._pair(self.miou),
            "pixel_accuracy": self._pair(accuracy),
            "iou": {name: self._pair(self.iou[:, index]) for index, name in enumerate(self.classes.names)},
        }

    def _pair(self, values: Fractions) -> list[float | None]:
        return [json_number(value) for value in self.interval(values)]

    def columns(self) -> dict[str, Fractions]:
        """The ends of each class's interval."""
        ends = np.array([self.interval(self.iou[:, index]) for index in range(len(self.classes))])
        return {"from": ends[:, 0], "to": ends[:, 1]}

    def text(self) -> str:
        """One line."""
        low, high = self.interval(self.miou)
        return (
            f"mIoU, 95 % interval over {len(self.open)} resamples of the pictures: {percent(low)} .. {percent(high)} %"
        )
