"""What the classes of a split are made of: pixels, pictures, objects; and the weights that losses draw from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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
    """Regions of equal label, whose pixels touch by side or corner.

    Runs of equal label within a row are the nodes of a graph, runs of equal label that touch in the next row its
    edges. Every run takes the least number among its neighbours, and that one's number in turn, until all agree.
    """
    factor = max(1, math.ceil(math.sqrt(mask.size / COUNTED_PIXELS)))
    small = np.ascontiguousarray(mask[::factor, ::factor])
    starts = np.ones(small.shape, bool)
    starts[:, 1:] = small[:, 1:] != small[:, :-1]
    runs = np.cumsum(starts, dtype=np.int32).reshape(small.shape) - 1  # (h,w): the number of the run a pixel lies in
    root = np.arange(int(runs[-1, -1]) + 1)
    above, below = touching(small, starts, runs)
    while True:
        before = root.copy()
        least = np.minimum(root[above], root[below])
        np.minimum.at(root, root[above], least)
        np.minimum.at(root, root[below], least)
        while (root[root] != root).any():
            root = root[root]
        if (root == before).all():
            break
    _, first, inverse = np.unique(root, return_index=True, return_inverse=True)
    sizes = np.bincount(inverse, weights=np.bincount(runs.ravel())).astype(np.int64)
    return Objects(small[starts][first], sizes * factor**2, factor)


def touching(
    mask: Mask, starts: npt.NDArray[np.bool_], runs: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The runs of one row and of the next that have equal labels and touch.

    Two that share columns do so from a column on where one of them starts. Two that meet at a corner alone do so where
    one ends and the other starts.
    """
    pairs = [(runs[:-1], runs[1:], (mask[:-1] == mask[1:]) & (starts[:-1] | starts[1:]))]
    corner = starts[:-1, 1:] & starts[1:, 1:]
    pairs.append((runs[:-1, :-1], runs[1:, 1:], corner & (mask[:-1, :-1] == mask[1:, 1:])))
    pairs.append((runs[:-1, 1:], runs[1:, :-1], corner & (mask[:-1, 1:] == mask[1:, :-1])))
    above = [upper[where] for upper, _, where in pairs]
    below = [lower[where] for _, lower, where in pairs]
    return np.concatenate(above), np.concatenate(below)


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
