"""Where a picture's pixels lie among a network's scores, one axis at a time: the geometry of the bilinear resize."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]


class Box(NamedTuple):
    """A part of a frame in its pixels: where the picture lies in the network's input."""

    top: int
    left: int
    height: int
    width: int


class Span(NamedTuple):
    """One axis of a frame, and the part of it that the picture covers; all in pixels of the frame."""

    frame: int
    start: int
    length: int


@dataclass(frozen=True)
class Axis:
    """One axis of the resize, cut into cells: the runs of pixels that lie between the same two scores.

    Half a cell lies outside the first and the last score; both its corners are that score, which repeats the border
    just as clamping the coordinate does.

    Attributes:
        read: the scores from the first to the last that some pixel reads; `low` and `high` count from the first.
        low, high: (cells,) the score before and the score after the cell.
        count: (cells,) its pixels, 1 or more: a cell without a pixel is left out.
        fraction: float32 (pixels,), how far a pixel lies from low to high, 0..1.
        pixels: (most, cells) the pixels of each cell; a cell with fewer repeats its last one.
        fractions: float32 (most, cells), theirs.
    """

    read: slice
    low: Indices
    high: Indices
    count: Indices
    fraction: npt.NDArray[np.float32]
    pixels: Indices
    fractions: npt.NDArray[np.float32]

    @classmethod
    @lru_cache(maxsize=16)  # one picture is as large as the next
    def of(cls, scores: int, pixels: int, span: Span, *, align_corners: bool) -> Axis:
        """The axis of so many pixels, mapped onto the span of a frame that so many scores cover."""
        position = positions(scores, pixels, span, align_corners=align_corners)
        floor = np.floor(position).astype(np.intp)
        cells, start, count = np.unique(floor, return_index=True, return_counts=True)
        fraction = (position - floor).astype(np.float32)
        low, high = np.clip(cells, 0, scores - 1), np.clip(cells + 1, 0, scores - 1)
        of_cells = start + np.minimum(np.arange(count.max())[:, None], count - 1)
        return cls(
            read=slice(int(low[0]), int(high[-1]) + 1),
            low=low - low[0],
            high=high - low[0],
            count=count,
            fraction=fraction,
            pixels=of_cells,
            fractions=fraction[of_cells],
        )

    def pixels_of(self, cells: Indices) -> tuple[Indices, npt.NDArray[np.float32]]:
        """Pixels of n cells and their fractions, both (most, n)."""
        return np.take(self.pixels, cells, axis=1), np.take(self.fractions, cells, axis=1)

    def neighbours(self) -> tuple[Indices, Indices]:
        """Of every pixel the score before and the score after it, both (pixels,)."""
        return np.repeat(self.low, self.count), np.repeat(self.high, self.count)


def positions(scores: int, pixels: int, span: Span, *, align_corners: bool) -> npt.NDArray[np.float64]:
    """Where pixel centres fall among scores, of which the first lies at 0 and the last at scores - 1.

    Without `align_corners` the outer edges of scores and frame meet, and those of picture and span; with it the centres
    of their first and last members do. Products come before quotients, so that whole positions come out whole.
    """
    pixel = np.arange(pixels, dtype=np.float64)
    if align_corners:
        return (span.start + pixel * (span.length - 1) / max(pixels - 1, 1)) * (scores - 1) / max(span.frame - 1, 1)
    return (span.start + (pixel + 0.5) * span.length / pixels) * scores / span.frame - 0.5
