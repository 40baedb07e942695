"""The columns of the papers' tables: which figure of ours stands beside a printed one.

A column that is in none of the menus (a backbone's name, ms, FPS: another machine) has the paper's figure alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from featherseg.recipes.tables.counts import Counts
from featherseg.recipes.tables.row import Row, Table, Value, figure

MEASURES: dict[str, str] = {
    "mIoU (%)": "miou",
    "mIoU": "miou",
    "mPA (%)": "class_accuracy",
    "mAP": "class_accuracy",  # 003-T1's name for mPA
    "PA (%)": "class_accuracy",  # 001-T3's figures can only be means over classes
    "mIoU, gamma=0 (%)": "gamma0",
    "mIoU, gamma=1 (%)": "gamma1",
    "mIoU, gamma=2 (%)": "gamma2",
}
"""Column -> what we measure for it."""

OF_DATA: dict[str, tuple[str, ...]] = {
    "VOC mIoU (%)": ("voc", "voc_aug"),
    "Cityscapes mIoU (%)": ("cityscapes",),
}
"""Column -> the data formats whose mIoU stands beside it; with other data it has the paper's figure alone."""

COUNTS: dict[str, Callable[[Counts], float]] = {
    "parameters (10^6)": lambda counts: counts.params / 1e6,
    "parameters (MB)": lambda counts: counts.mbytes,
    "weights (MB)": lambda counts: counts.mbytes,
    "Mac (G)": lambda counts: counts.cost,
    "cost (GFLOPs)": lambda counts: counts.cost,
}
"""Column -> our count, in the paper's own convention."""

CLASSES: dict[str, tuple[str, ...]] = {
    # paper 004: Cityscapes, then CamVid where a class means the same (its bicyclist is rider and bicycle in one)
    "Roa": ("road",),
    "Sid": ("sidewalk", "pavement"),
    "Bui": ("building",),
    "Wal": ("wall",),
    "Fen": ("fence",),
    "Pol": ("pole",),
    "TLi": ("traffic light",),
    "TSi": ("traffic sign", "sign"),
    "Tsi": ("traffic sign", "sign"),
    "Veg": ("vegetation", "tree"),
    "Ter": ("terrain",),
    "Sky": ("sky",),
    "Per": ("person", "pedestrian"),
    "Rid": ("rider",),
    "Car": ("car",),
    "Tru": ("truck",),
    "Bus": ("bus",),
    "Tra": ("train",),
    "Mot": ("motorcycle", "motorbike"),
    "Bic": ("bicycle",),
    "Byc": ("bicycle",),
    # paper 003: VOC, then Cityscapes and CamVid where a class means the same
    "background": ("background",),
    "airplane": ("aeroplane",),
    "bicycle": ("bicycle",),
    "bird": ("bird",),
    "boat": ("boat",),
    "bottle": ("bottle",),
    "bus": ("bus",),
    "car": ("car",),
    "cat": ("cat",),
    "chair": ("chair",),
    "cow": ("cow",),
    "dining table": ("diningtable",),
    "dog": ("dog",),
    "horse": ("horse",),
    "motorcycle": ("motorbike", "motorcycle"),
    "person": ("person", "pedestrian"),
    "potted plant": ("pottedplant",),
    "sheep": ("sheep",),
    "sofa": ("sofa",),
    "train": ("train",),
    "tvmonitor": ("tvmonitor",),
}
"""Column -> the names that the class has in data sets; its IoU stands there."""


def by_network(table: Table) -> Table:
    """The table with a row for each network: itself, or turned where its columns are the networks."""
    if not table.networks:
        return table
    lines = zip(*(row.printed for row in table.rows), strict=True)
    rows = tuple(replace(row, printed=line) for row, line in zip(table.networks, lines, strict=True))
    return replace(table, columns=tuple(row.name for row in table.rows), rows=rows, networks=())


def ours(
    column: str,
    counts: Counts | None,
    scores: Mapping[str, float],
    iou: Mapping[str, float | None],
    data: str | None,
) -> float | None:
    """Our figure for a column: per cent, or a count; None where we have none.

    Args:
        column: its heading.
        counts: what the row's network has; None keeps the counts out.
        scores: measure -> fraction 0..1.
        iou: class name -> fraction 0..1, None for a class that val lacks.
        data: the format of the data that the scores are of; None for a part of a data set's classes.
    """
    if column in COUNTS:
        return round(COUNTS[column](counts), 3) if counts else None
    if column in CLASSES:
        value = next((iou[name] for name in CLASSES[column] if name in iou), None)
    elif column in OF_DATA:
        value = scores.get("miou") if data in OF_DATA[column] else None
    else:
        value = scores.get(MEASURES.get(column, ""))
    return None if value is None else round(100 * value, 2)


def beside(row: Row, table: Table, figures: Mapping[str, float | None]) -> dict[str, dict[str, Value]]:
    """Column -> theirs, ours and the difference."""
    found: dict[str, dict[str, Value]] = {}
    for column, text in zip(table.columns, row.printed, strict=True):
        theirs, mine = figure(text), figures[column]
        difference = round(mine - theirs, 3) if isinstance(theirs, (int, float)) and mine is not None else None
        found[column] = {"theirs": theirs, "ours": mine, "difference": difference}
    return found
