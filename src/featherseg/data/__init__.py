"""Labelled pictures in the layouts people have them in: `open_data(root, format, split)`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from featherseg.data.camvid import is_camvid, open_camvid
from featherseg.data.folder import is_folder, open_folder
from featherseg.data.samples import Sample, SegData, class_frequencies
from featherseg.runtime.errors import FeathersegError, refuse_unknown

__all__ = ["FORMATS", "Sample", "SegData", "class_frequencies", "detect_format", "open_data"]

FORMATS: dict[str, Callable[[Path, str], SegData]] = {
    "camvid": open_camvid,
    "folder": open_folder,
}

LOOKS_LIKE: dict[str, Callable[[Path], bool]] = {
    "folder": is_folder,
    "camvid": is_camvid,
}


def open_data(root: Path | str, format: str = "auto", split: str = "train") -> SegData:
    """One split of a data set; `format` "auto" goes by what the tree looks like."""
    if not str(root):
        raise FeathersegError("data.root", expected="the data's folder", got="none", remedy="add data.root=DIR")
    place = Path(root).expanduser()
    if not place.is_dir():
        raise FeathersegError(
            f"{place}: there is no such folder", remedy="give the data's folder as data.root or --root"
        )
    name = detect_format(place) if format == "auto" else format
    refuse_unknown("data.format", name, FORMATS)
    return FORMATS[name](place, split)


def detect_format(root: Path) -> str:
    """The name of the first format whose tree this looks like."""
    for name, looks_like in LOOKS_LIKE.items():
        if looks_like(root):
            return name
    raise FeathersegError(
        f"{root}: no known layout in it", expected=f"one of {', '.join(FORMATS)}", remedy="see docs/datasets.md"
    )
