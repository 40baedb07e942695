"""YOLO's labels for segmentation: a text file for each picture, a normalised polygon a line.

    ROOT/data.yaml                      names: [cat, dog] or names: {0: cat, 1: dog}
    ROOT/images/SPLIT/STEM.jpg          ROOT/labels/SPLIT/STEM.txt       lines: CLASS x1 y1 x2 y2 x3 y3 ...
    ROOT/SPLIT/images/STEM.jpg          ROOT/SPLIT/labels/STEM.txt       the same, as Roboflow writes it

The split val may be called valid. Where there is no such folder, data.yaml's entry for the split says where its
pictures are. Background comes first, so class k becomes id k+1 (a class called background is the background). An empty
or missing label file means a picture of background alone, where there is a folder of labels at all; without one the
split is unlabelled. Large things are painted first. Lines with boxes have no outline and are faults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featherseg.data.formats import Format
from featherseg.data.masks import Fault, MaskRead, MaskReader, Pair
from featherseg.data.outlines import (
    BadOutline,
    Shape,
    faults_of,
    from_polygons,
    is_background,
    largest_first,
    paint,
    with_background,
)
from featherseg.data.samples import SegData, pictures_in
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

SPLITS = ("train", "val", "test")
SETTINGS = "data.yaml"
OVERSHOOT = 0.01
"""So far beyond 0..1 a coordinate may lie by rounding; it is cut at the picture's edge."""


class YoloMasks(MaskReader):
    """Paints the polygons of a text file.

    Args:
        labels: class number -> class id.
        classes: background first.
    """

    def __init__(self, labels: tuple[int, ...], *, classes: Classes) -> None:
        self.labels = labels
        self.classes = classes

    def read(self, pair: Pair, size: tuple[int, int]) -> MaskRead:
        """The labels of one picture."""
        assert pair.mask is not None, "an unlabelled picture has nothing to read"
        try:
            text = pair.mask.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeDecodeError) as error:
            return MaskRead(None, (Fault(pair.mask, "unreadable", f"cannot be read as text ({error})"),))
        if not all(size):
            return MaskRead(None)  # the picture cannot be read, and its size is what the numbers are shares of
        notes: list[tuple[str, str]] = []
        shapes: list[Shape] = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                label, ring = parsed(line, size)
                runs = from_polygons([ring], size)
            except BadOutline as error:
                notes.append(("unreadable", f"line {number}: {error}"))
                continue
            if label >= len(self.labels):
                detail = f"line {number}: class {label} is not in {SETTINGS}; expected 0..{len(self.labels) - 1}"
                notes.append(("id-out-of-range", detail))
            known = label < len(self.labels)
            shapes.append(Shape(runs, self.labels[label] if known else self.classes.ignore_index))
        return MaskRead(paint(largest_first(shapes), size), faults_of(pair.mask, notes))


def parsed(line: str, size: tuple[int, int]) -> tuple[int, list[float]]:
    """``CLASS x1 y1 ...`` -> the class number, and the ring in pixels."""
    first, *rest = line.split()
    if not first.isascii() or not first.isdigit():
        raise BadOutline(f"{first[:20]!r} is no class number")
    if len(rest) in (4, 5):
        raise BadOutline("a box without an outline; expected a class and three points or more")
    try:
        shares = [float(word) for word in rest]
    except ValueError as error:
        raise BadOutline(f"not a number ({error})") from error
    if len(shares) < 6 or len(shares) % 2:
        raise BadOutline(f"{len(shares)} coordinates; expected pairs, three or more")
    if not all(-OVERSHOOT <= share <= 1 + OVERSHOOT for share in shares):
        raise BadOutline("a coordinate outside 0..1; expected shares of the picture's width and height")
    sides = (size[1], size[0])
    return int(first), [min(max(share, 0.0), 1.0) * sides[place % 2] for place, share in enumerate(shares)]


def open_yolo(root: Path, split: str) -> SegData:
    """One split; a missing folder or a broken data.yaml is an error that names it."""
    settings = read_settings(root / SETTINGS)
    names = names_of(settings, root / SETTINGS)
    all_names = with_background(names, root / SETTINGS)
    numbers = tuple(0 if is_background(name) else all_names.index(name) for name in names)
    classes = Classes(names=all_names)
    images = images_of(root, split, settings)
    labels = labels_of(images)
    pictures = pictures_in(images)
    if not pictures:
        raise FeathersegError(f"{images}: no picture in it", expected=f"the {split} split's pictures")
    stems = {picture.stem for picture in pictures}
    return SegData(
        name="yolo",
        root=root,
        split=split,
        classes=classes,
        pairs=tuple(Pair(picture, labels / f"{picture.stem}.txt" if labels else None) for picture in pictures),
        unpaired=tuple(
            Fault(path, "unpaired", f"its picture is missing; expected one in {images}")
            for path in (sorted(labels.glob("*.txt")) if labels else ())
            if path.stem not in stems and path.name != "classes.txt"
        ),
        masks=YoloMasks(numbers, classes=classes),
    )


def read_settings(path: Path) -> dict[str, Any]:
    """data.yaml's content."""
    import yaml

    if not path.is_file():
        raise FeathersegError(f"{path}: there is no such file", remedy="write one with a line like 'names: [cat, dog]'")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise FeathersegError(f"{path}: no valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise FeathersegError(f"{path}", expected="a line like 'names: [cat, dog]'")
    return content


def names_of(settings: dict[str, Any], path: Path) -> list[str]:
    """The classes by number, from a list or from a table of numbers."""
    names = settings.get("names")
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise FeathersegError(
            f"{path}: names", expected="[cat, dog] or {0: cat, 1: dog}, without gaps", got=repr(names)
        )
    found = [str(name) for name in names]
    if len(set(found)) != len(found):
        raise FeathersegError(f"{path}: names", expected="each name once", got=", ".join(found))
    return found


def images_of(root: Path, split: str, settings: dict[str, Any]) -> Path:
    """The folder of a split's pictures."""
    places = usual_places(root, split)
    entry = settings.get(split)
    if isinstance(entry, str):
        places.append(root / entry)
    for place in places:
        if place.is_dir():
            return place
    raise FeathersegError(f"{places[0]}: there is no such folder", expected=f"the {split} split's pictures in it")


def usual_places(root: Path, split: str) -> list[Path]:
    """Where a split's pictures are looked for."""
    names = (split, "valid") if split == "val" else (split,)
    return [place for name in names for place in (root / "images" / name, root / name / "images")]


def labels_of(images: Path) -> Path | None:
    """The folder of labels: the same path with labels for its last images; None where there is none."""
    parts = list(images.parts)
    if "images" not in parts:
        return None
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    labels = Path(*parts)
    return labels if labels.is_dir() else None


def splits_of(root: Path) -> tuple[str, ...]:
    """The splits that have a folder, or an entry in data.yaml that leads to one."""
    try:
        settings = read_settings(root / SETTINGS)
    except FeathersegError:
        settings = {}
    found = []
    for split in SPLITS:
        entry = settings.get(split)
        places = [*usual_places(root, split), *([root / entry] if isinstance(entry, str) else [])]
        found += [split] if any(place.is_dir() for place in places) else []
    return tuple(found)


FORMAT = Format(
    title="YOLO's polygons in text files",
    open=open_yolo,
    looks_like=lambda root: (root / SETTINGS).is_file(),
    splits=splits_of,
)
