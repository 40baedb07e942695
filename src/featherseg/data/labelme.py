"""LabelMe: one JSON beside each picture, with shapes and their labels.

    ROOT/SPLIT/STEM.jpg          ROOT/SPLIT/STEM.json
    ROOT/STEM.jpg                ROOT/STEM.json              without SPLIT folders: one split, "all"
    ROOT/images/SPLIT/STEM.jpg   ROOT/labels/SPLIT/STEM.json, or both without SPLIT
    ROOT/labels.txt              optional (or classes.txt): one class a line, in the order of their ids

Without a list the classes are the labels of all splits, sorted. Background comes first and covers what no shape does
(`_background_` is its other name); shapes labelled `__ignore__` become the ignore index. Shapes are painted in the
file's order, as LabelMe shows them: polygons, rectangles, circles (centre and a point of the rim), lines and line
strips one pixel wide, and masks; points have no area and are left aside. A split without any JSON is unlabelled.

https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from featherseg.data.formats import Format
from featherseg.data.masks import Fault, MaskRead, MaskReader, Pair
from featherseg.data.outlines import (
    BadOutline,
    Runs,
    Shape,
    checked_size,
    faults_of,
    from_pixels,
    from_polygons,
    is_background,
    paint,
    points_of,
    with_background,
)
from featherseg.data.samples import Paired, SegData, match, pictures_in
from featherseg.runtime.classes import Classes
from featherseg.runtime.decoding import load_pixels
from featherseg.runtime.errors import FeathersegError

LISTS = ("labels.txt", "classes.txt")
IGNORE = "__ignore__"
POINTS = ("point", "points")
KNOWN = ("train", "val", "test")
OWN_FOLDERS = ("images", "labels")


class LabelmeMasks(MaskReader):
    """Paints the shapes of a JSON."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes

    def read(self, pair: Pair, size: tuple[int, int]) -> MaskRead:
        """The labels of one picture, at the size that the JSON gives."""
        assert pair.mask is not None, "an unlabelled picture has nothing to read"
        try:
            content = read_json(pair.mask)
            given = content.get("imageHeight"), content.get("imageWidth")
            frame = size if None in given else checked_size(*given)
        except BadOutline as error:
            return MaskRead(None, (Fault(pair.mask, "unreadable", str(error)),))
        if not all(frame):
            return MaskRead(None)  # neither the JSON nor the picture says how large it is
        notes: list[tuple[str, str]] = []
        shapes: list[Shape] = []
        for number, item in enumerate(content["shapes"], 1):
            if item.get("shape_type") in POINTS:
                continue
            label = self.label_of(str(item["label"]))
            if label is None:
                notes.append(("id-out-of-range", f"shape {number}: {item['label']!r} is not in the list of classes"))
            try:
                shapes.append(Shape(drawn(item, frame), self.classes.ignore_index if label is None else label))
            except BadOutline as error:
                notes.append(("unreadable", f"shape {number} ({item['label']}): {error}"))
        return MaskRead(paint(shapes, frame), faults_of(pair.mask, notes))

    def label_of(self, name: str) -> int | None:
        """A label's id; None where it is no class."""
        if name == IGNORE:
            return self.classes.ignore_index
        if is_background(name):
            return 0
        return self.classes.names.index(name) if name in self.classes.names else None


def drawn(item: dict[str, Any], frame: tuple[int, int]) -> Runs:
    """A shape as run lengths."""
    kind, points = item.get("shape_type") or "polygon", item.get("points")
    if kind == "polygon":
        return from_polygons([points_of(points, frame, least=3).ravel().tolist()], frame)
    found = points_of(points, frame, least=2)
    (left, top), (right, bottom) = found.min(0), found.max(0)
    if kind == "rectangle":
        return from_polygons([[left, top, right, top, right, bottom, left, bottom]], frame)
    if kind == "circle":
        centre, rim = found[:2]
        y, x = np.mgrid[: frame[0], : frame[1]] + 0.5  # the pixels' centres
        return from_pixels((x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= ((rim - centre) ** 2).sum())
    if kind in ("line", "linestrip"):
        canvas = Image.new("1", (frame[1], frame[0]))
        ImageDraw.Draw(canvas).line([(int(x), int(y)) for x, y in np.floor(found)], fill=1)
        return from_pixels(np.array(canvas))
    if kind == "mask":
        return from_pixels(placed(decoded(item.get("mask")), int(left), int(top), frame))
    raise BadOutline(f"shapes of the kind {kind!r} are not known")


def placed(part: npt.NDArray[np.bool_], left: int, top: int, frame: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """A part of a mask where it lies in the picture."""
    height, width = part.shape
    if left < 0 or top < 0 or top + height > frame[0] or left + width > frame[1]:
        raise BadOutline(f"a mask of {width}x{height} at ({left}, {top}) does not fit the picture")
    inside = np.zeros(frame, bool)
    inside[top : top + height, left : left + width] = part
    return inside


def decoded(text: object) -> npt.NDArray[np.bool_]:
    """A base64 PNG -> bool (h,w)."""
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(str(text), validate=True)))
        load_pixels(picture, "PNG")
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadOutline("a mask that cannot be decoded; expected a PNG in base64") from error
    return np.array(picture.convert("L")) > 0


