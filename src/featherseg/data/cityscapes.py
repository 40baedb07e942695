"""Cityscapes: streets of 50 cities, 2048x1024, 19 classes.

    ROOT/leftImg8bit/SPLIT/CITY/CITY_000000_000019_leftImg8bit.png          2,975 train, 500 val, 1,525 test
    ROOT/gtFine/SPLIT/CITY/CITY_000000_000019_gtFine_labelTrainIds.png      where they are, or else
    ROOT/gtFine/SPLIT/CITY/CITY_000000_000019_gtFine_labelIds.png           mapped by the official table

Every label that is none of the 19 classes becomes the ignore index. The test split's public labels are void
throughout, so it is unlabelled here: its scores come from the test server (`featherseg predict --submission`).

The split `train_patches` is AFFNet's first training set (SPEC 5.5): eight overlapping windows of 880x880 in every
picture of train, read from the pictures themselves. In pictures of another size the windows keep their proportions.

Cordts et al.: "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path

from featherseg.data.formats import Format
from featherseg.data.masks import IndexMasks, MaskFiles, MaskRead, Pair
from featherseg.data.samples import Paired, SegData, match
from featherseg.runtime.classes import Classes
from featherseg.runtime.decoding import RawMask, opened
from featherseg.runtime.errors import FeathersegError

CLASSES = Classes(
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    palette=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Train id -> the label id that the official files and the test server use."""

OTHER_LABELS = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)

SPLITS = ("train", "val", "test")
PATCHES = "train_patches"
PATCH, PATCH_TOPS, PATCH_LEFTS, FRAME = 880, (0, 144), (0, 389, 779, 1168), (1024, 2048)
PICTURE_END, TRAIN_IDS_END, LABEL_IDS_END = "_leftImg8bit", "_gtFine_labelTrainIds", "_gtFine_labelIds"
TERMS = "Cityscapes: non-commercial research and teaching, by its licence agreement"


class CityscapesMasks(MaskFiles):
    """Train ids or label ids, as the file's name says."""

    def __init__(self) -> None:
        void = CLASSES.ignore_index
        train_ids = {index: index for index in range(len(CLASSES))} | {void: void}
        label_ids = {label: index for index, label in enumerate(LABEL_IDS)}
        self.classes = CLASSES
        self.train_ids = IndexMasks(train_ids, classes=CLASSES)
        self.label_ids = IndexMasks({**dict.fromkeys((*OTHER_LABELS, void), void), **label_ids}, classes=CLASSES)

    def interpret(self, path: Path, raw: RawMask) -> MaskRead:
        """Pixels -> train ids."""
        reader = self.train_ids if path.stem.endswith(TRAIN_IDS_END) else self.label_ids
        return reader.interpret(path, raw)


def open_cityscapes(root: Path, split: str) -> SegData:
    """One split of Cityscapes; a missing folder is an error that names it."""
    pairs, unpaired = pair_cities(root, "train" if split == PATCHES else split)
    if split == PATCHES:
        pairs = tuple(pair._replace(window=window) for pair in pairs for window in windows(picture_size(pair.image)))
    return SegData(
        name="cityscapes",
        root=root,
        split=split,
        classes=CLASSES,
        pairs=pairs,
        unpaired=unpaired,
        masks=CityscapesMasks(),
        terms=TERMS,
    )


def pair_cities(root: Path, split: str) -> Paired:
    """Every picture of a split with its mask; test, and a split without a folder of masks, is unlabelled."""
    images, masks = root / "leftImg8bit" / split, root / "gtFine" / split
    if not images.is_dir():
        raise FeathersegError(f"{images}: there is no such folder", expected=f"the {split} split's cities in it")
    pictures = [(path.stem.removesuffix(PICTURE_END), path) for path in sorted(images.glob(f"*/*{PICTURE_END}.*"))]
    if not pictures:
        raise FeathersegError(
            f"{images}: no picture in it", expected=f"files like CITY/CITY_000000_000019{PICTURE_END}.png"
        )
    if split == "test" or not masks.is_dir():
        return Paired(tuple(Pair(image, None) for _, image in pictures), ())
    labels: dict[str, Path] = {}
    for ending in (LABEL_IDS_END, TRAIN_IDS_END):  # the later wins
        labels |= {path.stem.removesuffix(ending): path for path in sorted(masks.glob(f"*/*{ending}.png"))}
    return match(pictures, labels, images=images / "CITY", labels=masks / "CITY", ending=f"{LABEL_IDS_END}.png")


def windows(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """The eight patches of a picture of this (height, width), as (top, left, height, width)."""

    def scaled(value: int, axis: int) -> int:
        return value * size[axis] // FRAME[axis]

    return [
        (scaled(top, 0), scaled(left, 1), scaled(PATCH, 0), scaled(PATCH, 1))
        for top in PATCH_TOPS
        for left in PATCH_LEFTS
    ]


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) by the file's header; of a broken file the usual one: reading it will name the fault."""
    try:
        with opened(path) as image:
            return image.height, image.width
    except FeathersegError:
        return FRAME


def splits_of(root: Path) -> tuple[str, ...]:
    """The splits that are there; the patches come with train."""
    found = tuple(split for split in SPLITS if (root / "leftImg8bit" / split).is_dir())
    return (*found, PATCHES) if "train" in found else found


FORMAT = Format(
    title="Cityscapes, 19 classes",
    open=open_cityscapes,
    looks_like=lambda root: any((root / "leftImg8bit" / split).is_dir() for split in SPLITS),
    splits=splits_of,
)
