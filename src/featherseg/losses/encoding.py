"""OWFL with the semantic encoding loss, for networks with a presence head (DSNet's loss in paper 004, Table IV)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from featherseg.losses.base import Pixels, Whole, at_least_one, pictures_with, require_number
from featherseg.losses.frequency import ObjectWeightedFocal
from featherseg.runtime.errors import FeathersegError


@dataclass(frozen=True, kw_only=True)
class ObjectWeightedFocalSE(ObjectWeightedFocal):
    """owfl_se: OWFL + `se_weight` * semantic encoding loss (EncNet, Zhang et al. 2018, section 3.1).

    The semantic encoding loss is the binary cross-entropy of which classes each picture has, large and small ones
    alike; it reads the presence logits of the network. Without them this is OWFL alone. OWFL takes the normaliser, the
    semantic encoding loss, a mean over pictures and classes, its share.

    Attributes:
        se_weight: the weight of the semantic encoding loss; EncNet's is 0.2.
    """

    per_micro_batch: ClassVar[bool] = True
    needs_presence: ClassVar[bool] = True

    se_weight: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("se_weight", self.se_weight, low=0.0)

    def value(self, pixels: Pixels, whole: Whole) -> Tensor:
        """The sum of both parts."""
        owfl = super().value(pixels, whole)
        if whole.presence is None:
            return owfl
        return owfl + whole.share * self.se_weight * semantic_encoding_loss(whole.presence, pixels)


def semantic_encoding_loss(presence: Tensor, pixels: Pixels) -> Tensor:
    """Mean binary cross-entropy over classes and over pictures with a valid pixel; nothing is known of the others."""
    pictures, classes = pixels.log_probs.shape[:2]
    if presence.shape != (pictures, classes):
        raise FeathersegError("presence", expected=f"logits ({pictures}, {classes})", got=tuple(presence.shape))
    label = torch.where(pixels.valid, pixels.label, classes).flatten(1)  # ignored pixels in a column of their own
    present = label.new_zeros(pictures, classes + 1).scatter_(1, label, 1)[:, :classes]
    error = F.binary_cross_entropy_with_logits(presence.float(), present.float(), reduction="none").mean(1)  # (N,)
    known = pictures_with(pixels.valid)
    return torch.where(known, error, 0.0).sum() / at_least_one(known.sum(), error)
