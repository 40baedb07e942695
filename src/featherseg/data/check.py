"""One pass over a data set that finds every fault: those of a pair, those of a split, those between splits.

Pairs are inspected by the code that training reads with, so both find the same, in the same words. What is kept of a
pair is a few hundred bytes: its faults, its size, the pixels of each label, its objects, a fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from featherseg.data import detect_format, existing, list_splits, open_data
from featherseg.data.leaks import Album, Leak, find_leaks
from featherseg.data.looks import Looked, look_at_all
from featherseg.data.masks import Fault, IndexMasks
from featherseg.data.objects import ClassCount, count_classes
from featherseg.data.samples import Progress, SegData
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import read_image

FIXED_SPLITS = ("train", "val", "test")
NEEDS_EVERY_CLASS = ("train", "val", "all")  # what a class must occur in; "all" is a folder without splits


@dataclass(frozen=True, kw_only=True)
class CheckedSplit:
    """A split and what was remembered of its pairs."""

    data: SegData
    looks: tuple[Looked, ...]

    @property
    def name(self) -> str:
        """ "train", "val" ..."""
        return self.data.split

    @property
    def sizes(self) -> dict[str, int]:
        """WIDTHxHEIGHT -> pictures, the most frequent first."""
        found = Counter(f"{look.size[1]}x{look.size[0]}" for look in self.looks if look.size is not None)
        return dict(found.most_common())

    def count(self) -> tuple[ClassCount, ...]:
        """The classes in the sound masks."""
        masks = [(look.labels, look.objects) for look in self.looks if look.sound and look.labels is not None]
        return count_classes(self.data.classes.names, masks)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A data set after the pass.

    Attributes:
        format: the layout it was read in.
        classes: what the ids mean.
        splits: those that could be opened.
        faults: every one, split by split.
        leaks: the same picture in two splits; their faults are among `faults`.
        notes: what is no fault and yet worth knowing.
    """

    format: str
    root: Path
    classes: Classes
    splits: tuple[CheckedSplit, ...]
    faults: tuple[Fault, ...]
    leaks: tuple[Leak, ...]
    notes: tuple[str, ...]

    @property
    def counted(self) -> CheckedSplit | None:
        """The split whose classes are described: train, else the first that has labels."""
        labelled = [split for split in self.splits if split.data.labelled]
        return next((split for split in labelled if split.name == "train"), labelled[0] if labelled else None)


