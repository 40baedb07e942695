"""Miniature trees of the published data sets and the labelling tools, in their true layouts, made at test time.

Pictures are noise and each differs from every other. Labels follow from (split, index) alone, so a test can say what it
expects without reading what was written.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SIZE = (48, 64)
COUNTS = {"train": 3, "val": 2, "test": 2}
THINGS = ("cat", "dog", "tree")


class Thing(NamedTuple):
    """A labelled box in whole pixels; `label` counts from 0 in THINGS."""

    label: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def ring(self) -> list[float]:
        """Its corners as x, y, x, y ..."""
        return [
            float(value)
            for value in (
                self.left, self.top, self.right, self.top, self.right, self.bottom, self.left, self.bottom,
            )
        ]  # fmt: skip


def generator(split: str, index: int) -> np.random.Generator:
    """The randomness of one picture."""
    return np.random.default_rng(zlib.crc32(f"{split} {index}".encode()))


def write_picture(path: Path, split: str, index: int, size: tuple[int, int] = SIZE) -> None:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator(split, index).integers(0, 256, (*size, 3), np.uint8)).save(path)


def write_gray(path: Path, ids: np.ndarray) -> None:
    """A mask of gray values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(path)


def blocks(split: str, index: int, values: tuple[int, ...], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask of 8x8 blocks of random values, uint8 (H,W)."""
    rng = generator(split, index + 1000)
    return rng.choice(np.array(values, np.uint8), (size[0] // 8, size[1] // 8)).repeat(8, 0).repeat(8, 1)


def things(split: str, index: int, size: tuple[int, int] = SIZE) -> list[Thing]:
    """A small box over a large one, and one elsewhere; every label once, in random order."""
    rng = generator(split, index + 2000)
    labels = [int(label) for label in rng.permutation(len(THINGS))]
    left, top = (int(value) for value in rng.integers(1, 6, 2))
    return [
        Thing(labels[0], left + 4, top + 4, left + 9, top + 11),
        Thing(labels[1], left, top, left + 20, top + 30),
        Thing(labels[2], size[1] - 12, left, size[1], left + 7),
    ]


def painted(boxes: list[Thing], size: tuple[int, int] = SIZE) -> np.ndarray:
    """The boxes as ids (background 0, label k as k + 1), in the order given."""
    ids = np.zeros(size, np.uint8)
    for box in boxes:
        ids[box.top : box.bottom, box.left : box.right] = box.label + 1
    return ids


def by_area(boxes: list[Thing]) -> list[Thing]:
    """Large boxes first."""
    return sorted(boxes, key=lambda box: -(box.right - box.left) * (box.bottom - box.top))


VOC_VALUES = (*range(21), 255)


def voc_tree(root: Path, *, aug: bool = False) -> Path:
    """VOCdevkit/VOC2012 with train, val, test and their lists; with aug also a fourth picture in trainaug."""
    home = root / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    palette = np.random.default_rng(0).integers(0, 256, 768).tolist()
    for split, count in COUNTS.items():
        for index in range(count):
            write_picture(home / "JPEGImages" / f"2007_{split}{index}.jpg", split, index)
            if split == "test":
                continue
            mask = Image.fromarray(blocks(split, index, VOC_VALUES))
            mask.putpalette(palette)
            (home / "SegmentationClass").mkdir(exist_ok=True)
            mask.save(home / "SegmentationClass" / f"2007_{split}{index}.png")
        names = [f"2007_{split}{index}" for index in range(count)]
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    if aug:
        write_picture(home / "JPEGImages" / "2008_aug0.jpg", "aug", 0)
        for index in (0, 1):  # the third picture of train has its mask in SegmentationClass alone
            write_gray(home / "SegmentationClassAug" / f"2007_train{index}.png", blocks("aug", index, VOC_VALUES))
        write_gray(home / "SegmentationClassAug" / "2008_aug0.png", blocks("aug", 9, VOC_VALUES))
        (lists / "trainaug.txt").write_text("2007_train0\n2007_train1\n2007_train2\n2008_aug0\n")
    return root


CITIES = {"train": "aachen", "val": "frankfurt", "test": "berlin"}


def cityscapes_tree(root: Path, *, size: tuple[int, int] = SIZE, train_ids: bool = False) -> Path:
    """LeftImg8bit and gtFine; label ids, and with train_ids both. Test is void, as in the public files."""
    for split, count in COUNTS.items():
        for index in range(count):
            city = CITIES[split]
            stem = f"{city}_{index:06d}_000019"
            write_picture(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", split, index, size)
            labels = blocks(split, index, tuple(range(34)), size)
            if split == "test":
                labels = np.zeros_like(labels)
            folder = root / "gtFine" / split / city
            write_gray(folder / f"{stem}_gtFine_labelIds.png", labels)
            write_gray(folder / f"{stem}_gtFine_instanceIds.png", labels)
            if train_ids:
                write_gray(folder / f"{stem}_gtFine_labelTrainIds.png", blocks(split, index, (*range(19), 255), size))
    return root


CAMVID_COLOURS = {"Sky": (128, 128, 128), "Void": (0, 0, 0), "Animal": (64, 128, 64), "Wall": (64, 192, 0)}
CAMVID_IDS = {"Animal": 0, "Sky": 21, "Void": 255, "Wall": 30}
"""Of the 31 classes in the order of their names, those that the miniature shows."""


def camvid32_names(split: str, index: int) -> np.ndarray:
    """Class names (H,W) of one picture, as indices into CAMVID_COLOURS."""
    return blocks(split, index, (0, 1, 2, 3))


def camvid32_tree(root: Path, *, layout: str = "published") -> Path:
    """CamVid: "published" with lists, "all" without them, "folders" as train, train_labels and class_dict.csv."""
    from featherseg.data.camvid32 import COLOURS

    table = np.array(list(CAMVID_COLOURS.values()), np.uint8)
    for split, count in COUNTS.items():
        if layout != "folders" and split == "test":
            continue
        images = root / (split if layout == "folders" else "701_StillsRaw_full")
        labels = root / (f"{split}_labels" if layout == "folders" else "LabeledApproved_full")
        names = [f"0001TP_{split}{index}" for index in range(count)]
        for index, name in enumerate(names):
            write_picture(images / f"{name}.png", split, index)
            write_gray(labels / f"{name}_L.png", table[camvid32_names(split, index)])
        if layout == "published":
            (root / f"{split}.txt").write_text("\n".join(names))
    if layout == "folders":
        rows = [f"{name},{','.join(map(str, colour))}" for name, colour in COLOURS.items()]
        (root / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]) + "\n")
    else:
        rows = [f"{' '.join(map(str, colour))}\t{name}" for name, colour in COLOURS.items()]
        (root / "label_colors.txt").write_text("\r\n".join(rows) + "\r\n")
    return root


COCO_LAYOUTS = {
    "2017": ("annotations/instances_{split}2017.json", "{split}2017"),
    "images": ("annotations/instances_{split}.json", "images/{split}"),
    "plain": ("annotations/{split}.json", "{split}"),
    "shared": ("annotations/{split}.json", "images"),
    "roboflow": ("{split}/_annotations.coco.json", "{split}"),
}
COCO_IDS = (7, 18, 90)
"""The category ids of THINGS: neither dense nor from 1."""


def coco_tree(root: Path, *, layout: str = "2017") -> Path:
    """Train and val annotated, test an image_info file without annotations; boxes in all three forms of outlines."""
    for split, count in COUNTS.items():
        if split == "test" and layout != "2017":
            continue
        json_path, folder = (part.format(split=split) for part in COCO_LAYOUTS[layout])
        content: dict[str, Any] = {"images": [], "categories": []}
        content["categories"] = [{"id": key, "name": name} for key, name in zip(COCO_IDS, THINGS, strict=True)][::-1]
        annotations = []
        for index in range(count):
            name = f"{split}{index:012d}.jpg"
            write_picture(root / folder / name, split, index)
            content["images"].append({"id": 50 + index, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
            annotations += coco_annotations(split, index)
        if split == "test":
            json_path = "annotations/image_info_test2017.json"
        else:
            content["annotations"] = annotations
        (root / json_path).parent.mkdir(parents=True, exist_ok=True)
        (root / json_path).write_text(json.dumps(content))
    return root


def coco_annotations(split: str, index: int) -> list[dict[str, Any]]:
    """The things of one picture: a polygon, uncompressed and compressed run lengths."""
    found = []
    for place, thing in enumerate(things(split, index)):
        inside = painted([thing]) > 0
        segmentation: Any = [thing.ring]
        if place == 1:
            segmentation = {"size": list(SIZE), "counts": runs(inside)}
        elif place == 2:
            from pycocotools import mask as rle

            counts = rle.encode(np.asfortranarray(inside, np.uint8))["counts"].decode()
            segmentation = {"size": list(SIZE), "counts": counts}
        found.append(
            {
                "id": 1000 * index + place,
                "image_id": 50 + index,
                "category_id": COCO_IDS[thing.label],
                "segmentation": segmentation,
                "iscrowd": int(place == 1),
            }
        )
    return found


def runs(inside: np.ndarray) -> list[int]:
    """Run lengths down the columns, of outside first."""
    flat = inside.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *lengths] if flat[0] else lengths


def labelme_tree(root: Path, *, layout: str = "splits", names: bool = False) -> Path:
    """LabelMe: "splits", "flat" (one folder) or "apart" (images and labels); test has no JSON."""
    for split, count in COUNTS.items():
        if layout == "flat" and split != "train":
            continue
        part = "" if layout == "flat" else split
        images, labels = (
            (root / part, root / part) if layout != "apart" else (root / "images" / part, root / "labels" / part)
        )
        for index in range(count):
            write_picture(images / f"photo {split}{index}.jpg", split, index)
            if split == "test":
                continue
            boxes = by_area(things(split, index))
            shapes = [labelme_shape(thing, "rectangle" if place else "polygon") for place, thing in enumerate(boxes)]
            labels.mkdir(parents=True, exist_ok=True)
            write_labelme(labels / f"photo {split}{index}.json", shapes)
    if names:
        (root / "labels.txt").write_text("__ignore__\n_background_\ntree\ndog\ncat\n")
    return root


def labelme_shape(thing: Thing, kind: str) -> dict[str, Any]:
    """A box as a rectangle (two corners) or as a polygon (four)."""
    corners = [[thing.left, thing.top], [thing.right, thing.bottom]]
    points = corners if kind == "rectangle" else np.reshape(thing.ring, (-1, 2)).tolist()
    return {"label": THINGS[thing.label], "points": points, "shape_type": kind}


def write_labelme(path: Path, shapes: list[dict[str, Any]], size: tuple[int, int] = SIZE) -> None:
    """A JSON as LabelMe writes it."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [{"group_id": None, "flags": {}, **shape} for shape in shapes],
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    path.write_text(json.dumps(content))


def yolo_tree(root: Path, *, layout: str = "kinds", names: str = "[cat, dog, tree]") -> Path:
    """YOLO: "kinds" (images/SPLIT) or "splits" (SPLIT/images, val called valid); one picture has no label file."""
    for split, count in COUNTS.items():
        folder = "valid" if layout == "splits" and split == "val" else split
        images = root / "images" / folder if layout == "kinds" else root / folder / "images"
        labels = root / "labels" / folder if layout == "kinds" else root / folder / "labels"
        for index in range(count):
            write_picture(images / f"{split}{index}.png", split, index)
            if split == "test" or (split == "train" and index == count - 1):
                continue
            labels.mkdir(parents=True, exist_ok=True)
            rows = []
            for thing in things(split, index):
                shares = np.reshape(thing.ring, (-1, 2)) / (SIZE[1], SIZE[0])
                rows.append(" ".join([str(thing.label), *(f"{value:.6f}" for value in shares.ravel())]))
            (labels / f"{split}{index}.txt").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnc: 3\nnames: {names}\n")
    return root


TREES = {
    "voc": voc_tree,
    "voc_aug": lambda root: voc_tree(root, aug=True),
    "cityscapes": cityscapes_tree,
    "camvid32": camvid32_tree,
    "coco": coco_tree,
    "labelme": labelme_tree,
    "yolo": yolo_tree,
}
"""Format -> what makes a tree of it."""
