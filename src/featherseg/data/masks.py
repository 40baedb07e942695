"""From a mask file to class ids, and every fault that a labelled picture can have: looked for in one place.

Reading raises the first fault it meets as an error; `featherseg check-data` collects them all. So both use the same
words.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.runtime.classes import Classes, Colour
from featherseg.runtime.decoding import RawMask, read_raw_mask
from featherseg.runtime.errors import FeathersegError

Mask = npt.NDArray[np.uint8]

FAULTS: dict[str, str] = {
    "unreadable": "copy the file again, or leave the pair out",
    "unpaired": "add the missing file, or take this one away",
    "size-mismatch": "export the masks at the pictures' size",
    "id-out-of-range": "correct the mask or the list of classes",
    "binary-mask": "write 1 instead of 255, or, where 255 does mean ignored, say allow: [binary-mask] in classes.yaml",
    "colour-mask": "convert the colours to ids, or name the colours in classes.yaml",
    "lossy-mask": "export the mask anew as PNG, without anti-aliasing",
    "all-ignore": "label it, or leave the pair out",
    "missing-class": "add pictures that show the class, or choose other classes by data.classes=",
    "leak": "leave the picture out of one of the two splits",
}
"""Kind of fault -> what to do about it."""

MAY_BE_RIGHT = ("binary-mask", "all-ignore", "missing-class", "leak")
"""Kinds of fault that a data set may have on purpose, and say so: `allow` in classes.yaml."""

MANY_COLOURS = 16
"""More strange colours than this in one mask come from blur, not from a forgotten class."""

BINARY_SHARE = 0.01
"""In a mask of 0 and 255 alone, a larger share of 255 than this is an object, not the ignored rim of one."""


GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
"""The palette of a gray picture."""


class Fault(NamedTuple):
    """One thing wrong with a data set.

    Attributes:
        file: what it is wrong with.
        kind: a key of `FAULTS`.
        detail: what was found, in words.
    """

    file: Path
    kind: str
    detail: str

    def error(self) -> FeathersegError:
        """The fault as what training raises."""
        return FeathersegError(f"{self.file}: {self.detail}", remedy=FAULTS[self.kind])


class Pair(NamedTuple):
    """The files of one labelled picture.

    Attributes:
        image: the picture.
        mask: the file that labels it, which several pictures may share (one JSON for a whole split); None where the
            picture has no labels.
        window: (top, left, height, width) where only a part of the picture is meant.
    """

    image: Path
    mask: Path | None
    window: tuple[int, int, int, int] | None = None


class MaskRead(NamedTuple):
    """What a mask file says.

    Attributes:
        ids: uint8 (H,W) class ids, at the mask's own size; what is no class is the ignore index. None where nothing
            can be made of the file.
        faults: what is wrong with it.
    """

    ids: Mask | None
    faults: tuple[Fault, ...] = ()


class MaskReader(ABC):
    """Reads the labels of pictures; `classes` says what the ids mean."""

    classes: Classes

    @abstractmethod
    def read(self, pair: Pair, size: tuple[int, int]) -> MaskRead:
        """The labels of one picture of this (height, width); faults are collected, never raised."""


class MaskFiles(MaskReader):
    """Masks that are picture files, one for each picture."""

    def read(self, pair: Pair, size: tuple[int, int]) -> MaskRead:
        """The labels of one picture."""
        path = pair.mask
        assert path is not None, "an unlabelled picture has nothing to read"
        try:
            raw = read_raw_mask(path)
        except FeathersegError as error:
            detail = str(error).removeprefix(f"{path}: ")
            return MaskRead(None, (Fault(path, "unreadable", detail),))
        if raw.lossy:
            return MaskRead(None, (Fault(path, "lossy-mask", "a mask in a lossy format (JPEG), which blurs labels"),))
        return self.interpret(path, raw)

    @abstractmethod
    def interpret(self, path: Path, raw: RawMask) -> MaskRead:
        """Pixels -> class ids."""


class IndexMasks(MaskFiles):
    """Masks whose values are indices, read by one look-up.

    Args:
        ids: mask value -> class id or ignore index.
        classes: what the ids mean.
        doubt_binary: whether a mask of 0 and 255 alone is more likely an object in white than one that is ignored.
    """

    def __init__(self, ids: Mapping[int, int], *, classes: Classes, doubt_binary: bool = False) -> None:
        self.table = np.full(256, -1, np.int16)
        self.table[list(ids)] = list(ids.values())
        self.classes = classes
        self.doubt_binary = doubt_binary

    def interpret(self, path: Path, raw: RawMask) -> MaskRead:
        """Values -> class ids; 24 bits are a fault, though their ids are known where they are gray."""
        if raw.pixels.ndim == 2:
            return self.look_up(path, raw.pixels)
        gray = bool((raw.pixels == raw.pixels[..., :1]).all())
        detail = "a mask in 24-bit gray instead of one id per pixel" if gray else "a mask in colours without a table"
        ids = self.look_up(path, raw.pixels[..., 0]).ids if gray else None
        return MaskRead(ids, (Fault(path, "colour-mask", detail),))

    def look_up(self, path: Path, values: npt.NDArray[np.integer]) -> MaskRead:
        """(H,W) values -> class ids."""
        clipped = np.clip(values, -1, 256).astype(np.int16)  # -1 and 256 stand for all that 8 bits do not hold
        table = np.concatenate([self.table, np.array([-1, -1], np.int16)])  # index -1 and index 256
        found = table[clipped]
        ids = np.where(found < 0, self.classes.ignore_index, found).astype(np.uint8)
        if self.doubt_binary and is_binary(values, ignored=self.table[255] >= 0):
            share = float((values == 255).mean())
            detail = f"a mask of 0 and 255 alone ({100 * share:.1f} % are 255, which is no class)"
            return MaskRead(ids, (Fault(path, "binary-mask", detail),))
        if (found < 0).any():
            return MaskRead(ids, (self.strays(path, values, found < 0),))
        return MaskRead(ids)

    def strays(self, path: Path, values: npt.NDArray[np.integer], strange: npt.NDArray[np.bool_]) -> Fault:
        """The fault of values that are no class: the first pixel, and how often each value occurs."""
        row, column = (int(place) for place in np.argwhere(strange)[0])
        labels, counts = np.unique(values[strange], return_counts=True)
        listed = ", ".join(f"{label} ({count} px)" for label, count in zip(labels[:8], counts[:8], strict=True))
        more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
        allowed = " ".join(spans(np.flatnonzero(self.table >= 0).tolist()))
        detail = (
            f"label {int(values[row, column])} at pixel (x={column}, y={row}) is no class; expected {allowed}; "
            f"got {listed}{more}"
        )
        return Fault(path, "id-out-of-range", detail)


class ColourMasks(MaskFiles):
    """Colour-coded masks, in 24 bits, as a palette or in gray.

    A palette mask of which no colour but black is a class's holds ids, and so does a gray one whose values are ids and
    not all of them colours: black is in nearly every palette, and a small id is nearly black.

    Args:
        colours: RGB -> class id or ignore index.
        classes: what the ids mean.
        doubt_binary: as of `IndexMasks`, for masks that hold ids.
    """

    def __init__(self, colours: Mapping[Colour, int], *, classes: Classes, doubt_binary: bool = False) -> None:
        codes = sorted((r << 16 | g << 8 | b, label) for (r, g, b), label in colours.items())
        self.codes = np.array([code for code, _ in codes], np.uint32)
        self.labels = np.array([label for _, label in codes], np.uint8)
        self.classes = classes
        ids = {index: index for index in range(len(classes))} | {classes.ignore_index: classes.ignore_index}
        self.indices = IndexMasks(ids, classes=classes, doubt_binary=doubt_binary)

    def interpret(self, path: Path, raw: RawMask) -> MaskRead:
        """Colours -> class ids."""
        if raw.pixels.ndim == 3:
            return self.look_up(path, raw.pixels)
        if raw.palette is None and (raw.pixels.min() < 0 or raw.pixels.max() > 255):  # 16 bits and more are no colours
            return self.indices.look_up(path, raw.pixels)
        colours = GRAYS if raw.palette is None else raw.palette
        shown = self.look_up(path, colours[raw.pixels])
        if not shown.faults:
            return shown
        held = self.indices.look_up(path, raw.pixels)
        if raw.palette is None and not held.faults:
            return held
        known = np.isin(codes_of(colours[np.unique(raw.pixels)]), self.codes[self.codes > 0]).any()
        return shown if known else held

    def look_up(self, path: Path, colours: npt.NDArray[np.integer]) -> MaskRead:
        """(H,W,3) -> class ids."""
        codes = codes_of(colours)
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        strange = self.codes[place] != codes
        ids = np.where(strange, self.classes.ignore_index, self.labels[place]).astype(np.uint8)
        if not strange.any():
            return MaskRead(ids)
        row, column = (int(at) for at in np.argwhere(strange)[0])
        kinds = len(np.unique(codes[strange]))
        detail = (
            f"colour {tuple(colours[row, column].tolist())} at pixel (x={column}, y={row}) is no class; "
            f"{kinds} such colour{'s' if kinds > 1 else ''}, {int(strange.sum())} px"
        )
        if kinds > MANY_COLOURS:
            return MaskRead(None, (Fault(path, "lossy-mask", f"{detail}, as blur leaves them"),))
        return MaskRead(ids, (Fault(path, "id-out-of-range", detail),))


def is_binary(values: npt.NDArray[np.integer], *, ignored: bool) -> bool:
    """Whether a mask holds 0 and 255 alone; where 255 means ignored, a thin rim of it does not count."""
    white = values == 255
    share = float(white.mean())
    return bool((BINARY_SHARE if ignored else 0) < share < 1 and (white | (values == 0)).all())


def spans(numbers: list[int]) -> list[str]:
    """[0, 1, 2, 255] -> ["0..2", "255"]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return [f"{span[0]}..{span[-1]}" if len(span) > 1 else str(span[0]) for span in found]


def codes_of(colours: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    """(...,3) RGB -> (...) one number each."""
    wide = colours.astype(np.uint32)
    return (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).astype(np.uint32, copy=False)
