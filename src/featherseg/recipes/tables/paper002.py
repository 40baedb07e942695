"""Paper 002, hybrid attention: its abstract has no table. One of the house stands in, and says so."""

from __future__ import annotations

from featherseg.recipes.tables.conventions import MACS
from featherseg.recipes.tables.row import Row, Table


def row(attention: str, supervision: str, printed: tuple[str, str] = ("", ""), note: str = "") -> Row:
    """One of the six combinations."""
    return Row(
        name=f"attention {attention}, supervision {supervision}",
        printed=printed,
        model="hybrid_fusion",
        fields={"attention": attention, "supervision": supervision},
        run={"loss": "ce", "schedule": "poly"},
        note=note,
    )


HOUSE = Table(
    name="002-house",
    paper="002",
    title="Attention x supervision: a table of the house, not in the paper",
    columns=("mIoU (%)", "FPS"),
    rows=(
        row("hybrid", "stages", ("74.12", "110"), "The full network; the two figures are those of the abstract."),
        row("hybrid", "none"),
        row("respective", "stages"),
        row("respective", "none"),
        row("none", "stages"),
        row("none", "none"),
    ),
    num_classes=19,
    size=(512, 1024),
    cost=MACS,
    in_paper=False,
    notes=(
        "Not in the paper: only its abstract was found, without tables or any size of the network. The design is "
        "featherseg's own.",
        "The abstract's speed names no input size: plausible at 512x1024 on a GPU of its time, not at 1024x2048.",
        "Parameters are those of training; the heads at the stages are dropped when the network is deployed.",
    ),
)
