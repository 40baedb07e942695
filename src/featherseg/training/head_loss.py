"""The loss of one head's scores at the target's size, with as little at that size as can be, and not for long.

Enlarged scores, their log-softmax and the gradients of both are each 64 times as large as scores at stride 8, and a
network may have several heads. So a head's gradient is taken as soon as its loss is known, and where the loss is a sum
over pixels, picture by picture: what is kept until the network's own backward pass is as small as its scores. A picture
at a time also stays in the processor's caches, where a batch does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from featherseg.losses import Loss
from featherseg.nn.blocks import size_of

SCORES_AT_ONCE = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Enlarged scores that are handled together, unless one picture has more: 4 MB for a CPU's caches; 256 MB for a GPU,
where only memory counts and each kernel should have much to do."""


def head_loss(
    logits: Tensor,
    target: Tensor,
    loss: Loss,
    *,
    align_corners: bool,
    normaliser: Tensor | None = None,
    share: Tensor | float = 1.0,
    presence: Tensor | None = None,
) -> Tensor:
    """The loss of scores (N,C,h,w), resized to the target's (H,W), as a scalar; its gradient is already known.

    The other arguments are those of `Loss.__call__`. Differs from the plain computation by rounding alone.
    """
    size = size_of(target)
    scores = logits.float().contiguous()  # at their own size: log-softmax would else copy the enlarged ones
    pictures = len(scores)
    if not loss.per_micro_batch:
        at_once = SCORES_AT_ONCE.get(scores.device.type, SCORES_AT_ONCE["cuda"])
        pictures = max(1, at_once // (scores.shape[1] * size[0] * size[1]))
        normaliser = loss.count(target) if normaliser is None else normaliser
    presences = (presence.float(),) if presence is not None and loss.needs_presence else ()

    def value(labels: Tensor, some: Tensor, presence: Tensor | None = None) -> Tensor:
        large = enlarge(some, size, align_corners=align_corners)
        return loss(large, labels, normaliser=normaliser, share=share, presence=presence)

    total = scores.new_zeros(())
    for some, labels in zip(torch.split(scores, pictures), torch.split(target, pictures), strict=True):
        total = total + with_gradient(partial(value, labels), some, *presences)
    return total


def enlarge(scores: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """The bilinear resize of (N,C,h,w) to (N,C,H,W) as two matrix products, one for each axis.

    It is linear along each axis. The gradients are matrix products too: on a CPU that is several times as fast as the
    backward pass of `interpolate`, and on a GPU it adds in a fixed order.
    """
    if size == size_of(scores):
        return scores
    rows, columns = (
        resizing(old, new, align_corners, scores.device) for old, new in zip(size_of(scores), size, strict=True)
    )
    return rows @ (scores @ columns.T)


@lru_cache(maxsize=64)
def resizing(old: int, new: int, align_corners: bool, device: torch.device) -> Tensor:
    """The linear resize of `old` values to `new` ones as a matrix, float32 (new, old)."""
    with torch.inference_mode(False):  # what is kept must serve training too
        units = torch.eye(old, device=device)[None]  # each resized unit becomes a column
        return F.interpolate(units, size=new, mode="linear", align_corners=align_corners)[0].T.contiguous()


def with_gradient(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`function(*inputs)`, a scalar, with its gradient taken at once, so that what lies between can go."""
    if not torch.is_grad_enabled():
        return function(*inputs)
    value: Tensor = GradientAtOnce.apply(function, *inputs)
    return value


class GradientAtOnce(torch.autograd.Function):
    """The backward pass within the forward pass; what comes down later only scales the gradients."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """The function's value; float32 throughout, whatever the network computes in."""
        leaves = [value.detach().requires_grad_() for value in inputs]
        with torch.enable_grad(), torch.autocast(inputs[0].device.type, enabled=False):
            value = function(*leaves)
            gradients = torch.autograd.grad(value, leaves)
        ctx.save_for_backward(*gradients)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, scaled."""
        return None, *(gradient * upstream[0] for gradient in ctx.saved_tensors)
