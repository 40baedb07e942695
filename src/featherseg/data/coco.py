"""COCO annotations: one JSON for a split, with outlines as polygons or run lengths.

    ROOT/annotations/instances_train2017.json    ROOT/train2017/*.jpg
    ROOT/annotations/instances_train.json        ROOT/images/train/*.jpg or ROOT/train/*.jpg
    ROOT/annotations/train.json                  the same, or ROOT/images/*.jpg for all splits
    ROOT/train/_annotations.coco.json            ROOT/train/*.jpg (as Roboflow writes it; its `valid` is val)

Classes are background and the categories in the order of their ids; categories of one name are one class, and a
category called background is the background. Large things are painted first, so that small ones stay on top; a crowd
counts as its class. A picture without annotations is all background. A JSON without "annotations" (image_info_test2017)
is an unlabelled split.

Lin et al.: "Microsoft COCO: common objects in context", ECCV 2014.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from featherseg.data.formats import Format
from featherseg.data.masks import Fault, MaskRead, MaskReader, Pair
from featherseg.data.outlines import (
    BadOutline,
    Runs,
    Shape,
    checked_size,
    faults_of,
    from_polygons,
    from_runs,
    is_background,
    largest_first,
    paint,
    with_background,
)
from featherseg.data.samples import Paired, SegData, pictures_in
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

ROBOFLOW = "_annotations.coco.json"
NAMED = re.compile(r"(?:instances_|image_info_)?(?P<split>.+?)(?P<year>20\d\d)?\.json")
OTHERS = ("captions_", "person_keypoints_", "stuff_", "panoptic_")
KNOWN = ("train", "val", "test")


class Source(NamedTuple):
    """A split's JSON, and the folders that its pictures may be in, the split's own first."""

    path: Path
    own: tuple[Path, ...]
    shared: tuple[Path, ...]


class Outline(NamedTuple):
    """One annotation: its id, its class (None where its category is not listed), its segmentation as it stands."""

    key: object
    label: int | None
    segmentation: Any


class Record(NamedTuple):
    """What the JSON says of one picture."""

    height: object
    width: object
    outlines: list[Outline]


class CocoMasks(MaskReader):
    """Paints a picture's annotations.

    Args:
        records: picture file -> what the JSON says of it.
        classes: background first.
    """

    def __init__(self, records: dict[str, Record], *, classes: Classes) -> None:
        self.records = records
        self.classes = classes

    def read(self, pair: Pair, size: tuple[int, int]) -> MaskRead:
        """The labels of one picture, at the size that the JSON gives."""
        assert pair.mask is not None, "an unlabelled picture has nothing to read"
        record = self.records[str(pair.image)]
        try:
            frame = checked_size(record.height, record.width) if record.height is not None else size
        except BadOutline as error:
            return MaskRead(None, (Fault(pair.mask, "unreadable", f"{pair.image.name}: {error}"),))
        if not all(frame):
            return MaskRead(None)  # neither the JSON nor the picture says how large it is
        notes: list[tuple[str, str]] = []
        shapes: list[Shape] = []
        for outline in record.outlines:
            name = f"{pair.image.name}: annotation {outline.key}"
            if outline.label is None:
                notes.append(("id-out-of-range", f"{name} is of a category that is not listed"))
            try:
                runs = drawn(outline.segmentation, frame)
            except BadOutline as error:
                notes.append(("unreadable", f"{name}: {error}"))
                continue
            shapes.append(Shape(runs, self.classes.ignore_index if outline.label is None else outline.label))
        return MaskRead(paint(largest_first(shapes), frame), faults_of(pair.mask, notes))


def drawn(segmentation: Any, frame: tuple[int, int]) -> Runs:
    """A segmentation in any of COCO's three forms as run lengths."""
    if isinstance(segmentation, dict):
        return from_runs(segmentation.get("counts"), segmentation.get("size"), frame)
    if not isinstance(segmentation, list) or not segmentation:
        raise BadOutline("no outline, at most a box")
    return from_polygons(segmentation, frame)


