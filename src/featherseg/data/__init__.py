"""Labelled pictures in the layouts people have them in: `open_data(root, format, split)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featherseg.data import camvid, camvid32, cityscapes, coco, folder, labelme, voc, yolo
from featherseg.data.formats import Format
from featherseg.data.samples import Sample, SegData, class_frequencies
from featherseg.runtime.errors import FeathersegError, refuse_unknown

__all__ = [
    "FORMATS",
    "Format",
    "Sample",
    "SegData",
    "class_frequencies",
    "detect_format",
    "existing",
    "list_splits",
    "open_data",
]

FORMATS: dict[str, Format] = {
    "folder": folder.FORMAT,
    "cityscapes": cityscapes.FORMAT,
    "voc_aug": voc.AUG_FORMAT,
    "voc": voc.FORMAT,
    "camvid": camvid.FORMAT,
    "camvid32": camvid32.FORMAT,
    "coco": coco.FORMAT,
    "yolo": yolo.FORMAT,
    "labelme": labelme.FORMAT,
}
"""Name -> format; a tree is taken for the first that it looks like."""


def open_data(
    root: Path | str,
    format: str = "auto",
    split: str = "train",
    *,
    classes: Sequence[str] = (),
    faulty: bool = False,
) -> SegData:
    """One split of a data set.

    Args:
        root: its folder.
        format: one of `FORMATS`; "auto" goes by what the tree looks like.
        split: "train", "val" ... whatever the tree has.
        classes: the classes to keep, in the order of their new ids; every other one is ignored. Empty keeps all.
        faulty: whether to open a split with unpaired files too, for whoever collects faults.

    Raises:
        FeathersegError: for a folder, list or file that is missing, and for the first unpaired file.
    """
    place = existing(root)
    name = detect_format(place) if format == "auto" else format
    refuse_unknown("data.format", name, FORMATS)
    data = FORMATS[name].open(place, split)
    if data.unpaired and not faulty:
        raise data.unpaired[0].error()
    return data.choose(classes) if classes else data


def list_splits(root: Path | str, format: str = "auto") -> tuple[str, ...]:
    """The splits that a tree has."""
    place = existing(root)
    name = detect_format(place) if format == "auto" else format
    refuse_unknown("data.format", name, FORMATS)
    return FORMATS[name].splits(place)


def existing(root: Path | str) -> Path:
    """The data's folder, or the error that says it is not there."""
    if not str(root):
        raise FeathersegError("data.root", expected="the data's folder", got="none", remedy="add data.root=DIR")
    place = Path(root).expanduser()
    if not place.is_dir():
        raise FeathersegError(
            f"{place}: there is no such folder", remedy="give the data's folder as data.root or --root"
        )
    return place


def detect_format(root: Path) -> str:
    """The name of the first format whose tree this looks like."""
    for name, format in FORMATS.items():
        if format.looks_like(root):
            return name
    raise FeathersegError(
        f"{root}: no known layout in it", expected=f"one of {', '.join(FORMATS)}", remedy="see docs/datasets.md"
    )
