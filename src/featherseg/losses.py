"""The losses of the papers: `LOSSES[name](**fields)(logits, target) -> scalar`.

logits are float (N,C,H,W), target uint8 or int64 (N,H,W) of the same size, with `ignore_index` where nothing counts.
All arithmetic is float32 whatever the dtype of the logits. A pixel loss is the sum over valid pixels divided by a
normaliser: the number of valid pixels of the batch, or the one handed in (the valid pixels of the whole accumulated
batch), so that micro-batches add up to one big batch. Over no valid pixel it is zero, with zero gradient.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from featherseg.runtime.errors import FeathersegError


def log_prob_of_target(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """log p_t, the label (0 where ignored) and whether the pixel is valid, each (N,H,W)."""
    valid = target != ignore_index
    label = torch.where(valid, target, 0).long()
    cross_entropy = F.cross_entropy(logits.float(), label, reduction="none")
    return -cross_entropy, label, valid


@dataclass(frozen=True, kw_only=True)
class PixelLoss(ABC):
    """A loss that is a mean of per-pixel terms over the valid pixels."""

    ignore_index: int = 255

    def __call__(self, logits: Tensor, target: Tensor, *, normaliser: Tensor | float | None = None) -> Tensor:
        """Scalar float32; see the module's docstring for shapes and the normaliser."""
        log_p, label, valid = log_prob_of_target(logits, target, self.ignore_index)
        total = torch.where(valid, self.terms(log_p, label), 0.0).sum()
        count = valid.sum() if normaliser is None else torch.as_tensor(normaliser, device=total.device)
        return total / count.clamp(min=1)

    @abstractmethod
    def terms(self, log_p: Tensor, label: Tensor) -> Tensor:
        """The loss of each pixel from its log p_t and label, (N,H,W)."""


@dataclass(frozen=True, kw_only=True)
class FrequencyLoss(PixelLoss):
    """A pixel loss whose weights come from how often each class occurs.

    Attributes:
        frequencies: share of each class among the labelled pixels; training counts it where it is left out.
        c: the constant of the weights 1 / ln(f + c) (ENet).
    """

    frequencies: tuple[float, ...] = ()
    c: float = 1.02

    def shares(self, like: Tensor) -> tuple[float, ...]:
        """The frequencies, or the error that says they are missing."""
        if not self.frequencies:
            raise FeathersegError(
                "loss.frequencies", expected="the share of each class among labelled pixels", got="none"
            )
        return self.frequencies


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(PixelLoss):
    """ce: -log p_t."""

    def terms(self, log_p: Tensor, label: Tensor) -> Tensor:
        """-log p_t."""
        return -log_p


@dataclass(frozen=True, kw_only=True)
class WeightedCrossEntropy(FrequencyLoss):
    """wcel: -w_t log p_t with w = 1 / ln(f + c) (paper 004, Table VII's rival; ENet's c = 1.02, ERFNet's 1.10)."""

    def terms(self, log_p: Tensor, label: Tensor) -> Tensor:
        """-w_t log p_t."""
        weights = log_p.new_tensor(frequency_weights(self.shares(log_p), self.c))
        return -weights[label] * log_p


@dataclass(frozen=True, kw_only=True)
class ObjectWeightedFocal(FrequencyLoss):
    """owfl: -alpha_t (1 - p_t)^gamma_t ln p_t (paper 004, Eq. 4-7).

    alpha is the weight 1 / ln(f + c) over its maximum; gamma is the order of magnitude of f / min f. So the frequent
    classes are damped twice, and the rare ones (gamma 0) keep plain weighted cross entropy.
    """

    def terms(self, log_p: Tensor, label: Tensor) -> Tensor:
        """-alpha_t (1 - p_t)^gamma_t ln p_t."""
        alpha, gamma = object_weights(self.shares(log_p), self.c)
        alphas, gammas = log_p.new_tensor(alpha), log_p.new_tensor(gamma)
        rest = (1 - log_p.exp()).clamp(min=1e-6)  # 0**0 has no finite gradient
        return -alphas[label] * rest ** gammas[label] * log_p


@dataclass(frozen=True, kw_only=True)
class ObjectWeightedFocalCE(ObjectWeightedFocal):
    """owfl_ce: OWFL + `ce_weight` * CE (paper 004, Eq. 3)."""

    ce_weight: float = 0.5

    def terms(self, log_p: Tensor, label: Tensor) -> Tensor:
        """The sum of both terms."""
        return super().terms(log_p, label) - self.ce_weight * log_p


Loss = PixelLoss

LOSSES: dict[str, type[Loss]] = {
    "ce": CrossEntropy,
    "wcel": WeightedCrossEntropy,
    "owfl": ObjectWeightedFocal,
    "owfl_ce": ObjectWeightedFocalCE,
}


def loss_fields(name: str) -> tuple[str, ...]:
    """The fields of a loss."""
    return tuple(field.name for field in dataclasses.fields(LOSSES[name]))


def frequency_weights(frequencies: Sequence[float], c: float = 1.02) -> list[float]:
    """w_i = 1 / ln(f_i + c) (ENet, Paszke et al. 2016; paper 004, Eq. 4)."""
    return [1.0 / math.log(share + c) for share in frequencies]


def object_weights(frequencies: Sequence[float], c: float = 1.02) -> tuple[list[float], list[float]]:
    """alpha and gamma of OWFL (paper 004, Eq. 5 and 6).

    A class that never occurs is left out of the minimum and gets alpha 1, gamma 0. The order of magnitude is
    floor(log10 x): rounding would not give the paper's groups.
    """
    present = [share for share in frequencies if share > 0]
    if not present:
        raise FeathersegError("loss.frequencies", expected="at least one class that occurs", got=tuple(frequencies))
    rarest = min(present)
    weights = frequency_weights(frequencies, c)
    most = max(weight for weight, share in zip(weights, frequencies, strict=True) if share > 0)
    alpha = [weight / most if share > 0 else 1.0 for weight, share in zip(weights, frequencies, strict=True)]
    gamma = [float(math.floor(math.log10(share / rarest) + 1e-9)) if share > 0 else 0.0 for share in frequencies]
    return alpha, gamma
