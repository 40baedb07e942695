"""Paper 001, Huo and others: the backbone (Table 1), the machine (2), the ablation (3), comparisons (4, 5)."""

from __future__ import annotations

from functools import partial

from featherseg.recipes.tables.conventions import FILE, THOP
from featherseg.recipes.tables.row import Row, Table

_table = partial(Table, paper="001", num_classes=21, size=(512, 512), cost=THOP, mbytes=FILE)

BASELINE = {"enhancement": "none"}
FULL = {"enhancement": "fe"}
BOTH = {"loss": "ce_dice"}

MBYTES_NOTE = (
    "The paper's megabytes are 2^20 bytes of a file as PyTorch 1.2 writes it; ours is that file's size. The newer "
    "format adds about 0.06."
)


def ours(printed: tuple[str, ...], note: str = "") -> Row:
    """The paper's full network."""
    return Row(name="Ours", printed=printed, model="fe_deeplab", fields=FULL, run=BOTH, note=note)


LISTING = _table(
    name="001-T1",
    title="MobileNetV2, stage by stage",
    columns=("input", "operator", "t", "c", "n", "s"),
    rows=(
        Row(name="1", printed=("512²×3", "conv2d", "-", "32", "1", "2"), note="Ours gives 32x256x256."),
        Row(
            name="2",
            printed=("256²×32", "conv2d", "1", "16", "1", "1"),
            note="The operator is a bottleneck with t = 1. Ours gives 16x256x256.",
        ),
        Row(
            name="3",
            printed=("256²×16", "bottleneck", "6", "24", "2", "2"),
            note="Ours gives 24x128x128, which the first FE module takes.",
        ),
        Row(
            name="4",
            printed=("128²×24", "bottleneck", "6", "32", "3", "2"),
            note="Ours gives 32x64x64, which the second FE module takes.",
        ),
        Row(name="5", printed=("64²×32", "bottleneck", "6", "64", "4", "2"), note="Ours gives 64x32x32."),
        Row(name="6", printed=("32²×64", "bottleneck", "6", "96", "3", "1"), note="Ours gives 96x32x32."),
        Row(
            name="7",
            printed=("32²×96", "bottleneck", "6", "160", "3", "2"),
            note="Ours gives 160x32x32: dilated where the listing strides.",
        ),
        Row(
            name="8",
            printed=("16²×160", "bottleneck", "6", "320", "1", "1"),
            note="Ours gives 320x32x32, which the ASPP takes.",
        ),
        Row(
            name="9",
            printed=("16²×320", "conv2d 1×1", "-", "1280", "1", "1"),
            note="Not in ours: with 1280 channels before the ASPP the file would be about 51 MB, not the printed 23.2.",
        ),
    ),
    notes=(
        "A row is a stage, not a network, so nothing is counted. The stages that featherseg builds (1 to 8) have "
        "1,811,712 parameters together.",
        "The listing is MobileNetV2's own, at stride 32. The text's ASPP rates 6, 12, 18 mean stride 16, so ours is "
        "built with output_stride=16.",
    ),
)

ENVIRONMENT = _table(
    name="001-T2",
    title="The machine of the experiments",
    columns=("version",),
    rows=(
        Row(name="OS", printed=("64 Windows10",)),
        Row(name="processor", printed=("Intel(R) Xeon(R)Silver 4114 CPU @2.20GHZ 2.19GHZ",)),
        Row(name="GPU", printed=("NVIDIA Quadro P4000",)),
        Row(name="Cuda", printed=("Cuda 9.2",)),
        Row(name="Python", printed=("Python 3.6",)),
        Row(name="Deep Learning Framework", printed=("Pytorch 1.2.0",)),
        Row(name="development tools", printed=("PyCharm Community Edition 2020.3.3 x64",)),
    ),
    notes=("Nothing to build or to count. Of the training, the paper tells no more than this.",),
)


def ablation(name: str, printed: tuple[str, ...], fields: dict[str, str], loss: str) -> Row:
    """A row of Table 3."""
    return Row(name=name, printed=printed, model="fe_deeplab", fields=fields, run={"loss": loss})


ABLATION = _table(
    name="001-T3",
    title="Cross-entropy, Dice loss and the FE module",
    columns=("CELoss", "DiceLoss", "FE module", "PA (%)", "mIoU (%)"),
    rows=(
        ablation("CE", ("✓", "", "", "81.43", "71.66"), BASELINE, "ce"),
        ablation("CE + Dice", ("✓", "✓", "", "81.3", "72.46"), BASELINE, "ce_dice"),
        ablation("CE + FE", ("✓", "", "✓", "81.41", "72.5"), FULL, "ce"),
        ablation("CE + Dice + FE", ("✓", "✓", "✓", "81.89", "72.61"), FULL, "ce_dice"),
    ),
    notes=(
        "The loss does not change the network: two counts serve four rows.",
        '"PA" must be the mean over classes: overall pixel accuracy would be 92 or more at these mIoU.',
        "Called results on the VOC test set, whose labels are not public: read as val.",
        MBYTES_NOTE,
    ),
)

ACCURATE = _table(
    name="001-T4",
    title="Against larger networks on VOC",
    columns=("mIoU (%)", "time (ms)", "weights (MB)"),
    rows=(
        Row(
            name="FCN-8s",
            printed=("59.59", "160", "91.3"),
            note="A VGG-16 FCN-8s has 134.5 M parameters, 513 MB; one on ResNet-50 would come near the printed size.",
        ),
        Row(
            name="UNet",
            printed=("55", "146", "94.9"),
            model="unet_vgg16",
            note="Fits a VGG-16 UNet of 24.89 M parameters: this one.",
        ),
        Row(
            name="PSPNet",
            printed=("73.24", "120", "178"),
            model="pspnet_resnet50",
            fields={"output_stride": 8, "supervision": "none"},
            note="Fits a ResNet-50 PSPNet of 46.72 M parameters, without its auxiliary head: this one. The text says "
            '65.7 M and "several seconds".',
        ),
        ours(("72.61", "45", "23.2")),
    ),
    notes=("The text calls this Table 5.", MBYTES_NOTE),
)

LIGHT = _table(
    name="001-T5",
    title="Against light networks on VOC",
    columns=("mIoU (%)", "time (ms)"),
    rows=(
        Row(name="DeepSN", printed=("64.94", "54.6"), note="DeepSqueezeNet-CRF."),
        Row(name="ESPNetv2", printed=("68.0", "16.2")),
        Row(
            name="CRF-RNN",
            printed=("72.0", "56"),
            note="No light network: a VGG-16 FCN of 134.5 M parameters with a CRF on top.",
        ),
        ours(("72.61", "45")),
    ),
    notes=("The text calls this Table 6.",),
)
