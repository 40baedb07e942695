"""Scores near borders: Boundary IoU, and the boundary F-score at a tolerance in pixels.

B. Cheng, R. Girshick, P. Dollar, A. Berg, A. Kirillov, "Boundary IoU: Improving Object-Centric Image Segmentation
Evaluation", CVPR 2021, Eq. 2; G. Csurka, D. Larlus, F. Perronnin, "What is a good evaluation measure for semantic
segmentation?", BMVC 2013; F. Perazzi et al. (DAVIS), CVPR 2016. Both are summed over the data set, class by class.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featherseg.evaluation.borders import NO_CONTOUR, band, contour, near_same
from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.measure import by_name, percent
from featherseg.metrics import Fractions, json_number, mean_of_present, ratio
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError


class BoundaryIoU:
    """Intersection over union within a band along each region's inner edge, of truth and prediction alike.

    With G and P the true and the predicted region of a class, and G_d, P_d their pixels within d of their own contour:
    |(G_d & G) & (P_d & P)| / |(G_d & G) | (P_d & P)|. As in the authors' code the band is what d erosions by a 3x3
    square take away (Chebyshev distance), and a region that the picture's frame cuts has a contour there. Ignored
    pixels belong to no class, in truth and prediction alike.

    Args:
        classes: the data's.
        ratio: d as a share of the picture's diagonal, rounded, 1 pixel at least.
    """

    name = "boundary_iou"

    def __init__(self, classes: Classes, *, ratio: float = 0.02) -> None:
        if not 0 < ratio < 1:
            raise FeathersegError("boundary IoU: ratio", expected="a share of the diagonal, 0..1", got=ratio)
        self.classes = classes
        self.ratio = ratio
        self.shared = np.zeros(len(classes), np.int64)
        self.either = np.zeros(len(classes), np.int64)

    def __call__(self, judged: Judged) -> None:
        """Add one picture."""
        target = judged.sample.mask
        ignored = target == self.classes.ignore_index
        mask = np.where(ignored, target, judged.mask)
        width = max(1, round(self.ratio * math.hypot(*target.shape)))
        true_band, band_found = band(target, width), band(mask, width)
        shared = self._count(target[true_band & band_found & (target == mask)])
        self.shared += shared
        self.either += self._count(target[true_band]) + self._count(mask[band_found]) - shared

    def _count(self, labels: Any) -> Any:
        return np.bincount(labels, minlength=256)[: len(self.classes)]

    @property
    def iou(self) -> Fractions:
        """Per class (C,); NaN where the class is nowhere."""
        return ratio(self.shared.astype(np.float64), self.either)

    def to_json(self) -> dict[str, Any]:
        """Its mean over the classes that occur, and each class's."""
        return {
            "ratio": self.ratio,
            "mean": json_number(mean_of_present(self.iou)),
            "per_class": by_name(self.classes, self.iou),
        }

    def columns(self) -> dict[str, Fractions]:
        """One."""
        return {"boundary": self.iou}

    def text(self) -> str:
        """One line."""
        return f"boundary IoU ({self.ratio:g} of the diagonal): {percent(mean_of_present(self.iou))} %"


class BoundaryF:
    """How many contour pixels lie near a contour of the same class: precision, recall, and their harmonic mean.

    A contour pixel of a class has a pixel of another class beside, above or below it. Precision is the share of the
    predicted ones that have a true one of the same class within `tolerance` (Euclidean), recall the converse. The edge
    of an ignored area is no true contour; a predicted contour pixel within `tolerance` of an ignored pixel is not
    judged, since what lies there is not known. The picture's frame is no contour.

    Args:
        classes: the data's.
        tolerance: in pixels of the masks.
    """

    name = "boundary_f"

    def __init__(self, classes: Classes, *, tolerance: float = 3) -> None:
        if not 0 <= tolerance <= 100:
            raise FeathersegError("boundary F: tolerance", expected="pixels, 0..100", got=tolerance)
        self.classes = classes
        self.tolerance = tolerance
        count = len(classes)
        self.found, self.right, self.true, self.met = (np.zeros(count, np.int64) for _ in range(4))

    def __call__(self, judged: Judged) -> None:
        """Add one picture."""
        target = judged.sample.mask
        labelled = target != self.classes.ignore_index
        true, found = contour(target, labelled), contour(judged.mask)
        unknown = np.where(labelled, NO_CONTOUR, 0).astype(np.uint8)

        y, x = np.nonzero(found != NO_CONTOUR)
        if not labelled.all():
            judgeable = ~near_same(y, x, np.zeros(len(y), np.uint8), unknown, self.tolerance)
            y, x = y[judgeable], x[judgeable]
        label = found[y, x]
        self.found += self._count(label)
        self.right += self._count(label[near_same(y, x, label, true, self.tolerance)])

        y, x = np.nonzero(true != NO_CONTOUR)
        label = true[y, x]
        self.true += self._count(label)
        self.met += self._count(label[near_same(y, x, label, found, self.tolerance)])

    def _count(self, labels: Any) -> Any:
        return np.bincount(labels, minlength=len(self.classes))

    @property
    def precision(self) -> Fractions:
        """Share of the predicted contour pixels with a true one near, (C,)."""
        return ratio(self.right.astype(np.float64), self.found)

    @property
    def recall(self) -> Fractions:
        """Share of the true contour pixels with a predicted one near, (C,)."""
        return ratio(self.met.astype(np.float64), self.true)

    @property
    def f(self) -> Fractions:
        """2 p r / (p + r) per class, (C,); zero where only one of the two has contours, NaN where neither has."""
        precision, recall = np.nan_to_num(self.precision), np.nan_to_num(self.recall)
        total = precision + recall
        f = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        return np.where(self.found + self.true > 0, f, np.nan)

    def to_json(self) -> dict[str, Any]:
        """The mean F over the classes that occur, and each class's three numbers."""
        return {
            "tolerance": self.tolerance,
            "mean": json_number(mean_of_present(self.f)),
            "per_class": by_name(self.classes, self.f),
            "precision": by_name(self.classes, self.precision),
            "recall": by_name(self.classes, self.recall),
        }

    def columns(self) -> dict[str, Fractions]:
        """One."""
        return {"contour F": self.f}

    def text(self) -> str:
        """One line."""
        return f"boundary F-score (within {self.tolerance:g} pixels): {percent(mean_of_present(self.f))} %"
