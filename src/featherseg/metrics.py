"""Scores of a segmentation, all read off one confusion matrix over the whole data set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

Counts = npt.NDArray[np.int64]
Fractions = npt.NDArray[np.float64]

RUN_COST = 4
"""A run of equal pixels costs about as much to count as four pixels one by one (measured at 1 to 50 pixels a run)."""


def confusion_matrix(
    mask: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], num_classes: int, *, ignore_index: int = 255
) -> Counts:
    """Pixel counts (C,C): rows are the truth, columns the prediction; where the truth is `ignore_index` nothing counts.

    `mask` and `target` are uint8 of the same shape; a label that is no class and not ignored is an error.
    """
    if mask.shape != target.shape:
        raise FeathersegError("mask and target", expected="the same shape", got=f"{mask.shape} and {target.shape}")
    if mask.max(initial=0) >= num_classes:
        raise FeathersegError("predicted labels", expected=f"0..{num_classes - 1}", got=int(mask.max()))
    # One code per pixel in 16 bits, and a row of bins for every value a target can have.
    codes = (target.astype(np.uint16) * np.uint16(num_classes) + mask).ravel()
    counts = count_codes(codes, 256 * num_classes).reshape(256, num_classes)
    counts[ignore_index] = 0
    strays = np.flatnonzero(counts[num_classes:].any(axis=1))
    if len(strays):
        allowed = f"0..{num_classes - 1} or {ignore_index}"
        raise FeathersegError("true labels", expected=allowed, got=num_classes + int(strays[0]))
    return counts[:num_classes].astype(np.int64)


def count_codes(codes: npt.NDArray[np.uint16], bins: int) -> Counts:
    """How often each code 0..bins-1 occurs; counted by runs of equal codes, which label maps are made of.

    One by one, equal neighbours wait for each other's bin. Where codes change too often for runs, they do not.
    """
    changes = codes[1:] != codes[:-1]
    if np.count_nonzero(changes) * RUN_COST >= codes.size:
        return np.bincount(codes, minlength=bins).astype(np.int64)
    last = np.append(np.flatnonzero(changes), codes.size - 1)  # the last pixel of each run
    lengths = np.diff(last, prepend=-1)
    return np.bincount(codes[last], weights=lengths, minlength=bins).astype(np.int64)  # float64 holds them exactly


@dataclass(frozen=True, eq=False)
class Scores:
    """What a confusion matrix says, as fractions 0..1.

    A class absent from truth and prediction has no score (NaN), is left out of the means and is named in `absent`.

    Attributes:
        confusion: int64 (C,C), rows truth, columns prediction.
        classes: the classes' names.
    """

    confusion: Counts
    classes: Classes

    @cached_property
    def iou(self) -> Fractions:
        """Intersection over union per class, (C,)."""
        return iou_of(np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0))

    @cached_property
    def recall(self) -> Fractions:
        """Pixel accuracy of each class, (C,); NaN where the truth lacks the class."""
        hit, truth = np.diag(self.confusion).astype(np.float64), self.confusion.sum(1)
        return ratio(hit, truth)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur (mIoU)."""
        return mean_of_present(self.iou)

    @property
    def class_accuracy(self) -> float:
        """Mean of the classes' pixel accuracies (mPA)."""
        return mean_of_present(self.recall)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels that are right (PA)."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    @property
    def fwiou(self) -> float:
        """Mean IoU weighted by how often each class occurs in the truth (fwIoU)."""
        truth = self.confusion.sum(1)
        if not truth.sum():
            return float("nan")
        return float(np.nansum(self.iou * truth) / truth.sum())

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that neither truth nor prediction holds."""
        return tuple(name for name, iou in zip(self.classes.names, self.iou, strict=True) if np.isnan(iou))

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values; a class without a score is null."""
        per_class = {
            name: None if np.isnan(iou) else round(float(iou), 6)
            for name, iou in zip(self.classes.names, self.iou, strict=True)
        }
        return {
            "miou": json_number(self.miou),
            "pixel_accuracy": json_number(self.pixel_accuracy),
            "class_accuracy": json_number(self.class_accuracy),
            "fwiou": json_number(self.fwiou),
            "iou": per_class,
            "absent": list(self.absent),
            "pixels": int(self.confusion.sum()),
        }


def iou_of(hit: Counts, truth: Counts, found: Counts) -> Fractions:
    """hit / (truth + found - hit), of any shape: pixels of a class that are right, that are it, that are said to be."""
    return ratio(hit.astype(np.float64), truth + found - hit)


def ratio(part: Fractions, whole: Counts) -> Fractions:
    """part / whole, of any shape; NaN where the whole is nothing."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def mean_of_present(values: Fractions) -> float:
    """Mean of the values that are no NaN; NaN where there is none."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def means_of_present(values: Fractions) -> Fractions:
    """`mean_of_present` of each row, (B,C) -> (B,)."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1))


def json_number(value: float) -> float | None:
    """A float that JSON can hold, to six places."""
    return None if np.isnan(value) else round(value, 6)
