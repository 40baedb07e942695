"""Paper 003, Ma and Wang: loss and schedule (Table 1), attention (2), separable ASPP (3), classes (4)."""

from __future__ import annotations

from functools import partial

from featherseg.recipes.tables.conventions import THOP
from featherseg.recipes.tables.row import Row, Table

_table = partial(Table, paper="003", num_classes=21, size=(512, 512), cost=THOP)


def row(
    name: str,
    printed: tuple[str, ...],
    *,
    attention: str = "none",
    context: str = "aspp",
    loss: str = "focal",
    schedule: str = "step",
    precision: str = "fp32",
    note: str = "",
) -> Row:
    """The benchmark model BM, with what the row adds to it."""
    return Row(
        name=name,
        printed=printed,
        model="dsc_deeplab",
        fields={"attention": attention, "context": context},
        run={"loss": loss, "schedule": schedule, "precision": precision},
        note=note,
    )


LOSSES = _table(
    name="003-T1",
    title="Focal loss and the step schedule",
    columns=("learning rate decline mode", "mIoU (%)", "mAP"),
    rows=(
        row("BM (cos)", ("COS", "72.31", "82.52"), loss="ce", schedule="cos"),
        row("BM (step)", ("step", "72.52", "82.60"), loss="ce", schedule="step"),
        row("BM+focal_loss (cos)", ("COS", "72.80", "82.52"), loss="focal", schedule="cos"),
        row("BM+focal_loss (step)", ("step", "73.48", "82.85"), loss="focal", schedule="step"),
    ),
    notes=(
        'The column "mAP" is mean pixel accuracy (mPA), as Eq. 7 shows, though the prose defines overall accuracy.',
        'The text calls this "Table 2". Four rows, one network: loss and schedule do not change it.',
    ),
)

ATTENTION = _table(
    name="003-T2",
    title="Attention after the ASPP",
    columns=("cost (GFLOPs)", "mIoU (%)", "mPA (%)"),
    rows=(
        row("BM", ("53.026", "73.48", "82.85")),
        row("BM+SEnet", ("53.027", "73.61", "82.65"), attention="se"),
        row("BM+ECAnet", ("53.027", "73.62", "82.61"), attention="eca"),
        row("BM+CBAM", ("53.027", "73.80", "83.06"), attention="cbam"),
    ),
    notes=(
        "Table 3 prints other accuracies for two of these rows (ECA 73.87/83.58, CBAM 73.87/82.78), probably because "
        "of mixed precision.",
    ),
)

SEPARABLE = _table(
    name="003-T3",
    title="Attention, mixed precision and the depth-wise separable ASPP",
    columns=("mixed precision", "mIoU (%)", "mPA (%)", "parameters (10^6)"),
    rows=(
        row("BM", ("-", "73.48", "82.85", "5.818")),
        row(
            "BM+ECAnet",
            ("", "73.87", "83.58", "5.826"),
            attention="eca",
            precision="fp16",
            note="5.826 is SE's count repeated: ECA has five weights, so 5.818.",
        ),
        row("BM+SEnet", ("", "73.61", "82.65", "5.826"), attention="se", precision="fp16"),
        row(
            "BM+CBAM",
            ("", "73.87", "82.78", "5.829"),
            attention="cbam",
            precision="fp16",
            note="Ours rounds to 5.826, and the row with DSC agrees with ours, so 5.829 is most likely a misprint.",
        ),
        row(
            "BM+ECAnet+DSC",
            ("", "70.74", "80.3", "3.860"),
            attention="eca",
            context="separable_aspp",
            precision="fp16",
        ),
        row(
            "BM+CBAM+DSC",
            ("", "70.9", "80.92", "3.868"),
            attention="cbam",
            context="separable_aspp",
            precision="fp16",
        ),
    ),
    notes=(
        'The marks of the column "mixed precision" are lost, all but BM\'s dash: the other rows are read as fp16.',
        "SE's accuracies repeat Table 2's; those of ECA and CBAM do not.",
    ),
)


def of_class(name: str, benchmark: str, new: str) -> Row:
    """A class and its IoU by either network."""
    return Row(name=name, printed=(benchmark, new))


CLASSES = _table(
    name="003-T4",
    title="IoU of each class on VOC",
    columns=("benchmark model", "new model"),
    rows=(
        of_class("background", "93.08", "92.46"),
        of_class("airplane", "84.58", "81.19"),
        of_class("bicycle", "42.19", "53.34"),
        of_class("bird", "81.81", "80.69"),
        of_class("boat", "61.61", "64.49"),
        of_class("bottle", "70.62", "68.12"),
        of_class("bus", "93.45", "90.6"),
        of_class("car", "84.7", "82.79"),
        of_class("cat", "87.14", "85.44"),
        of_class("chair", "33.69", "30.51"),
        of_class("cow", "80.37", "80.18"),
        of_class("dining table", "50.33", "52.48"),
        of_class("dog", "79.77", "77.13"),
        of_class("horse", "79.56", "77.91"),
        of_class("motorcycle", "80.65", "79.39"),
        of_class("person", "80.88", "78.01"),
        of_class("potted plant", "57.45", "51.33"),
        of_class("sheep", "80.43", "77.66"),
        of_class("sofa", "43.66", "45.23"),
        of_class("train", "84.45", "80.46"),
        of_class("tvmonitor", "67.93", "59.58"),
        of_class("mIoU", "72.31", "70.9"),
    ),
    networks=(
        row("benchmark model", (), loss="ce", schedule="cos"),
        row("new model", (), attention="cbam", context="separable_aspp", precision="fp16"),
    ),
    notes=(
        "A row is a class, so nothing is counted in it. The benchmark model is dsc_deeplab attention=none context=aspp "
        "(5,818,149 parameters), the new one attention=cbam context=separable_aspp (3,868,231).",
        "This benchmark is the one trained with cross-entropy and the cosine schedule (72.31 in Table 1), not the one "
        "of 73.48 in Tables 2 and 3.",
        'The "test set" is val. The text calls this "Figure 4".',
    ),
)
