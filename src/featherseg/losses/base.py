"""What every loss shares: how it is called, what it counts, which pixels it sees."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from featherseg.runtime.errors import FeathersegError


class Pixels(NamedTuple):
    """What a loss is made of.

    Attributes:
        log_probs: float32 (N,C,H,W), log softmax of the logits; the one copy of that size, shared by all parts.
        log_p: float32 (N,H,W), log p_t of the pixel's label (of class 0 where ignored).
        label: int64 (N,H,W), 0 where ignored.
        valid: bool (N,H,W), whether the pixel counts.
    """

    log_probs: Tensor
    log_p: Tensor
    label: Tensor
    valid: Tensor


class Whole(NamedTuple):
    """What the caller knows of the whole batch that a micro-batch is part of; the arguments of `Loss.__call__`."""

    normaliser: Tensor | float | None = None
    share: Tensor | float = 1.0
    presence: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """Scores and labels -> one number.

    Attributes:
        ignore_index: the label of pixels that do not count.
        per_micro_batch: whether a part of it is no sum over pixels, so that micro-batches only approximate one batch.
        needs_presence: whether it is made for a network with a presence head.
    """

    per_micro_batch: ClassVar[bool] = False
    needs_presence: ClassVar[bool] = False

    ignore_index: int = 255

    def __post_init__(self) -> None:
        """Refuse fields of no use; a subclass with fields adds to it."""
        require("ignore_index", self.ignore_index, isinstance(self.ignore_index, int), "a whole number")

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        normaliser: Tensor | float | None = None,
        share: Tensor | float = 1.0,
        presence: Tensor | None = None,
    ) -> Tensor:
        """The loss as a scalar float32.

        Args:
            logits: float (N,C,H,W) of any precision.
            target: uint8 or int64 (N,H,W).
            normaliser: what sums over pixels are divided by: `count` of the whole batch, over its micro-batches and
                processes; without it, `count(target)`.
            share: the weight of the parts that are per micro-batch: its `labelled` pictures over the whole batch's.
            presence: float (N,C), logits of which classes occur in each picture; losses without that part pass it by.
        """
        return self.value(look(logits, target, self.ignore_index), Whole(normaliser, share, presence))

    def count(self, target: Tensor) -> Tensor:
        """The normaliser of this target alone: its valid pixels. Counts of micro-batches are summed by who has them."""
        return (target.long() != self.ignore_index).sum()

    def labelled(self, target: Tensor) -> Tensor:
        """The pictures of this target with a valid pixel; of the others nothing is known."""
        return pictures_with(target.long() != self.ignore_index).sum()

    @abstractmethod
    def value(self, pixels: Pixels, whole: Whole) -> Tensor:
        """The loss of pixels that are already looked at."""


@dataclass(frozen=True, kw_only=True)
class PixelLoss(Loss):
    """A sum of per-pixel terms over the valid pixels, divided by the normaliser.

    Attributes:
        class_weights: a factor per class on the term of its pixels; empty for none. The normaliser still counts every
            pixel as one, so that micro-batches add up; `torch.nn.functional.cross_entropy` divides by the sum of the
            weights instead.
    """

    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_numbers("class_weights", self.class_weights, low=0.0)

    def value(self, pixels: Pixels, whole: Whole) -> Tensor:
        """The sum of the terms over the normaliser."""
        terms = self.terms(pixels)
        if self.class_weights:
            terms = terms * per_class("class_weights", self.class_weights, pixels)[pixels.label]
        count = self.own_count(pixels.valid) if whole.normaliser is None else whole.normaliser
        return torch.where(pixels.valid, terms, 0.0).sum() / at_least_one(count, terms)

    def own_count(self, valid: Tensor) -> Tensor:
        """The normaliser where none is handed in."""
        return valid.sum()

    def count(self, target: Tensor) -> Tensor:
        """The normaliser of this target alone."""
        return self.own_count(target.long() != self.ignore_index)

    @abstractmethod
    def terms(self, pixels: Pixels) -> Tensor:
        """The loss of each pixel from its log p_t and label, float32 (N,H,W); ignored ones are dropped afterwards."""


def look(logits: Tensor, target: Tensor, ignore_index: int) -> Pixels:
    """Bring scores and labels into the form that all losses read; the only place that touches every score.

    `nll_loss` without reduction picks log p_t and scatters its gradient with one write per pixel, which is
    deterministic on GPUs too; `gather`'s gradient is a scatter_add, which is not.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise FeathersegError(
            "loss",
            expected="logits (N,C,H,W) and target (N,H,W) of the same size",
            got=f"{tuple(logits.shape)} and {tuple(target.shape)}",
        )
    target = target.long()  # before the comparison: a negative ignore index would wrap around in uint8
    valid = target != ignore_index
    label = target.masked_fill(~valid, 0)
    log_probs = F.log_softmax(logits.float(), dim=1)
    try:
        log_p = -F.nll_loss(log_probs, label, reduction="none")
    except IndexError as error:  # on a GPU this is a device assertion: a check of every batch would wait for the device
        raise FeathersegError(
            "target", expected=f"labels 0..{logits.shape[1] - 1} or {ignore_index}", got=int(label.max())
        ) from error
    return Pixels(log_probs, log_p, label, valid)


def pictures_with(valid: Tensor) -> Tensor:
    """bool (N,H,W) -> bool (N,): which pictures have a valid pixel."""
    return valid.flatten(1).any(1)


def per_class(name: str, values: Sequence[float], pixels: Pixels) -> Tensor:
    """A value per class beside the scores, (C,); refused where their number is not that of the classes."""
    classes = pixels.log_probs.shape[1]
    if len(values) != classes:
        raise FeathersegError(f"loss.{name}", expected=f"{classes} values, one per class", got=len(values))
    return kept(tuple(values), pixels.log_p.dtype, pixels.log_p.device)


@lru_cache(maxsize=64)
def kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, copied there once: each copy to a GPU waits for all that it has to do."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def at_least_one(count: Tensor | float, like: Tensor) -> Tensor:
    """A normaliser that divides a sum over nothing to zero."""
    return torch.as_tensor(count, device=like.device).clamp(min=1)


def require(name: str, value: object, fits: bool, expected: str) -> None:
    """Refuse a field's value that does not fit."""
    if not fits:
        raise FeathersegError(f"loss.{name}", expected=expected, got=repr(value))


def require_number(name: str, value: float, *, low: float, high: float = math.inf) -> None:
    """Refuse what is not finite or outside low <= value <= high."""
    wanted = f"a number, {low:g} or more" if high == math.inf else f"a number in {low:g}..{high:g}"
    fits = isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high
    require(name, value, fits, wanted)


def require_numbers(name: str, values: Sequence[float], *, low: float, high: float = math.inf) -> None:
    """Refuse what is no list of such numbers."""
    require(name, values, isinstance(values, (tuple, list)), "a list of numbers, one per class")
    for value in values:
        require_number(name, value, low=low, high=high)
