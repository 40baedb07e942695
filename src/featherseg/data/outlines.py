"""Outlines -> class ids, for the formats that keep labels in text: coco, labelme, yolo.

Coordinates are (x, y) from the picture's upper left corner, and pixel (0, 0) is the square from 0 to 1: a box from 2 to
5 covers three pixels. Shapes are run lengths, COCO's RLE: painting one costs as its height and width, not as the
picture's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.data.masks import Fault, Mask
from featherseg.runtime.errors import FeathersegError

Runs = npt.NDArray[np.int64]
"""Run lengths down the columns of a picture, left to right: pixels outside, inside, outside ..."""

BACKGROUND = "background"
LARGEST = 2**28
"""Pixels of the largest picture that a label file may claim; more is a slip of the pen that would fill the memory."""


class BadOutline(ValueError):
    """What is wrong with one outline, in words."""


class Shape(NamedTuple):
    """The pixels of one labelled thing.

    Attributes:
        runs: run lengths.
        label: their class id.
    """

    runs: Runs
    label: int


def from_polygons(rings: Sequence[Sequence[float]], size: tuple[int, int]) -> Runs:
    """The pixels inside any of the rings [x1, y1, x2, y2 ...]."""
    from pycocotools import mask as rle

    flat = [points_of(ring, size, least=3).ravel().tolist() for ring in rings]
    if not flat:
        raise BadOutline("no outline")
    return np.array(run_lengths(rle.merge(rle.frPyObjects(flat, *size))["counts"]), np.int64)


def from_runs(counts: object, runs_size: object, size: tuple[int, int]) -> Runs:
    """COCO's run lengths, as a list or as the compressed string."""
    if not isinstance(runs_size, (list, tuple)) or tuple(runs_size) != size:
        raise BadOutline(f"run lengths of size {runs_size} in a picture of {list(size)} (height, width)")
    runs = run_lengths(counts) if isinstance(counts, (str, bytes)) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise BadOutline("run lengths that are no whole numbers")
    if sum(runs) != size[0] * size[1]:
        raise BadOutline(f"run lengths that make {sum(runs)} pixels of {size[0] * size[1]}")
    return np.array(runs, np.int64)


def from_pixels(inside: npt.NDArray[np.bool_]) -> Runs:
    """A mask (H,W) as run lengths."""
    flat = np.concatenate([[False], inside.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(edges, prepend=0, append=inside.size)


def run_lengths(text: str | bytes) -> list[int]:
    """COCO's compressed string: five bits a character from 48 on, the sixth says that more follow.

    From the fourth on, a run is written as its difference from the last but one.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text.encode("utf-8") if isinstance(text, str) else text:
        part = byte - 48
        if not 0 <= part < 64 or shift > 30:
            raise BadOutline("a string that is no run lengths")
        value |= (part & 31) << shift
        shift += 5
        if not part & 32:
            value -= (part & 16 and 1) << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise BadOutline("a string of run lengths that is cut off")
    return counts


def points_of(values: object, size: tuple[int, int], *, least: int) -> npt.NDArray[np.float64]:
    """(N,2) points x, y; refused where they are no numbers, too few, or farther outside than the picture is large."""
    try:
        points = np.asarray(values, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadOutline("coordinates that are no pairs of numbers") from error
    if len(points) < least:
        raise BadOutline(f"an outline of {len(points)} points; expected {least} or more")
    frame = np.array([size[1], size[0]])
    if not np.isfinite(points).all() or (points < -frame).any() or (points > 2 * frame).any():
        raise BadOutline(f"a point far outside the picture of {size[1]}x{size[0]}")
    return points


def paint(shapes: Sequence[Shape], size: tuple[int, int]) -> Mask:
    """Class ids (H,W), 0 where no shape is; later shapes lie over earlier ones."""
    columns = np.zeros(size[0] * size[1], np.uint8)
    for shape in shapes:
        ends = shape.runs.cumsum()
        for start, end in zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=False):
            columns[start:end] = shape.label
    return np.ascontiguousarray(columns.reshape(size[1], size[0]).T)


def largest_first(shapes: Sequence[Shape]) -> list[Shape]:
    """By area, so that small things painted later stay on top of the large ones."""
    return sorted(shapes, key=lambda shape: -int(shape.runs[1::2].sum()))


def checked_size(height: object, width: object) -> tuple[int, int]:
    """A picture's size as a label file gives it."""
    if type(height) is int and type(width) is int and 0 < height <= LARGEST and 0 < width <= LARGEST // height:
        return height, width
    raise BadOutline(f"a picture of {width}x{height} pixels")


def with_background(names: Iterable[str], path: Path) -> tuple[str, ...]:
    """Each name once, background first: nobody outlines it, and what no outline covers is of it.

    Raises:
        FeathersegError: where there are more than 255 classes; names their file.
    """
    found = (BACKGROUND, *dict.fromkeys(name for name in names if not is_background(name)))
    if len(found) > 255:
        raise FeathersegError(f"{path}", expected="255 classes or fewer, with background", got=len(found))
    return found


def is_background(name: str) -> bool:
    """Whether a class is what lies behind all others."""
    return name.strip("_").casefold() == BACKGROUND


def faults_of(path: Path, notes: Sequence[tuple[str, str]]) -> tuple[Fault, ...]:
    """Notes (kind, detail) on one label file as one fault of each kind: the first, and how many more there are."""
    kinds = dict.fromkeys(kind for kind, _ in notes)
    faults = []
    for kind in kinds:
        details = [detail for other, detail in notes if other == kind]
        more = f", and {len(details) - 1} more" if len(details) > 1 else ""
        faults.append(Fault(path, kind, f"{details[0]}{more}"))
    return tuple(faults)
