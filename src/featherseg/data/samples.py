"""Labelled pictures as a list of files that can be read in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import PICTURE_SUFFIXES, read_image, read_mask

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]


class Pair(NamedTuple):
    """The files of one labelled picture."""

    image: Path
    mask: Path


class Sample(NamedTuple):
    """One labelled picture: uint8 (H,W,3) RGB, uint8 (H,W) class ids with `ignore_index`, and its file name."""

    image: Image
    mask: Mask
    name: str


@dataclass(frozen=True, kw_only=True)
class SegData:
    """One split of a labelled data set.

    Attributes:
        name: the format it was read as.
        root: its folder.
        split: "train", "val" ...
        classes: what the ids mean.
        pairs: the files, in a fixed order.
        decode: reads a mask file to uint8 (H,W) class ids; an id out of range is an error with file, value and pixel.
        terms: what the data may be used for, as far as it is known.
        decoded: the pictures themselves, where they are kept in memory.
    """

    name: str
    root: Path
    split: str
    classes: Classes
    pairs: tuple[Pair, ...]
    decode: Callable[[Path], Mask]
    terms: str = ""
    decoded: tuple[Sample, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> Sample:
        """The picture and its class ids, decoded and checked."""
        if self.decoded:
            return self.decoded[index]
        pair = self.pairs[index]
        image, mask = read_image(pair.image), self.decode(pair.mask)
        if image.shape[:2] != mask.shape:
            raise FeathersegError(
                f"{pair.mask}: the mask's size differs from its picture's",
                expected=f"{image.shape[1]}x{image.shape[0]}",
                got=f"{mask.shape[1]}x{mask.shape[0]}",
                remedy="export the masks at the pictures' size",
            )
        return Sample(image, mask, pair.image.stem)

    def in_memory(self) -> SegData:
        """The same data with every picture decoded, and so checked, once and for all."""
        return replace(self, decoded=tuple(self.read(index) for index in range(len(self))))


class IndexMasks:
    """Reads masks whose values are indices, by one look-up; a value without meaning is refused with file and pixel.

    Args:
        ids: mask value -> class id or ignore index.
        classes: what the ids mean.
    """

    def __init__(self, ids: dict[int, int], *, classes: Classes) -> None:
        self.table = np.full(256, -1, np.int16)
        self.table[list(ids)] = list(ids.values())
        self.classes = classes

    def __call__(self, path: Path) -> Mask:
        """A mask file -> uint8 (H,W) class ids."""
        raw = read_mask(path)
        ids = self.table[raw]
        if ids.min(initial=0) < 0:
            row, column = (int(place) for place in np.argwhere(ids < 0)[0])
            raise FeathersegError(
                f"{path}: label {int(raw[row, column])} at pixel (x={column}, y={row}) is no class",
                expected=f"0..{len(self.classes) - 1} or {self.classes.ignore_index} (ignore)",
                remedy="correct the mask or the list of classes",
            )
        return ids.astype(np.uint8)


def pair_up(images: Path, masks: Path, *, split: str, mask_suffix: str = ".png") -> tuple[Pair, ...]:
    """Every picture of a folder with the mask of the same stem; a missing folder or partner is refused by name."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise FeathersegError(f"{folder}: there is no such folder", expected=f"the {split} split's files in it")
    pairs = []
    for image in sorted(path for path in images.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES):
        mask = masks / f"{image.stem}{mask_suffix}"
        if not mask.is_file():
            raise FeathersegError(f"{image}: its mask is missing", expected=str(mask))
        pairs.append(Pair(image, mask))
    if not pairs:
        raise FeathersegError(f"{images}: no picture in it", expected=f"files ending in {' '.join(PICTURE_SUFFIXES)}")
    return tuple(pairs)


def class_frequencies(data: SegData) -> tuple[float, ...]:
    """Share of each class among the labelled pixels, from one pass over the data."""
    counts = np.zeros(256, np.int64)
    for index in range(len(data)):
        counts += np.bincount(data.read(index).mask.ravel(), minlength=256)
    labelled = counts[: len(data.classes)]
    if not labelled.sum():
        raise FeathersegError(f"{data.root}: no pixel of the {data.split} split has a class", expected="labelled masks")
    return tuple(float(share) for share in labelled / labelled.sum())