def open_labelme(root: Path, split: str) -> SegData:
    """One split; the name is left aside where there are no split folders."""
    found = places(root)
    part = "all" if tuple(found) == ("all",) else split
    if part not in found:
        raise FeathersegError(f"{root}: there is no split {split!r}", expected=f"one of {', '.join(found) or 'none'}")
    classes = Classes(names=class_names(root, found))
    paired = pair_place(found[part])
    return SegData(
        name="labelme",
        root=root,
        split=part,
        classes=classes,
        pairs=paired.pairs,
        unpaired=paired.unpaired,
        masks=LabelmeMasks(classes),
    )


class Place(NamedTuple):
    """The folders of one split; often the same one."""

    images: Path
    labels: Path


def places(root: Path) -> dict[str, Place]:
    """Split -> its folders, train, val and test first; {"all": ...} where there are no split folders."""
    apart = all((root / folder).is_dir() for folder in OWN_FOLDERS)
    images, labels = (root / "images", root / "labels") if apart else (root, root)
    if pictures_in(images):
        return {"all": Place(images, labels)}
    splits = {path.name for path in images.iterdir() if path.is_dir() and pictures_in(path)}
    known = [split for split in KNOWN if split in splits]
    return {split: Place(images / split, labels / split) for split in (*known, *sorted(splits - set(known)))}


def pair_place(place: Place) -> Paired:
    """Every picture with the JSON of its stem; without any JSON the split is unlabelled."""
    pictures = pictures_in(place.images)
    files = {path.stem: path for path in place.labels.glob("*.json")}
    if not files:
        return Paired(tuple(Pair(picture, None) for picture in pictures), ())
    named = [(picture.stem, picture) for picture in pictures]
    return match(named, files, images=place.images, labels=place.labels, ending=".json")


def class_names(root: Path, found: dict[str, Place]) -> tuple[str, ...]:
    """The classes by the tree's list, or by the labels of all splits."""
    listing = next((root / name for name in LISTS if (root / name).is_file()), None)
    if listing is not None:
        lines = listing.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    else:
        names = sorted({name for place in found.values() for name in labels_in(place)})
    return with_background((name for name in names if name != IGNORE), listing or root)


def labels_in(place: Place) -> set[str]:
    """The labels of a split; a JSON that cannot be read has none, and reading its picture will say so."""
    names: set[str] = set()
    for path in place.labels.glob("*.json"):
        try:
            shapes = read_json(path)["shapes"]
        except BadOutline:
            continue
        names |= {str(item["label"]) for item in shapes if item.get("shape_type") not in POINTS}
    return names


def read_json(path: Path) -> dict[str, Any]:
    """A JSON with a list of shapes that have labels."""
    try:
        content = json.loads(path.read_bytes())
        sound = all(isinstance(item, dict) and "label" in item for item in content["shapes"])
    except (ValueError, OSError, RecursionError) as error:
        raise BadOutline(f"no valid JSON ({error})") from error
    except (KeyError, TypeError, IndexError) as error:
        raise BadOutline("no list of shapes in it") from error
    if not sound or not isinstance(content, dict):
        raise BadOutline("a shape without a label")
    return content


def looks_like(root: Path) -> bool:
    """Whether the first JSON of a split has shapes."""
    firsts = (next(iter(sorted(place.labels.glob("*.json"))), None) for place in places(root).values())
    for path in filter(None, firsts):
        try:
            read_json(path)
        except BadOutline:
            continue
        return True
    return False


FORMAT = Format(
    title="LabelMe's shapes in JSON",
    open=open_labelme,
    looks_like=looks_like,
    splits=lambda root: tuple(places(root)),
)
