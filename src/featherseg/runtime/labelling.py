"""Scores at a network's stride to labels at picture size: the argmax of the bilinear resize, without the resize.

The usual tail resizes all C score maps to the picture and takes the argmax there. Nearly all of that work is wasted,
and this file leaves it out without changing the answer.

Write a resized pixel as its four neighbours' scores weighted by w1..w4, which are not negative and sum to 1. So:

1. A class that is highest at all four neighbours is highest at the pixel, for each term w_i * score is highest. All
   pixels between the same four neighbours are one *cell*; where the four corners agree, the whole cell has that label.
2. In the other cells a class never rises above its highest corner, and another never falls below its lowest. A class
   whose highest corner lies under some other's lowest corner wins nowhere in the cell. The rest are *candidates*.
3. Subtracting one candidate's scores from all others' changes no order, and interpolation is linear, so the first
   candidate stands at zero and the others' differences are interpolated: two candidates cost one interpolation.

Nothing here is an approximation. The answer can differ from a plain computation only where the two best classes lie
within float rounding of each other; where they are exactly equal the lower class id wins, as in argmax.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featherseg.runtime.axes import Axis, Box, Indices, Span
from featherseg.runtime.errors import FeathersegError

Scores = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

LARGEST_SCORE = 1e37
"""Beyond this a difference of two scores could overflow float32."""

PIXELS_AT_ONCE = 1 << 16
"""Pixels interpolated together: their float32 values stay in a core's cache, and memory is bounded."""

CELL_COST = 16
"""A boundary cell costs about as much as 16 pixels of the plain computation, plus one for every two of its pixels
(measured at 1 to 64 pixels a cell). Where boundaries fill the picture, as on noise at low ratios, plain is cheaper."""

CELLS_AT_ONCE = 1 << 12
"""Cells whose corner scores of all classes are gathered together."""


def label_scores(
    scores: npt.NDArray[np.floating],
    size: tuple[int, int],
    *,
    align_corners: bool = False,
    frame: tuple[int, int] | None = None,
    box: Box | tuple[int, int, int, int] | None = None,
) -> Labels:
    """The class with the highest bilinearly resized score at every pixel of a picture.

    Equals ``interpolate(scores, size, mode="bilinear", align_corners=align_corners).argmax(0)``, up and down, at any
    ratio.

    Args:
        scores: float32 (C,h,w), C of 1..256; other floats are converted.
        size: (H,W) of the labels.
        align_corners: whether the first and last scores lie on the centres of the first and last pixels (True), or the
            outer edges of scores and pixels meet (False).
        frame: (height, width) of the network's input, where the picture covers only a part of it; goes with `box`.
        box: (top, left, height, width) of that part in pixels of the frame. The picture, resized or not, is mapped onto
            the box and from there onto the scores: still one interpolation. None: the picture covers everything.

    Returns:
        uint8 (H,W).

    Raises:
        FeathersegError: on a wrong shape or type, and on scores that are not finite (or beyond 1e37).
    """
    scores = _checked(scores)
    size = _checked_size(size, "size")
    rows, columns = (
        Axis.of(places, pixels, span, align_corners=align_corners)
        for places, pixels, span in zip(scores.shape[1:], size, _spans(size, frame, box), strict=True)
    )
    scores = scores[:, rows.read, columns.read]  # all of them, unless the box leaves some out
    if size[0] * size[1] < scores[0].size:
        return _everywhere(scores, rows, columns)

    scores = np.ascontiguousarray(scores)
    corner, disagree = _corners(_highest(scores), rows, columns)
    if np.count_nonzero(disagree) * (CELL_COST + _most_pixels(rows, columns) / 2) > size[0] * size[1]:
        return _everywhere(scores, rows, columns)
    labels = np.repeat(np.repeat(corner, columns.count, axis=1), rows.count, axis=0)  # cells -> pixels (H, W)
    _settle(labels, scores, rows, columns, *np.nonzero(disagree))
    return labels


