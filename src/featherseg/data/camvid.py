"""CamVid in the SegNet layout: 480x360 street pictures from Cambridge, 11 classes and void.

    ROOT/train/*.png  ROOT/trainannot/*.png      367 pictures
    ROOT/val/*.png    ROOT/valannot/*.png        101
    ROOT/test/*.png   ROOT/testannot/*.png       233

Masks hold class ids 0..10, and 11 for void, which becomes the ignore index.
Brostow, Fauqueur, Cipolla: "Semantic object classes in video", Pattern Recognition Letters 30(2), 2009.
"""

from __future__ import annotations

from pathlib import Path

from featherseg.data.formats import Format
from featherseg.data.masks import IndexMasks
from featherseg.data.samples import SegData, pair_up
from featherseg.runtime.classes import Classes

CLASSES = Classes(
    names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    palette=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip

SPLITS = ("train", "val", "test")
VOID = 11
TERMS = "CamVid pictures and labels: personal and research use, CC BY-NC 4.0"


def open_camvid(root: Path, split: str) -> SegData:
    """One split of CamVid; a missing folder is an error that names it."""
    ids = {index: index for index in range(len(CLASSES))}
    pairs, unpaired = pair_up(root / split, root / f"{split}annot", split=split)
    return SegData(
        name="camvid",
        root=root,
        split=split,
        classes=CLASSES,
        pairs=pairs,
        unpaired=unpaired,
        masks=IndexMasks({**ids, VOID: CLASSES.ignore_index, 255: CLASSES.ignore_index}, classes=CLASSES),
        terms=TERMS,
    )


def splits_of(root: Path) -> tuple[str, ...]:
    """The splits that are there."""
    return tuple(split for split in SPLITS if (root / split).is_dir())


FORMAT = Format(
    title="CamVid, 11 classes, SegNet's layout",
    open=open_camvid,
    looks_like=lambda root: any((root / f"{split}annot").is_dir() for split in SPLITS),
    splits=splits_of,
)