def open_coco(root: Path, split: str) -> SegData:
    """One split; a JSON that is missing or broken is an error that names it."""
    found = sources(root)
    if split not in found:
        listed = ", ".join(found) or "none"
        raise FeathersegError(f"{root}: there is no JSON of a split {split!r}", expected=f"one of {listed}")
    source = found[split]
    content = read_json(source.path)
    try:
        classes, labels = classes_of(content, source.path)
        records, strays = records_of(content, labels, folder_of(source, content))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, FeathersegError):
            raise
        detail = f"{type(error).__name__}: {error}"
        raise FeathersegError(f"{source.path}: not in COCO's form ({detail})", remedy="export it anew") from error
    labelled = "annotations" in content
    paired = pair_records(records, source, source.path if labelled else None)
    unowned = [Fault(source.path, "unpaired", strays)] if strays else []
    return SegData(
        name="coco",
        root=root,
        split=split,
        classes=classes,
        pairs=paired.pairs,
        unpaired=(*paired.unpaired, *unowned),
        masks=CocoMasks(records, classes=classes),
    )


def sources(root: Path) -> dict[str, Source]:
    """Split -> its JSON; train, val and test first."""
    found: dict[str, Source] = {}
    for path in sorted(root.glob("annotations/*.json")):
        match = NAMED.fullmatch(path.name)
        if match is None or path.name.startswith(OTHERS):
            continue
        split, year = match["split"], match["year"] or ""
        names = dict.fromkeys((f"{split}{year}", split))
        own = tuple(place / name for name in names for place in (root, root / "images"))
        if split not in found or path.name.startswith("instances_"):
            found[split] = Source(path, own, (root / "images", root))
    for path in sorted(root.glob(f"*/{ROBOFLOW}")):
        found.setdefault({"valid": "val"}.get(path.parent.name, path.parent.name), Source(path, (path.parent,), ()))
    known = [split for split in KNOWN if split in found]
    return {split: found[split] for split in (*known, *sorted(found.keys() - set(known)))}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; what is none is an error that names the file."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise FeathersegError(f"{path}: no valid JSON ({error})", remedy="export or copy it again") from error
    if not isinstance(content, dict):
        raise FeathersegError(f"{path}", expected="a JSON object with images, annotations and categories")
    return content


def classes_of(content: dict[str, Any], path: Path) -> tuple[Classes, dict[int, int]]:
    """The classes, and category id -> class id."""
    categories = sorted((category["id"], str(category["name"])) for category in content["categories"])
    names = with_background((name for _, name in categories), path)
    labels = {key: 0 if is_background(name) else names.index(name) for key, name in categories}
    return Classes(names=names), labels


def records_of(content: dict[str, Any], labels: dict[int, int], folder: Path) -> tuple[dict[str, Record], str]:
    """Picture file -> its annotations; and in words how many annotations belong to no picture."""
    by_id: dict[object, Record] = {}
    records: dict[str, Record] = {}
    for image in content["images"]:
        path = str(folder / str(image["file_name"]))
        records.setdefault(path, Record(image.get("height"), image.get("width"), []))
        by_id[image["id"]] = records[path]
    strays = []
    for number, item in enumerate(content.get("annotations", ())):
        outline = Outline(item.get("id", f"number {number}"), labels.get(item["category_id"]), item.get("segmentation"))
        if item["image_id"] in by_id:
            by_id[item["image_id"]].outlines.append(outline)
        else:
            strays.append(f"annotation {outline.key} is of image {item['image_id']}, which is not listed")
    return records, "".join(strays[:1]) + (f", and {len(strays) - 1} more" if len(strays) > 1 else "")


def folder_of(source: Source, content: dict[str, Any]) -> Path:
    """Where the pictures are: the first folder that has one of the first few."""
    names = [str(image["file_name"]) for image in content["images"][:20]]
    places = (*source.own, *source.shared)
    there = (place for place in places if any((place / name).is_file() for name in names))
    return next(there, next((place for place in source.own if place.is_dir()), source.own[0]))


def pair_records(records: dict[str, Record], source: Source, labels: Path | None) -> Paired:
    """The pictures that are there; those that the JSON or the disk lacks. A folder for all splits lacks nothing."""
    listed = sorted(Path(name) for name in records)
    there = [path for path in listed if path.is_file()]
    alone = [
        Fault(path, "unpaired", f"the picture is missing; {source.path.name} lists it")
        for path in sorted(set(listed) - set(there))
    ]
    folders = {path.parent for path in there} & set(source.own)
    on_disk = {path for folder in folders for path in pictures_in(folder)}
    alone += [Fault(path, "unpaired", f"{source.path.name} does not list it") for path in sorted(on_disk - set(there))]
    if not there and not alone:
        raise FeathersegError(f"{source.path}: no picture in it", expected="entries in images")
    return Paired(tuple(Pair(path, labels) for path in there), tuple(alone))


FORMAT = Format(
    title="COCO annotations in JSON",
    open=open_coco,
    looks_like=lambda root: bool(sources(root)),
    splits=lambda root: tuple(sources(root)),
)