def _corners(top: Labels, rows: Axis, columns: Axis) -> tuple[Labels, npt.NDArray[np.bool_]]:
    """The label of each cell's first corner, and whether another corner disagrees; both (cell rows, cell columns)."""
    above, below = top[rows.low], top[rows.high]
    corner = above[:, columns.low]
    disagree = corner != above[:, columns.high]
    disagree |= corner != below[:, columns.low]
    disagree |= corner != below[:, columns.high]
    return corner, disagree


def _highest(scores: Scores) -> Labels:
    """argmax over C, (C,h,w) -> (h,w), the lowest id on equal scores. A running maximum over planes is the fastest."""
    best = scores[0].copy()
    label = np.zeros(best.shape, np.uint8)
    for index, plane in enumerate(scores):
        _challenge(label, best, plane, np.uint8(index))
    return label


def _settle(labels: Labels, scores: Scores, rows: Axis, columns: Axis, y: Indices, x: Indices) -> None:
    """Write the labels of the cells (y, x), whose corners disagree, into `labels`."""
    width = scores.shape[2]
    planes = scores.reshape(len(scores), -1)
    step = max(1, PIXELS_AT_ONCE // _most_pixels(rows, columns))
    for begin in range(0, len(y), CELLS_AT_ONCE):
        some_y, some_x = y[begin : begin + CELLS_AT_ONCE], x[begin : begin + CELLS_AT_ONCE]
        above, below = rows.low[some_y] * width, rows.high[some_y] * width
        left, right = columns.low[some_x], columns.high[some_x]
        places = np.stack([above + left, above + right, below + left, below + right])
        # no place is outside: without a check for that, taking them needs no copy and half the time
        corners = np.take(planes, places, axis=1, mode="clip")
        candidate = corners.max(axis=1) >= corners.min(axis=1).max(axis=0)  # (C, 4, n) -> (C, n): point 2 above

        # Cells with many candidates come first: those that have a k-th candidate are then always the first ones.
        counts = candidate.sum(axis=0, dtype=np.int16)
        order = np.argsort(-counts, kind="stable")
        ids = np.flatnonzero(candidate.T[order]) % len(planes)  # of the first cell ascending, then of the second, ...
        counts = counts[order]
        begins = np.cumsum(counts, dtype=np.intp) - counts
        for first in range(0, len(order), step):
            part = slice(first, first + step)
            cells = order[part]
            row, down = rows.pixels_of(some_y[cells])  # (pixel rows, n)
            column, across = columns.pixels_of(some_x[cells])  # (pixel columns, n)
            winner = _winners(corners, cells, ids, begins[part], counts[part], down, across)
            labels.reshape(-1)[(row * labels.shape[1])[:, None] + column] = winner


def _winners(
    corners: Scores,  # (C, 4, cells): above left, above right, below left, below right
    cells: Indices,  # (n,)
    ids: Indices,  # the candidates of all cells
    begins: Indices,  # (n,), where those of a cell begin
    counts: npt.NDArray[np.int16],  # (n,), how many they are; descending
    down: Scores,  # (pixel rows, n)
    across: Scores,  # (pixel columns, n)
) -> Labels:
    """The labels of n cells, (pixel rows, pixel columns, n)."""
    winner = np.empty((len(down), len(across), len(cells)), np.uint8)
    winner[:] = ids[begins]
    zero = corners[ids[begins], :, cells].T  # (4, n): the first candidate, against which all others are measured
    best = np.zeros(winner.shape, np.float32)
    for k in range(1, int(counts[0])):
        n = int(np.searchsorted(-counts, -k))  # cells 0..n-1 have more than k candidates
        challenger = ids[begins[:n] + k]
        above_left, above_right, below_left, below_right = corners[challenger, :, cells[:n]].T - zero[:, :n]
        left = above_left + down[:, :n] * (below_left - above_left)
        right = above_right + down[:, :n] * (below_right - above_right)
        value = across[:, :n] * (right - left)[:, None]
        value += left[:, None]
        _challenge(winner[:, :, :n], best[:, :, :n], value, challenger.astype(np.uint8))
    return winner


def _everywhere(scores: Scores, rows: Axis, columns: Axis) -> Labels:
    """The plain computation, class by class in bands of rows that stay in a core's cache."""
    (above, below), (left, right) = rows.neighbours(), columns.neighbours()
    labels = np.zeros((len(above), len(left)), np.uint8)
    band = max(1, PIXELS_AT_ONCE // len(left))
    for first in range(0, len(above), band):
        part = slice(first, first + band)
        read = np.union1d(above[part], below[part])
        upper, lower = np.searchsorted(read, above[part]), np.searchsorted(read, below[part])
        label = labels[part]
        best = np.full(label.shape, -np.inf, np.float32)
        for index, plane in enumerate(scores):
            some = plane[read]
            wide = _mixed(some[:, left], some[:, right], columns.fraction)  # (rows read, W)
            _challenge(label, best, _mixed(wide[upper], wide[lower], rows.fraction[part, None]), np.uint8(index))
    return labels


def _mixed(low: Scores, high: Scores, fraction: Scores) -> Scores:
    """low + fraction * (high - low), in the memory of `high`."""
    high -= low
    high *= fraction
    high += low
    return high


def _challenge(label: Labels, best: Scores, value: Scores, index: np.uint8 | Labels) -> None:
    """Where value is above best, it is the new best and index the label; ids come ascending, so the newer is larger."""
    higher = value > best  # not >=: on equal scores the lower id stays
    np.maximum(best, value, out=best)
    id_or_zero = higher.view(np.uint8)
    id_or_zero *= index
    np.maximum(label, id_or_zero, out=label)


def _most_pixels(rows: Axis, columns: Axis) -> int:
    """Of the largest cell."""
    return int(rows.count.max() * columns.count.max())


def _spans(
    size: tuple[int, int], frame: tuple[int, int] | None, box: Box | tuple[int, int, int, int] | None
) -> tuple[Span, Span]:
    """Down and across; without a box the picture is its own frame."""
    if frame is None and box is None:
        return Span(size[0], 0, size[0]), Span(size[1], 0, size[1])
    if frame is None or box is None:
        raise FeathersegError("label_scores", expected="frame and box together", got="one of them")
    frame, box = _checked_size(frame, "frame"), Box(*box)
    if box.top < 0 or box.left < 0 or box.top + box.height > frame[0] or box.left + box.width > frame[1]:
        raise FeathersegError("label_scores: box", expected=f"a part of the frame {frame}", got=tuple(box))
    _checked_size((box.height, box.width), "box")
    if (box.height, box.width) == frame:
        return Span(size[0], 0, size[0]), Span(size[1], 0, size[1])  # the same positions to the last bit
    return Span(frame[0], box.top, box.height), Span(frame[1], box.left, box.width)


def _checked(scores: npt.NDArray[np.floating]) -> Scores:
    scores = np.asarray(scores)
    if scores.ndim != 3 or not 1 <= scores.shape[0] <= 256 or scores.size == 0:
        raise FeathersegError("scores", expected="(C,h,w) with C of 1..256", got=f"shape {scores.shape}")
    if not np.issubdtype(scores.dtype, np.floating):
        raise FeathersegError("scores", expected="float32", got=scores.dtype)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        scores = scores.astype(np.float32, copy=False)
    if not (scores.min() > -LARGEST_SCORE and scores.max() < LARGEST_SCORE):  # false for NaN too
        raise FeathersegError(
            "scores", expected="finite numbers", got="NaN or infinity", remedy="the network or its input is broken"
        )
    return scores


def _checked_size(size: tuple[int, int], what: str) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise FeathersegError(f"label_scores: {what}", expected="(height, width) of 1 or more", got=tuple(size))
    return int(size[0]), int(size[1])
