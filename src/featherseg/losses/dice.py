"""The soft Dice loss of a whole batch (paper 001), alone and with cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from featherseg.losses.base import Loss, Pixels, Whole, pictures_with, require, require_number
from featherseg.losses.pixelwise import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class Dice(Loss):
    """dice: 1 - mean over classes of (2 sum p g + eps) / (sum p + sum g + eps), sums over the batch (paper 001).

    It is no sum over pixels: each micro-batch has a Dice of its own, weighted with `share`, and a normaliser is passed
    by. The mean is over all classes, background included, those that the batch lacks too.

    Attributes:
        eps: keeps a class without pixels and without probability at Dice 1.
        dice_mask_ignored: False leaves ignored pixels inside sum p, as paper 001's code family does: they then count
            as false positives and have a gradient; a picture without any label stays out.
    """

    per_micro_batch: ClassVar[bool] = True

    eps: float = 1e-5
    dice_mask_ignored: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_dice(self.eps, self.dice_mask_ignored)

    def value(self, pixels: Pixels, whole: Whole) -> Tensor:
        """The Dice loss of this micro-batch, times its share."""
        return whole.share * soft_dice_loss(pixels, eps=self.eps, mask_ignored=self.dice_mask_ignored)


@dataclass(frozen=True, kw_only=True)
class CrossEntropyDice(CrossEntropy):
    """ce_dice: CE + `dice_weight` * Dice (paper 001: equal weights); one softmax serves both.

    The cross-entropy takes the normaliser, the Dice its share.

    Attributes:
        dice_weight: the weight of the Dice loss.
        eps: as in `Dice`.
        dice_mask_ignored: as in `Dice`.
    """

    per_micro_batch: ClassVar[bool] = True

    dice_weight: float = 1.0
    eps: float = 1e-5
    dice_mask_ignored: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("dice_weight", self.dice_weight, low=0.0)
        check_dice(self.eps, self.dice_mask_ignored)

    def value(self, pixels: Pixels, whole: Whole) -> Tensor:
        """The sum of both parts."""
        dice = soft_dice_loss(pixels, eps=self.eps, mask_ignored=self.dice_mask_ignored)
        return super().value(pixels, whole) + whole.share * self.dice_weight * dice


def soft_dice_loss(pixels: Pixels, *, eps: float, mask_ignored: bool) -> Tensor:
    """1 - mean Dice over classes; 0 without gradient where no pixel is valid."""
    probs = pixels.log_probs.exp()  # (N, C, H, W)
    valid = pixels.valid.float()
    seen = valid if mask_ignored else pictures_with(pixels.valid).float().view(-1, 1, 1)
    predicted = (probs * seen.unsqueeze(1)).sum((0, 2, 3))  # (C,)
    both, truth = sums_by_class((pixels.log_p.exp() * valid, valid), pixels)  # sum p g needs p_t alone
    dice = (2 * both + eps) / (predicted + truth + eps)
    return (1 - dice.mean()) * pixels.valid.any()


def sums_by_class(maps: tuple[Tensor, ...], pixels: Pixels) -> list[Tensor]:
    """For each map (N,H,W) its sums over the pixels of each class, (C,).

    First row by row, so that a float32 sum loses nothing however many pixels there are; along one flat dimension, for
    which torch documents a deterministic kernel on GPUs.
    """
    classes = pixels.log_probs.shape[1]
    pictures, height = pixels.label.shape[:2]
    rows = torch.arange(pictures * height, device=pixels.label.device).view(pictures, height, 1)
    place = (rows * classes + pixels.label).flatten()
    zeros = pixels.log_p.new_zeros(pictures * height * classes)
    return [zeros.scatter_add(0, place, values.flatten()).view(-1, classes).sum(0) for values in maps]


def check_dice(eps: float, mask_ignored: bool) -> None:
    """Refuse values of no use."""
    require("eps", eps, 0 < eps < 1, "a small number above 0")
    require("dice_mask_ignored", mask_ignored, isinstance(mask_ignored, bool), "true or false")
