"""Labelled pictures as a list of files that can be read in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.data.masks import Fault, Mask, MaskReader, Pair
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import PICTURE_SUFFIXES, picture_size, read_image

Image = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]  # (done, of how many)


class Sample(NamedTuple):
    """One labelled picture: uint8 (H,W,3) RGB, uint8 (H,W) class ids with `ignore_index`, and its file name."""

    image: Image
    mask: Mask
    name: str


class Inspected(NamedTuple):
    """One pair as it is, faults and all.

    Attributes:
        image: uint8 (H,W,3); None where it cannot be read.
        ids: uint8 (h,w) class ids of the data set, before any choice of classes; None where nothing can be read.
        faults: what is wrong; empty for a sound pair.
    """

    image: Image | None
    ids: Mask | None
    faults: tuple[Fault, ...]


@dataclass(frozen=True, kw_only=True)
class SegData:
    """One split of a labelled data set.

    Attributes:
        name: the format it was read as.
        root: its folder.
        split: "train", "val" ...
        classes: what the ids mean.
        pairs: the files, in a fixed order; a picture without labels has no mask.
        masks: reads the labels of a picture.
        unpaired: pictures that lack their mask in a labelled split, masks that lack their picture.
        terms: what the data may be used for, as far as it is known.
        allowed: kinds of fault that are none here.
        choice: uint8 (256,) from the data set's ids to those of the chosen classes; None for all classes.
        decoded: the pictures themselves, where they are kept in memory.
    """

    name: str
    root: Path
    split: str
    classes: Classes
    pairs: tuple[Pair, ...]
    masks: MaskReader
    unpaired: tuple[Fault, ...] = ()
    terms: str = ""
    allowed: tuple[str, ...] = ()
    choice: Mask | None = None
    decoded: tuple[Sample, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def labelled(self) -> bool:
        """Whether the pictures of this split have labels."""
        return any(pair.mask is not None for pair in self.pairs)

    def name_of(self, index: int) -> str:
        """The picture's file name without suffix; of a part of a picture also where it begins."""
        pair = self.pairs[index]
        return pair.image.stem if pair.window is None else f"{pair.image.stem}_y{pair.window[0]}_x{pair.window[1]}"

    def read(self, index: int) -> Sample:
        """The picture and its class ids, decoded and checked; a faulty pair is refused by name."""
        if self.decoded:
            return self.decoded[index]
        pair = self.pairs[index]
        found = self.inspect(index)
        if found.faults:
            raise found.faults[0].error()
        assert found.image is not None
        assert found.ids is not None
        image, ids = found.image, found.ids
        if pair.window is not None:
            top, left, height, width = pair.window
            part = slice(top, top + height), slice(left, left + width)
            image, ids = image[part], ids[part]
        if self.choice is not None:
            ids = self.choice[ids]
        return Sample(image, ids, self.name_of(index))

    def labelled_pair(self, index: int) -> Pair:
        """The pair, refused where the picture has no labels."""
        pair = self.pairs[index]
        if pair.mask is None:
            raise FeathersegError(
                f"{self.root}: the {self.split} split has no labels", expected=f"a mask for {pair.image}"
            )
        return pair

    def inspect(self, index: int) -> Inspected:
        """The pair as it is, with every fault of its own."""
        pair = self.labelled_pair(index)
        faults: list[Fault] = []
        image: Image | None = None
        try:
            image = read_image(pair.image)
        except FeathersegError as error:
            faults.append(Fault(pair.image, "unreadable", str(error).removeprefix(f"{pair.image}: ")))
        size = (image.shape[0], image.shape[1]) if image is not None else (0, 0)
        mask = pair.mask
        assert mask is not None
        if image is None and not mask.is_file():
            return Inspected(None, None, tuple(faults))
        read = self.masks.read(pair, size)
        faults += read.faults
        if read.ids is not None:
            if image is not None and read.ids.shape != size:
                faults.append(Fault(mask, "size-mismatch", size_detail(pair.image.name, image.shape, read.ids.shape)))
            doubtful = any(fault.kind == "binary-mask" for fault in faults)
            if not doubtful and (read.ids == self.masks.classes.ignore_index).all():
                faults.append(Fault(mask, "all-ignore", "no pixel has a class"))
        return Inspected(image, read.ids, tuple(fault for fault in faults if fault.kind not in self.allowed))

    def choose(self, names: Sequence[str]) -> SegData:
        """The same pictures with only these classes, which get ids in this order; every other one is ignored."""
        for name in names:
            refuse_unknown(f"{self.root}: data.classes", name, self.classes.names)
        old = [self.classes.names.index(name) for name in names]
        chosen = Classes(names=tuple(names), palette=tuple(self.classes.palette[index] for index in old))
        choice = np.full(256, chosen.ignore_index, np.uint8)
        choice[old] = np.arange(len(old))
        return replace(self, classes=chosen, choice=choice)

    def labels(self, index: int) -> Mask:
        """The class ids alone; of the picture no more than its size is read."""
        if self.decoded:
            return self.decoded[index].mask
        pair = self.labelled_pair(index)
        found = self.masks.read(pair, picture_size(pair.image))
        faults = [fault for fault in found.faults if fault.kind not in self.allowed]
        if faults or found.ids is None:
            raise (faults or found.faults)[0].error()
        return found.ids if self.choice is None else self.choice[found.ids]

    def without_windows(self) -> SegData:
        """Each picture once and whole, where it comes in parts; the data themselves otherwise."""
        if not any(pair.window for pair in self.pairs):
            return self
        return replace(self, pairs=tuple(dict.fromkeys(pair._replace(window=None) for pair in self.pairs)), decoded=())

    def every(self, step: int, first: int) -> SegData:
        """Each step-th picture from the first on: one process' share."""
        return replace(self, pairs=self.pairs[first::step], decoded=self.decoded[first::step])

    def in_memory(self, progress: Progress | None = None) -> SegData:
        """The same data with every picture decoded, and so checked, once and for all."""
        samples = []
        for index in range(len(self)):
            samples.append(self.read(index))
            if progress is not None:
                progress(index + 1, len(self))
        return replace(self, decoded=tuple(samples))


