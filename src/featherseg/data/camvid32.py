"""CamVid as it was published: 960x720, colour-coded, 31 classes and Void, which becomes the ignore index.

    ROOT/701_StillsRaw_full/NAME.png   ROOT/LabeledApproved_full/NAME_L.png     701 pictures
    ROOT/label_colors.txt                                                       "R G B  NAME" a line
    ROOT/{train,val,test}.txt                                                   optional: one NAME a line

    ROOT/train/NAME.png   ROOT/train_labels/NAME_L.png                          the same, split into folders
    ROOT/class_dict.csv                                                         name,r,g,b

Without split folders and lists there is one split, "all". The colours are those of label_colors.txt or class_dict.csv,
and the published ones where neither is there; classes have the table's order.

Brostow, Fauqueur, Cipolla: "Semantic object classes in video", Pattern Recognition Letters 30(2), 2009.
"""

from __future__ import annotations

import csv
from pathlib import Path

from featherseg.data.camvid import TERMS
from featherseg.data.formats import Format
from featherseg.data.masks import ColourMasks, Pair
from featherseg.data.samples import Paired, SegData, match, pictures_in
from featherseg.runtime.classes import Classes, Colour
from featherseg.runtime.errors import FeathersegError

COLOURS: dict[str, Colour] = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192), "Bridge": (0, 128, 64),
    "Building": (128, 0, 0), "Car": (64, 0, 128), "CartLuggagePram": (64, 0, 192), "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128), "Fence": (64, 64, 128), "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64), "Misc_Text": (128, 128, 64), "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64), "ParkingBlock": (64, 192, 128), "Pedestrian": (64, 64, 0), "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192), "Sidewalk": (0, 0, 192), "SignSymbol": (192, 128, 128), "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192), "TrafficCone": (0, 0, 64), "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128), "Tree": (128, 128, 0), "Truck_Bus": (192, 128, 192), "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0), "Void": (0, 0, 0), "Wall": (64, 192, 0),
}  # fmt: skip

VOID = "void"
STILLS, APPROVED = "701_StillsRaw_full", "LabeledApproved_full"
TABLES = ("label_colors.txt", "class_dict.csv")
SPLITS = ("train", "val", "test")
MASK_END = "_L"


def open_camvid32(root: Path, split: str) -> SegData:
    """One split; a missing folder, list or table is an error that names it."""
    colours = read_colours(root)
    kept = {name: colour for name, colour in colours.items() if name.casefold() != VOID}
    classes = Classes(names=tuple(kept), palette=tuple(kept.values()))
    ids = {colour: index for index, colour in enumerate(kept.values())}
    void = {colour: classes.ignore_index for name, colour in colours.items() if name not in kept}
    pairs, unpaired = pair_split(root, split)
    return SegData(
        name="camvid32",
        root=root,
        split="all" if splits_of(root) == ("all",) else split,
        classes=classes,
        pairs=pairs,
        unpaired=unpaired,
        masks=ColourMasks({**ids, **void}, classes=classes),
        terms=TERMS,
    )


def pair_split(root: Path, split: str) -> Paired:
    """The pictures of a folder, or of a list, with their masks."""
    if not (root / STILLS).is_dir():
        return pair_folders(root / split, root / f"{split}_labels", split)
    paired = pair_folders(root / STILLS, root / APPROVED, split)
    if splits_of(root) == ("all",):
        return paired
    listing = root / f"{split}.txt"
    if not listing.is_file():
        raise FeathersegError(f"{listing}: there is no such list", expected=f"the names of the {split} split")
    names = [Path(line.split()[0]).stem for line in listing.read_text(encoding="utf-8").splitlines() if line.split()]
    by_name = {pair.image.stem: pair for pair in paired.pairs}
    faults = {fault.file.stem.removesuffix(MASK_END): fault for fault in paired.unpaired}
    for name in names:
        if name not in by_name and name not in faults:
            raise FeathersegError(f"{listing}: {name} is not in {root / STILLS}", remedy="correct the list")
    return Paired(
        tuple(by_name[name] for name in names if name in by_name),
        tuple(faults[name] for name in names if name in faults),
    )


def pair_folders(images: Path, masks: Path, split: str) -> Paired:
    """Every NAME.png with its NAME_L.png; without a folder of masks the split is unlabelled."""
    if not images.is_dir():
        raise FeathersegError(f"{images}: there is no such folder", expected=f"the {split} split's pictures in it")
    pictures = [(path.stem, path) for path in pictures_in(images)]
    if not pictures:
        raise FeathersegError(f"{images}: no picture in it", expected="files ending in .png")
    if not masks.is_dir():
        return Paired(tuple(Pair(image, None) for _, image in pictures), ())
    labels = {path.stem.removesuffix(MASK_END): path for path in pictures_in(masks)}
    return match(pictures, labels, images=images, labels=masks, ending=f"{MASK_END}.png")


def read_colours(root: Path) -> dict[str, Colour]:
    """Class name -> colour, by the tree's own table or the published one."""
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        return COLOURS
    text = table.read_text(encoding="utf-8-sig", errors="replace")
    rows = csv.reader(text.splitlines()[1:]) if table.suffix == ".csv" else (line.split() for line in text.splitlines())
    colours: dict[str, Colour] = {}
    try:
        for row in filter(None, rows):
            name, parts = (row[0], row[1:4]) if table.suffix == ".csv" else (row[3], row[:3])
            red, green, blue = (int(part) for part in parts)
            colours[name.strip()] = (red, green, blue)
        Classes(names=tuple(colours), palette=tuple(colours.values()))
    except (ValueError, IndexError) as error:  # FeathersegError among them: a colour beyond 255
        raise FeathersegError(
            f"{table}: not a table of colours ({error})", expected="a class name and three numbers of 0..255 a line"
        ) from error
    return colours


def splits_of(root: Path) -> tuple[str, ...]:
    """The split folders, or the lists; ("all",) where there are neither."""
    if (root / STILLS).is_dir():
        return tuple(split for split in SPLITS if (root / f"{split}.txt").is_file()) or ("all",)
    return tuple(split for split in SPLITS if (root / split).is_dir())


def looks_like(root: Path) -> bool:
    """The published folders, or split folders with masks called NAME_L.png."""
    if (root / STILLS).is_dir():
        return True
    folders = (root / f"{split}_labels" for split in SPLITS)
    return any(next(folder.glob(f"*{MASK_END}.png"), None) is not None for folder in folders if folder.is_dir())


FORMAT = Format(
    title="CamVid, 31 classes, as published",
    open=open_camvid32,
    looks_like=looks_like,
    splits=splits_of,
)
