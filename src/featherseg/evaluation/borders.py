"""Where labels change: bands around borders, contours, and contour pixels that lie near another contour.

All of it is exact, and its time does not grow with the width of a band: a square of pixels has one label throughout
if and only if no two neighbours in it differ, and differences in a square are counted by four look-ups in a summed
table. Hence distances of bands are Chebyshev's, max(|dy|, |dx|), the distance of n erosions by a square of 3x3.
Contours are thin, so that they are compared point by point, at Euclidean distance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

NO_CONTOUR = 255
"""No class has this id: `Classes` holds at most 255 of them."""


def near_change(labels: Labels, radius: int) -> Flags:
    """Where a pixel of another label lies within `radius` of the pixel, in a square: bool (H,W); r < 1 is nowhere."""
    height, width = labels.shape
    near = np.zeros(labels.shape, bool)
    if radius < 1:
        return near
    rows, columns = _window(height, radius), _window(width, radius)
    # A change between pixels i and i+1 has the place i, so that the last pixel of a window begins no change in it.
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    near |= _counted(across, rows, (columns[0], columns[1] - 1)) > 0
    near |= _counted(down, (rows[0], rows[1] - 1), columns) > 0
    return near


def band(labels: Labels, radius: int) -> Flags:
    """`near_change`, where beyond the picture's frame there is another label too: bool (H,W)."""
    near = near_change(labels, radius)
    if radius > 0:
        near[:radius] = near[-radius:] = True
        near[:, :radius] = near[:, -radius:] = True
    return near


def contour(labels: Labels, labelled: Flags | None = None) -> Labels:
    """The label of each pixel that has another label beside, above or below it, NO_CONTOUR elsewhere: uint8 (H,W).

    Where `labelled` is false nothing is known: no contour lies there, and none comes about by a neighbour there.
    """
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    if labelled is not None:
        across &= labelled[:, 1:] & labelled[:, :-1]
        down &= labelled[1:] & labelled[:-1]
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.where(edge, labels, np.uint8(NO_CONTOUR))


def near_same(
    y: npt.NDArray[np.intp], x: npt.NDArray[np.intp], label: Labels, labels: Labels, radius: float
) -> npt.NDArray[np.bool_]:
    """Which of the points (y, x) have their own label in `labels` at a Euclidean distance of at most `radius`: (n,)."""
    margin = int(radius)
    there = np.pad(labels, margin, constant_values=NO_CONTOUR)
    found = np.zeros(len(y), bool)
    left = np.arange(len(y))  # the points that are still without a match
    for dy, dx in disk(radius):
        hit = there[y[left] + margin + dy, x[left] + margin + dx] == label[left]
        found[left[hit]] = True
        left = left[~hit]
    return found


def disk(radius: float) -> list[tuple[int, int]]:
    """The offsets (dy, dx) at a Euclidean distance of at most `radius`, the nearest first."""
    reach = range(-int(radius), int(radius) + 1)
    offsets = [(dy, dx) for dy in reach for dx in reach if dy * dy + dx * dx <= radius * radius]
    return sorted(offsets, key=lambda offset: offset[0] ** 2 + offset[1] ** 2)


def _window(length: int, radius: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First place and end (exclusive) of the window around each place of an axis, cut at its ends."""
    place = np.arange(length)
    return np.maximum(place - radius, 0), np.minimum(place + radius + 1, length)


def _counted(
    flags: Flags,
    rows: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    columns: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
) -> npt.NDArray[np.int32]:
    """How many flags lie in the rectangle of each row window and column window."""
    table = np.zeros((flags.shape[0] + 1, flags.shape[1] + 1), np.int32)
    np.cumsum(flags, axis=0, dtype=np.int32, out=table[1:, 1:])
    np.cumsum(table, axis=1, out=table)
    strips = table[rows[1]] - table[rows[0]]
    return np.asarray(strips[:, columns[1]] - strips[:, columns[0]])