def size_detail(name: str, picture: tuple[int, ...], mask: tuple[int, ...]) -> str:
    """The words of a size mismatch, sizes as width x height."""
    return (
        f"the mask's size differs from that of its picture {name}; "
        f"expected {picture[1]}x{picture[0]}; got {mask[1]}x{mask[0]}"
    )  # fmt: skip


class Paired(NamedTuple):
    """The pairs of a split, and the files that have no partner."""

    pairs: tuple[Pair, ...]
    unpaired: tuple[Fault, ...]


def pair_up(images: Path, masks: Path, *, split: str) -> Paired:
    """Every picture of a folder with the mask of the same stem; without a folder of masks the split is unlabelled.

    Errors: a folder of pictures that is missing or holds none.
    """
    if not images.is_dir():
        raise FeathersegError(f"{images}: there is no such folder", expected=f"the {split} split's files in it")
    pictures = pictures_in(images)
    if not pictures:
        raise FeathersegError(f"{images}: no picture in it", expected=f"files ending in {' '.join(PICTURE_SUFFIXES)}")
    if not masks.is_dir():
        return Paired(tuple(Pair(image, None) for image in pictures), ())
    by_stem: dict[str, Path] = {}
    for mask in sorted(pictures_in(masks), key=lambda path: path.suffix.lower() != ".png"):
        by_stem.setdefault(mask.stem, mask)
    return match([(image.stem, image) for image in pictures], by_stem, images=images, labels=masks, ending=".png")


def match(
    pictures: Sequence[tuple[str, Path]], files: Mapping[str, Path], *, images: Path, labels: Path, ending: str
) -> Paired:
    """Pictures and label files that share a name; `images`, `labels` and `ending` say where the missing ones belong."""
    pairs = tuple(Pair(image, files[name]) for name, image in pictures if name in files)
    alone = [
        Fault(image, "unpaired", f"its mask is missing; expected {labels / name}{ending}")
        for name, image in pictures
        if name not in files
    ]
    known = {name for name, _ in pictures}
    alone += [
        Fault(file, "unpaired", f"its picture is missing; expected one in {images}")
        for name, file in sorted(files.items())
        if name not in known
    ]
    return Paired(pairs, tuple(alone))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, sorted; hidden ones are left aside."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def class_frequencies(data: SegData, progress: Progress | None = None) -> tuple[float, ...]:
    """Share of each class among the labelled pixels of whole pictures, from one pass over the masks."""
    counts = np.zeros(256, np.int64)
    whole = data.without_windows()
    for index in range(len(whole)):
        counts += np.bincount(whole.labels(index).ravel(), minlength=256)
        if progress is not None:
            progress(index + 1, len(whole))
    labelled = counts[: len(data.classes)]
    if not labelled.sum():
        raise FeathersegError(f"{data.root}: no pixel of the {data.split} split has a class", expected="labelled masks")
    return tuple(float(share) for share in labelled / labelled.sum())
