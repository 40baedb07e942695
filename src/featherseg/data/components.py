"""The connected parts of a label map: pixels of one label that touch, also at their corners."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int64]


class Parts(NamedTuple):
    """The connected parts of a label map.

    Attributes:
        ids: (H,W), which part each pixel belongs to, 0..n-1 in the order of their first pixels.
        label: uint8 (n,), the label of each part.
        area: (n,), its pixels.
    """

    ids: Ids
    label: Labels
    area: Ids


def connected_parts(labels: Labels) -> Parts:
    """Label the parts, 8-connected. Runs of equal pixels in a row are joined where runs of two rows touch."""
    height, width = labels.shape
    begins = np.ones((height, width), bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(begins.ravel()).reshape(height, width) - 1
    first = np.flatnonzero(begins)  # the first pixel of each run
    part = _joined(len(first), *_touching(labels, run, begins))
    ids = part[run]
    length = np.diff(first, append=height * width)
    count = int(part.max(initial=-1)) + 1
    label = np.zeros(count, np.uint8)
    label[part] = labels.ravel()[first]
    return Parts(ids, label, np.bincount(part, weights=length, minlength=count).astype(np.int64))


def _touching(labels: Labels, run: Ids, begins: npt.NDArray[np.bool_]) -> tuple[Ids, Ids]:
    """Pairs of runs, one above the other, that belong together; each link is named about once."""
    above, below = labels[:-1], labels[1:]
    same = above == below
    same[:, 1:] &= begins[:-1, 1:] | begins[1:, 1:] | ~same[:, :-1]  # further along the same two runs it is no news
    # Diagonal links count only where neither of the two pixels between has the label, else they are there already.
    falling = (above[:, :-1] == below[:, 1:]) & begins[:-1, 1:] & begins[1:, 1:]
    rising = (above[:, 1:] == below[:, :-1]) & begins[:-1, 1:] & begins[1:, 1:]
    upper = [run[:-1][same], run[:-1, :-1][falling], run[:-1, 1:][rising]]
    lower = [run[1:][same], run[1:, 1:][falling], run[1:, :-1][rising]]
    return np.concatenate(upper), np.concatenate(lower)


def _joined(count: int, one: Ids, other: Ids) -> Ids:
    """Of `count` things joined by pairs, which group each belongs to: 0..n-1 in the order of their first members.

    Every root takes the lowest root that it is paired with as its parent, then paths are shortened, until all pairs
    have one root each; a handful of rounds (Shiloach and Vishkin 1982).
    """
    parent = np.arange(count)
    while True:
        one, other = parent[one], parent[other]
        apart = one != other
        if not apart.any():
            return np.asarray(np.unique(parent, return_inverse=True)[1], np.int64)
        one, other = one[apart], other[apart]
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))
        while (parent[parent] != parent).any():
            parent = parent[parent]
