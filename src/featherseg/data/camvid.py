"""CamVid in the SegNet layout: 480x360 street pictures from Cambridge, 11 classes and void.

    ROOT/train/*.png  ROOT/trainannot/*.png      367 pictures
    ROOT/val/*.png    ROOT/valannot/*.png        101
    ROOT/test/*.png   ROOT/testannot/*.png       233

Masks hold class ids 0..10, and 11 for void, which becomes the ignore index.
Brostow, Fauqueur, Cipolla: "Semantic object classes in video", Pattern Recognition Letters 30(2), 2009.
"""

from __future__ import annotations

from pathlib import Path

from featherseg.data.samples import IndexMasks, SegData, pair_up
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

VOID = 11
TERMS = "CamVid pictures and labels: personal and research use, CC BY-NC 4.0"


def open_camvid(root: Path, split: str) -> SegData:
    """One split of CamVid; a missing folder is an error that names it."""
    ids = {index: index for index in range(len(CLASSES))}
    return SegData(
        name="camvid",
        root=root,
        split=split,
        classes=CLASSES,
        pairs=pair_up(root / split, root / f"{split}annot", split=split),
        decode=IndexMasks({**ids, VOID: CLASSES.ignore_index, 255: CLASSES.ignore_index}, classes=CLASSES),
        terms=TERMS,
    )


def is_camvid(root: Path) -> bool:
    """Whether the tree looks like CamVid's."""
    return any((root / f"{split}annot").is_dir() for split in ("train", "val", "test"))
