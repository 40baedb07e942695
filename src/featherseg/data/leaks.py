"""The same picture in two splits, whatever its name and its encoding.

A picture is remembered as a fingerprint of some 300 bytes. Pictures with equal pixels have equal digests. A copy that
was encoded anew (JPEG, WebP) has nearly the same small gray version; such pairs are read again and compared cell by
cell. JPEG of quality 75 moves the mean luma of an 8x8 cell by 0.9 at most (root mean square), neighbouring frames of
the CamVid film by 6.7 and more, so `CELL_RMS` lies between. Flat pictures have nothing to be told apart by: of them
only equal ones count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from featherseg.data.masks import Fault
from featherseg.data.samples import Image, Progress, SegData
from featherseg.runtime.pixels import read_image

SIDE = 16  # of the small gray version
CELL = 8  # pixels: the side of a JPEG block
THUMB_RMS, THUMB_MAX, THUMB_MEAN = 3.0, 14.0, 2.0  # what makes a pair worth reading again
CELL_RMS, CELL_MAX = 2.0, 10.0  # luma of 8x8 cells
CHROMA_RMS = 4.0  # chroma of 16x16 cells, which JPEG keeps at half the size
PIXEL_SHARE = 0.9  # of the luma's contrast: JPEG 75 of faint noise differs by 0.87, unrelated noise by 1.4
FLAT = 1.0  # a picture of less contrast is flat
ASPECT = 0.02  # relative; a copy may also be a smaller one
MOST = 8  # pairs read again for one picture


class Fingerprint(NamedTuple):
    """What is remembered of a picture.

    Attributes:
        digest: of size and pixels.
        size: (height, width).
        contrast: standard deviation of the luma.
        thumb: uint8 (16,16), the luma.
    """

    digest: bytes
    size: tuple[int, int]
    contrast: float
    thumb: npt.NDArray[np.uint8]


class Twin(NamedTuple):
    """A picture of an earlier split that a later one shows again."""

    split: str
    file: Path
    equal: bool


class Leak(NamedTuple):
    """A picture of a later split and its twins."""

    split: str
    file: Path
    twins: tuple[Twin, ...]

    def fault(self) -> Fault:
        """The leak in words."""
        first = self.twins[0]
        how = "" if first.equal else ", encoded anew"
        more = f" (and {len(self.twins) - 1} more)" if len(self.twins) > 1 else ""
        detail = f"the {first.split} split has the same picture{how}: {first.file}{more}"
        return Fault(self.file, "leak", detail)


@dataclass(frozen=True, kw_only=True)
class Album:
    """The pictures of one split: where they lie and how they look."""

    split: str
    files: tuple[Path, ...]
    prints: tuple[Fingerprint, ...]
    look: Callable[[int], Image]


def fingerprint(image: Image) -> Fingerprint:
    """uint8 (H,W,3) -> what is remembered of it."""
    height, width = image.shape[:2]
    digest = hashlib.blake2b(np.array([height, width]).tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    luma = PILImage.fromarray(image).convert("L")
    counts = np.array(luma.histogram(), np.float64)
    values = np.arange(256)
    mean = (counts * values).sum() / counts.sum()
    contrast = float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))
    cells = [min(SIDE, max(1, round(side / CELL))) for side in (width, height)]  # a cell is never below a JPEG block
    small = luma.resize((cells[0], cells[1]), PILImage.Resampling.BOX)
    thumb = np.array(small.resize((SIDE, SIDE), PILImage.Resampling.NEAREST))
    return Fingerprint(digest.digest(), (height, width), contrast, thumb)


def find_leaks(albums: Sequence[Album]) -> list[Leak]:
    """The pictures that an earlier album shows too, each once with all its twins; albums in the order of splits."""
    found: list[Leak] = []
    for place, later in enumerate(albums):
        twins: dict[int, list[Twin]] = {}
        for earlier in albums[:place]:
            for new, old, equal in twins_between(earlier, later):
                twins.setdefault(new, []).append(Twin(earlier.split, earlier.files[old], equal))
        found += [Leak(later.split, later.files[new], tuple(twins[new])) for new in sorted(twins)]
    return found


def twins_between(earlier: Album, later: Album) -> Iterator[tuple[int, int, bool]]:
    """(index in later, index in earlier, whether the pixels are equal)."""
    if not earlier.prints or not later.prints:
        return
    equal: dict[bytes, list[int]] = {}
    for old, old_print in enumerate(earlier.prints):
        equal.setdefault(old_print.digest, []).append(old)
    thumbs = np.stack([one.thumb for one in earlier.prints]).reshape(-1, SIDE * SIDE)
    means = thumbs.mean(axis=1)
    order = np.argsort(means, kind="stable")
    thumbs, means = thumbs[order], means[order]
    for new, new_print in enumerate(later.prints):
        same = equal.get(new_print.digest, [])
        yield from ((new, old, True) for old in same)
        if new_print.contrast < FLAT:
            continue
        mean = new_print.thumb.mean()
        low, high = np.searchsorted(means, (mean - THUMB_MEAN, mean + THUMB_MEAN))
        difference = np.abs(thumbs[low:high].astype(np.int16) - new_print.thumb.ravel().astype(np.int16))
        rms = np.sqrt((difference.astype(np.float32) ** 2).mean(axis=1))
        near = np.flatnonzero((rms <= THUMB_RMS) & (difference.max(axis=1, initial=0) <= THUMB_MAX))
        near = near[np.argsort(rms[near], kind="stable")]
        close = [old for old in order[low:high][near].tolist() if old not in same]
        close = [old for old in close if alike(earlier.prints[old], new_print)][:MOST]
        if close:
            picture = later.look(new)
            yield from ((new, old, False) for old in close if same_picture(earlier.look(old), picture))


def alike(old: Fingerprint, new: Fingerprint) -> bool:
    """Whether shape and contrast allow for the same picture."""
    if old.contrast < FLAT:
        return False
    if old.size == new.size:
        return True
    aspects = [size[0] / size[1] for size in (old.size, new.size)]
    return min(*old.size, *new.size) >= SIDE and abs(aspects[0] / aspects[1] - 1) <= ASPECT


def same_picture(first: Image, second: Image) -> bool:
    """Whether two pictures differ by no more than their encoding (or their size)."""
    small, large = sorted((first, second), key=lambda image: image.size)
    one, two = (PILImage.fromarray(image).convert("YCbCr") for image in (small, large))
    if one.size != two.size:
        two = two.resize(one.size, PILImage.Resampling.BOX)
    cells = difference_of_cells(one, two, CELL)[..., 0]
    if rms_of(cells) > CELL_RMS or np.abs(cells).max() > CELL_MAX:
        return False
    if rms_of(difference_of_cells(one, two, 2 * CELL)[..., 1:]) > CHROMA_RMS:
        return False
    lumas = [np.asarray(image.getchannel(0), np.float32) for image in (one, two)]
    return rms_of(lumas[0] - lumas[1]) <= PIXEL_SHARE * float(lumas[0].std())


def difference_of_cells(one: PILImage.Image, two: PILImage.Image, side: int) -> npt.NDArray[np.float32]:
    """(rows, columns, channels): how far the means of cells of `side` pixels lie apart."""
    size = (max(1, round(one.width / side)), max(1, round(one.height / side)))
    means = [np.asarray(image.resize(size, PILImage.Resampling.BOX), np.float32) for image in (one, two)]
    return means[0] - means[1]


def rms_of(difference: npt.NDArray[np.float32]) -> float:
    """The root of the mean square."""
    return float(np.sqrt((difference**2).mean()))


def refuse_leaks(train: SegData, val: SegData, progress: Progress | None = None) -> list[Fault]:
    """Raise for the first picture of `val` whose very pixels `train` has too.

    Pictures in memory are taken from there, others are read once.

    Returns:
        Pictures that look like one of `train` encoded anew, in the words of check-data: likely leaks, to be told;
        frames of a camera that stands still may look so, too.

    Raises:
        FeathersegError: the leak, in the words of check-data; or a picture that cannot be read.
    """
    if {"leak"} & {*train.allowed, *val.allowed}:
        return []
    total = sum(len(files_of(data)) for data in (train, val))
    albums, done = [], 0
    for data in (train, val):
        files = files_of(data)
        look = looker(data, files)
        prints = []
        for index in range(len(files)):
            prints.append(fingerprint(look(index)))
            done += 1
            if progress is not None:
                progress(done, total)
        albums.append(Album(split=data.split, files=files, prints=tuple(prints), look=look))
    leaks = find_leaks(albums)
    for leak in leaks:
        if any(twin.equal for twin in leak.twins):
            raise leak.fault().error()
    return [leak.fault() for leak in leaks]


def files_of(data: SegData) -> tuple[Path, ...]:
    """The picture files of a split, each once: parts of pictures share theirs."""
    return tuple(dict.fromkeys(pair.image for pair in data.pairs))


def looker(data: SegData, files: Sequence[Path]) -> Callable[[int], Image]:
    """Gives the picture of a file's index, from memory where it is whole there."""
    if data.decoded and all(pair.window is None for pair in data.pairs) and len(files) == len(data.decoded):
        return lambda index: data.decoded[index].image
    return lambda index: read_image(files[index])
