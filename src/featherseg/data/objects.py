"""What the classes of a split are made of: pixels, pictures, objects; and the weights that losses draw from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.data.components import connected_parts
from featherseg.data.masks import Mask

COUNTED_PIXELS = 1 << 18
"""Objects are counted in a mask of no more pixels than this; larger ones are thinned out by a whole factor."""


class Objects(NamedTuple):
    """The connected regions of equal label in one mask, the ignored ones too.

    Attributes:
        labels: uint8 (N,).
        sizes: (N,) in pixels of the whole mask.
        factor: one row and column of so many was looked at.
    """

    labels: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int64]
    factor: int


class ClassCount(NamedTuple):
    """One class in a split.

    Attributes:
        share: of the labelled pixels.
        pictures: that show it.
        objects: connected regions.
        median_size: of those, in pixels; None without any.
        weight: 1 / ln(share + 1.02), the weight of wcel.
        alpha, gamma: the weight and the exponent of owfl; None where no class occurs at all.
    """

    name: str
    pixels: int
    share: float
    pictures: int
    objects: int
    median_size: float | None
    weight: float
    alpha: float | None
    gamma: float | None


def count_labels(mask: Mask) -> dict[int, int]:
    """Label -> its pixels."""
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}


def find_objects(mask: Mask) -> Objects:
    """Regions of equal label, whose pixels touch by side or corner."""
    factor = max(1, math.ceil(math.sqrt(mask.size / COUNTED_PIXELS)))
    parts = connected_parts(np.ascontiguousarray(mask[::factor, ::factor]))
    return Objects(parts.label, parts.area * factor**2, factor)


def count_classes(
    names: Sequence[str], masks: Iterable[tuple[dict[int, int], Objects | None]]
) -> tuple[ClassCount, ...]:
    """The classes over masks that were counted one by one."""
    from featherseg.losses import frequency_weights, object_weights  # brings torch, which looking at files never needs

    pixels = [0] * len(names)
    pictures = [0] * len(names)
    sizes: list[list[npt.NDArray[np.int64]]] = [[] for _ in names]
    for labels, objects in masks:
        for label, count in labels.items():
            if label < len(names):
                pixels[label] += count
                pictures[label] += 1
                if objects is not None:
                    sizes[label].append(objects.sizes[objects.labels == label])
    total = max(1, sum(pixels))
    shares = [count / total for count in pixels]
    weights = frequency_weights(shares)
    alphas, gammas = object_weights(shares) if any(shares) else ([None] * len(names), [None] * len(names))
    joined = [np.concatenate(parts) if parts else np.zeros(0, np.int64) for parts in sizes]
    return tuple(
        ClassCount(
            name=name,
            pixels=pixels[label],
            share=shares[label],
            pictures=pictures[label],
            objects=len(joined[label]),
            median_size=float(np.median(joined[label])) if len(joined[label]) else None,
            weight=weights[label],
            alpha=alphas[label],
            gamma=gammas[label],
        )
        for label, name in enumerate(names)
    )