def check_data(
    root: Path | str,
    format: str = "auto",
    splits: Sequence[str] = (),
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Checked:
    """Look at every picture and mask.

    Args:
        root: the data's folder.
        format: its layout, as `open_data` takes it.
        splits: those to look at; empty for all.
        workers: processes that share the work where it is much; below 2 it is done in this one. As with all of
            Python's processes, a script that asks for them needs its `if __name__ == "__main__":`.
        progress: called after every picture.

    Raises:
        FeathersegError: for a folder that is missing, a split that is unknown, or when no split can be opened.
    """
    place = existing(root)
    name = detect_format(place) if format == "auto" else format
    known = list_splits(place, name)
    for split in splits:
        refuse_unknown("--split", split, known)
    order = sorted(splits or known, key=lambda split: (*FIXED_SPLITS, split).index(split))
    opened, broken = open_splits(place, name, dict.fromkeys(order))
    opened, notes = without_repeats(opened, asked=splits)
    seen = look_at_all(opened, workers=workers, progress=progress)
    looked = [CheckedSplit(data=data, looks=looks) for data, looks in zip(opened, seen, strict=True)]
    looked = [doubted(split) for split in looked] if is_binary_set(looked) else looked
    leaks = tuple(leak for leak in find_leaks([album_of(split) for split in looked]) if leak_counts(opened, leak))
    faults = list(broken)
    for one in looked:
        faults += one.data.unpaired
        faults += [fault for look in one.looks for fault in look.faults]
        faults += missing_classes(one)
        faults += [leak.fault() for leak in leaks if leak.split == one.name]
    return Checked(
        format=name,
        root=place,
        classes=opened[0].classes,
        splits=tuple(looked),
        faults=tuple(dict.fromkeys(faults)),
        leaks=leaks,
        notes=(*notes, *(note for split in looked for note in notes_of(split))),
    )


def open_splits(root: Path, format: str, splits: Sequence[str] | dict[str, None]) -> tuple[list[SegData], list[Fault]]:
    """The splits that open, and a fault for each that does not; an error where none does."""
    opened: list[SegData] = []
    faults: list[Fault] = []
    first: FeathersegError | None = None
    for split in splits:
        try:
            opened.append(open_data(root, format, split, faulty=True))
        except FeathersegError as error:
            first = first or error
            file, _, detail = str(error).partition(": ")
            inside = file.startswith(str(root)) and detail
            faults.append(Fault(Path(file) if inside else root, "unreadable", detail if inside else str(error)))
    if not opened:
        raise first or FeathersegError(f"{root}: no split in it", expected="train, val or test")
    return opened, faults


def without_repeats(opened: list[SegData], *, asked: Sequence[str]) -> tuple[list[SegData], list[str]]:
    """Leave out splits that only repeat pictures of others (trainval, crops), unless they are asked for by name."""
    kept, notes = [], []
    files = {data.split: {pair.image for pair in data.pairs} for data in opened}
    for data in opened:
        if any(pair.window is not None for pair in data.pairs):
            notes.append(f"{data.split}: left out, since its pictures are parts of other pictures")
        elif data.split not in (*FIXED_SPLITS, *asked) and any(
            files[data.split] > files[other.split] for other in opened
        ):
            notes.append(f"{data.split}: left out, since it only joins other splits")
        else:
            kept.append(data)
    if not kept:
        raise FeathersegError(
            f"{opened[0].root}: {opened[0].split} holds parts of pictures", expected="a split of whole pictures"
        )
    return kept, notes


def is_binary_set(splits: Sequence[CheckedSplit]) -> bool:
    """Whether a two-class set was labelled in 0 and 255: no mask of it holds label 1, and some hold 255."""
    labelled = [split for split in splits if split.data.labelled]
    for split in labelled:
        reader = split.data.masks
        if not isinstance(reader, IndexMasks) or not reader.doubt_binary or len(reader.classes) != 2:
            return False
        if reader.classes.ignore_index != 255:
            return False  # 255 is then no label at all, and every mask that holds it was found out
    found = [look.labels for split in labelled for look in split.looks if look.labels is not None]
    return not any(1 in labels for labels in found) and any({0, 255} == labels.keys() for labels in found)


def doubted(split: CheckedSplit) -> CheckedSplit:
    """A split of a binary set: a mask with little of 255 is none that is ignored there, either."""
    looks = []
    for look, pair in zip(split.looks, split.data.pairs, strict=True):
        if look.sound and look.labels is not None and look.labels.keys() == {0, 255} and pair.mask is not None:
            share = look.labels[255] / sum(look.labels.values())
            detail = (
                f"a mask of 0 and 255 alone ({100 * share:.1f} % are 255, which is no class), "
                "in a set where no mask holds 1"
            )
            look = look._replace(faults=(Fault(pair.mask, "binary-mask", detail),), objects=None)
        looks.append(look)
    return replace(split, looks=tuple(looks))


def missing_classes(split: CheckedSplit) -> list[Fault]:
    """A fault for each class that no sound mask of a split shows, as far as the split must show it."""
    sound = [look.labels for look in split.looks if look.sound and look.labels is not None]
    if split.name not in NEEDS_EVERY_CLASS or not sound or "missing-class" in split.data.allowed:
        return []
    folder = next(pair.mask.parent for pair in split.data.pairs if pair.mask is not None)
    there = {label for labels in sound for label in labels}
    return [
        Fault(folder, "missing-class", f"no sound mask of the {split.name} split shows class {name!r} (id {label})")
        for label, name in enumerate(split.data.classes.names)
        if label not in there
    ]


def album_of(split: CheckedSplit) -> Album:
    """The readable pictures of a split."""
    seen = [(pair.image, look.print) for pair, look in zip(split.data.pairs, split.looks, strict=True)]
    files = tuple(file for file, print in seen if print is not None)
    prints = tuple(print for _, print in seen if print is not None)
    return Album(split=split.name, files=files, prints=prints, look=lambda index: read_image(files[index]))


def leak_counts(opened: Sequence[SegData], leak: Leak) -> bool:
    """Whether the data set does not say that leaks are none."""
    return not any("leak" in data.allowed for data in opened if data.split == leak.split)


def notes_of(split: CheckedSplit) -> list[str]:
    """What is no fault of a split."""
    notes = []
    if not split.data.labelled:
        notes.append(f"{split.name}: no masks, so only its pictures were checked")
    elif not any(look.sound for look in split.looks):
        notes.append(f"{split.name}: no sound mask, so its classes could not be counted")
    digests = Counter(look.print.digest for look in split.looks if look.print is not None)
    repeats = sum(count - 1 for count in digests.values())
    if repeats:
        notes.append(f"{split.name}: {repeats} picture{'s' if repeats > 1 else ''} twice in this split")
    factor = max((look.objects.factor for look in split.looks if look.objects is not None), default=1)
    if factor > 1:
        notes.append(f"{split.name}: objects of large masks were counted on one of every {factor} rows and columns")
    return notes
