"""Pixel losses whose weights come from how often each class occurs (paper 004)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from featherseg.losses.base import PixelLoss, Pixels, per_class, require, require_number, require_numbers
from featherseg.losses.pixelwise import rest
from featherseg.runtime.errors import FeathersegError


@dataclass(frozen=True, kw_only=True)
class FrequencyLoss(PixelLoss):
    """A pixel loss whose weights come from how often each class occurs.

    Attributes:
        frequencies: share of each class among the labelled pixels; training counts it where it is left out.
        c: the constant of the weights 1 / ln(f + c) (ENet's; ERFNet has 1.10).
    """

    frequencies: tuple[float, ...] = ()
    c: float = 1.02

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers("frequencies", self.frequencies, low=0.0, high=1.0)
        require("frequencies", self.frequencies, not self.frequencies or any(self.frequencies), "a class that occurs")
        require("c", self.c, math.isfinite(self.c) and self.c > 1, "more than 1, which keeps the weights positive")

    def shares(self) -> tuple[float, ...]:
        """The frequencies, or the error that says they are missing."""
        if not self.frequencies:
            raise FeathersegError(
                "loss.frequencies", expected="the share of each class among labelled pixels", got="none"
            )
        return self.frequencies


@dataclass(frozen=True, kw_only=True)
class WeightedCrossEntropy(FrequencyLoss):
    """wcel: -w_t log p_t with w = 1 / ln(f + c) (ENet's weights; paper 004, Table VII and VIII's rival)."""

    def terms(self, pixels: Pixels) -> Tensor:
        """-w_t log p_t."""
        weights = per_class("frequencies", frequency_weights(self.shares(), self.c), pixels)
        return -weights[pixels.label] * pixels.log_p


@dataclass(frozen=True, kw_only=True)
class ObjectWeightedFocal(FrequencyLoss):
    """owfl: -alpha_t (1 - p_t)^gamma_t ln p_t (paper 004, Eq. 4-7).

    alpha is the weight 1 / ln(f + c) over its maximum; gamma is the order of magnitude of f / min f. So the frequent
    classes are damped twice, and the rare ones (gamma 0) keep plain weighted cross-entropy.
    """

    def terms(self, pixels: Pixels) -> Tensor:
        """-alpha_t (1 - p_t)^gamma_t ln p_t."""
        alpha, gamma = (per_class("frequencies", values, pixels) for values in object_weights(self.shares(), self.c))
        damping = (gamma[pixels.label] * rest(pixels.log_p).log()).exp()  # quicker than a power of two maps
        return -alpha[pixels.label] * damping * pixels.log_p


@dataclass(frozen=True, kw_only=True)
class ObjectWeightedFocalCE(ObjectWeightedFocal):
    """owfl_ce: OWFL + `ce_weight` * CE, the CE without weights of its own (paper 004, Eq. 3).

    Attributes:
        ce_weight: the weight of the cross-entropy.
    """

    ce_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("ce_weight", self.ce_weight, low=0.0)

    def terms(self, pixels: Pixels) -> Tensor:
        """The sum of both terms."""
        return super().terms(pixels) - self.ce_weight * pixels.log_p


def frequency_weights(frequencies: Sequence[float], c: float = 1.02) -> list[float]:
    """w_i = 1 / ln(f_i + c) (ENet, Paszke et al. 2016; paper 004, Eq. 4)."""
    return [1.0 / math.log(share + c) for share in frequencies]


def object_weights(frequencies: Sequence[float], c: float = 1.02) -> tuple[list[float], list[float]]:
    """alpha and gamma of OWFL (paper 004, Eq. 5 and 6).

    A class that never occurs is left out of the minimum and the maximum, and gets alpha 1, gamma 0. The order of
    magnitude is floor(log10 x): rounding would not give the paper's groups.
    """
    present = [share for share in frequencies if share > 0]
    if not present:
        raise FeathersegError("loss.frequencies", expected="at least one class that occurs", got=tuple(frequencies))
    rarest = min(present)
    most = max(frequency_weights(present, c))
    alpha = [
        weight / most if share > 0 else 1.0
        for weight, share in zip(frequency_weights(frequencies, c), frequencies, strict=True)
    ]
    gamma = [float(math.floor(math.log10(share / rarest) + 1e-9)) if share > 0 else 0.0 for share in frequencies]
    return alpha, gamma


def absent_classes(frequencies: Sequence[float], names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes that never occur, to be told to who trains with these frequencies."""
    return tuple(name for name, share in zip(names, frequencies, strict=True) if share == 0)
