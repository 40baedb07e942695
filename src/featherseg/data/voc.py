"""PASCAL VOC 2012 and its augmented labels: photos from Flickr, 20 kinds of objects and background.

    VOC2012/JPEGImages/NAME.jpg
    VOC2012/SegmentationClass/NAME.png                                      1,464 train, 1,449 val
    VOC2012/SegmentationClassAug/NAME.png                                  10,582 train (voc_aug)
    VOC2012/ImageSets/Segmentation/{train,val,trainval,test,trainaug}.txt   one NAME a line

ROOT is VOC2012, or VOCdevkit or the folder around it. Masks hold ids 0..20 and 255, the border of objects, which is
the ignore index. The test split (1,456 pictures) has no public masks. `voc_aug` trains on the trainaug list; its masks
are looked for in SegmentationClassAug first and in SegmentationClass then, and its val is VOC's own. The list may be
called train_aug.txt too. The .mat files that SBD came as are not read: the conversion to PNG is the usual download.

Everingham et al.: "The PASCAL Visual Object Classes challenge: a retrospective", IJCV 111, 2015.
Hariharan et al.: "Semantic contours from inverse detectors" (SBD, the augmented labels), ICCV 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from featherseg.data.formats import Format
from featherseg.data.masks import Fault, IndexMasks, Pair
from featherseg.data.samples import Paired, SegData
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

CLASSES = Classes(
    names=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ),
)  # fmt: skip

LISTS = {split: (f"{split}.txt",) for split in ("train", "val", "trainval", "test")}
AUG_LISTS = {"train": ("trainaug.txt", "train_aug.txt"), "val": ("val.txt",), "test": ("test.txt",)}
"""Split -> the names that its list may have."""

MASKS = "SegmentationClass"
AUG_MASKS = "SegmentationClassAug"
TERMS = "PASCAL VOC pictures: the terms of use of Flickr; research"


def open_voc(root: Path, split: str) -> SegData:
    """One split of VOC 2012."""
    return opened("voc", root, split, LISTS, folders=(MASKS,))


def open_voc_aug(root: Path, split: str) -> SegData:
    """One split of VOC 2012 with the augmented training labels."""
    return opened("voc_aug", root, split, AUG_LISTS, folders=(AUG_MASKS, MASKS) if split == "train" else (MASKS,))


def opened(
    name: str, root: Path, split: str, lists: Mapping[str, tuple[str, ...]], *, folders: tuple[str, ...]
) -> SegData:
    """One split; a missing list is an error that names it."""
    home = home_of(root)
    listing = list_of(home, lists.get(split, (f"{split}.txt",)))
    pairs, unpaired = listed_pairs(home, listing, split, folders)
    ids = {index: index for index in (*range(len(CLASSES)), CLASSES.ignore_index)}
    return SegData(
        name=name,
        root=root,
        split=split,
        classes=CLASSES,
        pairs=pairs,
        unpaired=unpaired,
        masks=IndexMasks(ids, classes=CLASSES),  # 0 and 255 alone are nothing to doubt here: a rim is everywhere
        terms=TERMS,
    )


def listed_pairs(home: Path, listing: Path, split: str, folders: tuple[str, ...]) -> Paired:
    """The pictures of a list with their masks, each from the first folder that has it."""
    lines = (line.split() for line in listing.read_text(encoding="utf-8", errors="replace").splitlines())
    names = [words[0] for words in lines if words]
    if not names:
        raise FeathersegError(f"{listing}: the list is empty", expected="one picture's name a line")
    pictures = {path.stem: path for path in (home / "JPEGImages").glob("*.jpg")}
    masks: dict[str, Path] = {}
    for folder in reversed(folders):
        masks |= {path.stem: path for path in (home / folder).glob("*.png")}
    labelled = split != "test" or not masks.keys().isdisjoint(names)
    pairs: list[Pair] = []
    alone: list[Fault] = []
    for name in names:
        image, mask = home / "JPEGImages" / f"{name}.jpg", home / folders[0] / f"{name}.png"
        if name not in pictures:
            alone.append(Fault(image, "unpaired", f"the picture is missing; {listing.name} lists it"))
        elif labelled and name not in masks:
            alone.append(Fault(image, "unpaired", f"its mask is missing; expected {mask}"))
        else:
            pairs.append(Pair(image, masks[name] if labelled else None))
    return Paired(tuple(pairs), tuple(alone))


def home_of(root: Path) -> Path:
    """The VOC2012 folder of a tree; the root itself where none looks like it."""
    places = (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012")
    return next((place for place in places if is_home(place)), root)


def is_home(place: Path) -> bool:
    """Whether this is a VOC2012 folder."""
    return (place / "JPEGImages").is_dir() and (place / "ImageSets" / "Segmentation").is_dir()


def list_of(home: Path, names: tuple[str, ...]) -> Path:
    """The first list that is there."""
    paths = [home / "ImageSets" / "Segmentation" / name for name in names]
    for path in paths:
        if path.is_file():
            return path
    raise FeathersegError(f"{paths[0]}: there is no such list", remedy="add it, or choose another split or data.root")


def splits_in(root: Path, lists: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The splits whose list is there."""
    folder = home_of(root) / "ImageSets" / "Segmentation"
    return tuple(split for split, names in lists.items() if any((folder / name).is_file() for name in names))


def has_aug(root: Path) -> bool:
    """Whether a VOC tree has the augmented labels and their list."""
    home = home_of(root)
    return is_home(home) and (home / AUG_MASKS).is_dir() and "train" in splits_in(root, AUG_LISTS)


FORMAT = Format(
    title="PASCAL VOC 2012, 21 classes",
    open=open_voc,
    looks_like=lambda root: is_home(home_of(root)) and not has_aug(root),
    splits=lambda root: splits_in(root, LISTS),
)

AUG_FORMAT = Format(
    title="PASCAL VOC 2012 with SBD's labels, 21 classes",
    open=open_voc_aug,
    looks_like=has_aug,
    splits=lambda root: splits_in(root, AUG_LISTS),
)
