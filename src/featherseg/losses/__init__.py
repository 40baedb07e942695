"""The losses of the papers and of the field: `LOSSES[name](**fields)(logits, target) -> scalar`.

logits are float (N,C,H,W), target uint8 or int64 (N,H,W) of the same size, with `ignore_index` where nothing counts.
All arithmetic is float32 whatever the precision of the logits. Over no valid pixel a loss is zero, with zero gradient.

A batch may be seen in micro-batches and by several processes. Sums over pixels then add up to those of the one big
batch when all are divided by the same normaliser, and what is no sum over pixels is averaged by its share:

    normaliser = sum(loss.count(target) for target in targets)  # and over the processes
    share = 1 / len(targets)  # over the processes too
    total = sum(loss(x, y, normaliser=normaliser, share=share) for x, y in zip(logits, targets))

docs/losses.md has the formulas, their sources, and when to use which.
"""

from __future__ import annotations

import dataclasses

from featherseg.losses.base import Loss, PixelLoss, Pixels, Whole
from featherseg.losses.dice import CrossEntropyDice, Dice
from featherseg.losses.encoding import ObjectWeightedFocalSE
from featherseg.losses.frequency import (
    FrequencyLoss,
    ObjectWeightedFocal,
    ObjectWeightedFocalCE,
    WeightedCrossEntropy,
    absent_classes,
    frequency_weights,
    object_weights,
)
from featherseg.losses.pixelwise import CrossEntropy, Focal, HardExamples

LOSSES: dict[str, type[Loss]] = {
    "ce": CrossEntropy,
    "wcel": WeightedCrossEntropy,
    "focal": Focal,
    "dice": Dice,
    "ce_dice": CrossEntropyDice,
    "owfl": ObjectWeightedFocal,
    "owfl_ce": ObjectWeightedFocalCE,
    "owfl_se": ObjectWeightedFocalSE,
    "ohem": HardExamples,
}

__all__ = [
    "LOSSES",
    "FrequencyLoss",
    "Loss",
    "PixelLoss",
    "Pixels",
    "Whole",
    "absent_classes",
    "frequency_weights",
    "loss_fields",
    "object_weights",
]


def loss_fields(name: str) -> tuple[str, ...]:
    """The fields of a loss."""
    return tuple(field.name for field in dataclasses.fields(LOSSES[name]))
