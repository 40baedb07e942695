"""What a step minimises: the loss of a network's output against its target."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from featherseg.data import SegData, class_frequencies
from featherseg.losses import LOSSES, Loss, loss_fields
from featherseg.models import SegOutput
from featherseg.nn.blocks import resize
from featherseg.runtime.errors import FeathersegError
from featherseg.training.run import Run


def objective(output: SegOutput, target: Tensor, loss: Loss, *, aux_weight: float, align_corners: bool) -> Tensor:
    """The loss of a network's output: the main scores, plus `aux_weight` times each auxiliary head's.

    Scores are resized to the target here, once; nowhere else in training.
    """
    size = (target.shape[-2], target.shape[-1])
    total = loss(resize(output.logits.float(), size, align_corners=align_corners), target)
    for logits in output.aux_logits:
        total = total + aux_weight * loss(resize(logits.float(), size, align_corners=align_corners), target)
    return total


def make_loss(run: Run, data: SegData) -> Loss:
    """The run's loss; class frequencies are counted from the training split where it wants them."""
    fields: dict[str, Any] = {"ignore_index": data.classes.ignore_index, **run.loss.fields}
    if "frequencies" in loss_fields(run.loss.name):
        frequencies = tuple(fields.get("frequencies") or class_frequencies(data))
        if len(frequencies) != len(data.classes):
            raise FeathersegError("loss.frequencies", expected=f"{len(data.classes)} shares", got=len(frequencies))
        fields["frequencies"] = frequencies
    return LOSSES[run.loss.name](**fields)
