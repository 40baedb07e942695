"""Judged pictures from label maps, for tests of measures."""

from __future__ import annotations

import numpy as np

from featherseg.data import Sample
from featherseg.evaluation import Judged
from featherseg.metrics import confusion_matrix
from featherseg.runtime import Classes


def classes(count: int) -> Classes:
    return Classes(names=tuple(f"class{index}" for index in range(count)))


def judged(target: np.ndarray, mask: np.ndarray, count: int) -> Judged:
    target, mask = np.asarray(target, np.uint8), np.asarray(mask, np.uint8)
    sample = Sample(np.zeros((*target.shape, 3), np.uint8), target, "picture")
    return Judged(sample=sample, mask=mask, confusion=confusion_matrix(mask, target, count))


def blobs(rng: np.random.Generator, height: int, width: int, count: int, *, ignored: bool = False) -> np.ndarray:
    """Random rectangles of labels, the last of them ignored on request."""
    labels = np.zeros((height, width), np.uint8)
    for _ in range(8):
        top, left = rng.integers(height), rng.integers(width)
        labels[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = rng.integers(count)
    if ignored:
        top, left = rng.integers(height), rng.integers(width)
        labels[top : top + 4, left : left + 5] = 255
    return labels
