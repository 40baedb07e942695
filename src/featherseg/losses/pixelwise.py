"""Pixel losses that need nothing but the pixel: cross-entropy, focal loss, hard example mining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from featherseg.losses.base import PixelLoss, Pixels, Whole, pictures_with, require_number
from featherseg.runtime.errors import refuse_unknown

FOCAL_MEANS = ("all", "valid")


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(PixelLoss):
    """ce: -log p_t."""

    def terms(self, pixels: Pixels) -> Tensor:
        """-log p_t."""
        return -pixels.log_p


@dataclass(frozen=True, kw_only=True)
class Focal(PixelLoss):
    """focal: -alpha (1 - p_t)^gamma log p_t (Lin et al. 2017, Eq. 5, with one alpha for all classes; paper 003, Eq. 5).

    Attributes:
        alpha: factor of every term; paper 003's code family has 0.5.
        gamma: how much sure pixels are damped.
        focal_mean: "all" divides by all pixels of the pictures with labels, where ignored ones add nothing, as paper
            003's code family does; "valid" by the valid ones.
    """

    alpha: float = 0.5
    gamma: float = 2.0
    focal_mean: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("alpha", self.alpha, low=0.0)
        require_number("gamma", self.gamma, low=0.0)
        refuse_unknown("loss.focal_mean", self.focal_mean, FOCAL_MEANS)

    def own_count(self, valid: Tensor) -> Tensor:
        """All pixels of pictures with labels, or the valid ones."""
        return valid.sum() if self.focal_mean == "valid" else pictures_with(valid).sum() * valid[0].numel()

    def terms(self, pixels: Pixels) -> Tensor:
        """-alpha (1 - p_t)^gamma log p_t."""
        return -self.alpha * rest(pixels.log_p) ** self.gamma * pixels.log_p


@dataclass(frozen=True, kw_only=True)
class HardExamples(CrossEntropy):
    """ohem: cross-entropy of the hard pixels alone (Shrivastava et al. 2016, in the form used with BiSeNet).

    Kept are the valid pixels with p_t < threshold; where they are fewer than `min_kept` of the valid ones, that many of
    the hardest. The mean is over the kept pixels of the micro-batch, weighted with `share`; a normaliser is passed by,
    since which pixels are kept depends on the whole micro-batch anyhow.

    Attributes:
        threshold: p_t from which on a pixel is easy.
        min_kept: least share of the valid pixels that is kept, rounded down, but one pixel at least.
    """

    per_micro_batch: ClassVar[bool] = True

    threshold: float = 0.7
    min_kept: float = 1 / 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("threshold", self.threshold, low=0.0, high=1.0)
        require_number("min_kept", self.min_kept, low=0.0, high=1.0)

    def value(self, pixels: Pixels, whole: Whole) -> Tensor:
        """Cross-entropy over the kept pixels, times the share."""
        kept = pixels._replace(valid=self.kept(pixels.log_p, pixels.valid))
        return whole.share * super().value(kept, Whole())

    @torch.no_grad()
    def kept(self, log_p: Tensor, valid: Tensor) -> Tensor:
        """Which pixels are learned from, bool (N,H,W)."""
        limit = math.log(self.threshold) if self.threshold > 0 else -math.inf
        hard = valid & (log_p < limit)
        count = int(valid.sum())
        least = min(count, max(1, int(count * self.min_kept)))
        if int(hard.sum()) >= least:
            return hard
        hardness = torch.where(valid, -log_p, -1.0).flatten()
        hardest = torch.zeros_like(hardness, dtype=torch.bool)
        hardest[hardness.topk(least).indices] = True
        return hardest.view_as(valid)


def rest(log_p: Tensor) -> Tensor:
    """1 - p from log p, exact near p = 1; not quite 0, where a power below 1 has no finite gradient."""
    return (-torch.expm1(log_p)).clamp(min=1e-12)
