"""Weights in less space: fp16 halves them, int8 quarters them; what is read back is float32 again.

int8 is symmetric, one scale for each index of the first dimension, its output channel: weight ~ scale * q with whole q
of -127..127 and scale = max |weight| / 127. No weight is off by more than half a step, scale / 2. A transposed
convolution has a scale per input channel, since that is its first dimension. Kernels of few weights a channel are
halved there instead, for no long sum evens their errors out. With every kernel in 8 bits hybrid_fusion (seed 0) lost
1.26 mIoU points on CamVid's val; with those on the picture and depth-wise ones halved 0.00, but seed 1 then 0.15, and
0.08 with those of 16 to 96 input channels halved, too, in 2.99 MB instead of 2.70.
Tensors of fewer than two dimensions (biases, batch norm, whose variances half precision may not hold) are small and
stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from featherseg.runtime.errors import FeathersegError, refuse_unknown

STORAGES = ("fp32", "fp16", "int8")

SCALE = "::scale"
"""Ends the name of a scale; names of weights have dots in them and no colons."""

LEVELS = 127

FEWEST = 100
"""Weights of a channel from which on they are quantised: a depth-wise 3x3 kernel has 9, one on the picture 27, a 1x1
kernel as many as it has input channels."""


def pack(weights: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    """The tensors to be written for a network's weights.

    Args:
        weights: name -> tensor, as a state dict.
        storage: "fp32" leaves all as it is; "fp16" halves floating tensors of two dimensions and more where they fit
            into its range; "int8" writes those of `FEWEST` weights a channel and more as int8 with float32 scales (C,)
            under NAME::scale, and halves the others.
    """
    refuse_unknown("storage", storage, STORAGES)
    tensors: dict[str, Tensor] = {}
    for name, value in weights.items():
        kept = value.detach().cpu().contiguous()
        assert not name.endswith(SCALE), f"{name}: reserved for scales"
        if storage == "fp32" or not kept.is_floating_point() or kept.ndim < 2 or not kept.numel():
            tensors[name] = kept
        elif storage == "int8" and kept[0].numel() >= FEWEST:
            tensors[name], tensors[f"{name}{SCALE}"] = quantised(kept.float(), name)
        else:
            if storage == "int8":
                refuse_infinite(kept, name)
            half = kept.half()
            tensors[name] = half if half.isfinite().all() else kept
    return tensors


def quantised(weight: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """float32 (C, ...) -> int8 (C, ...) and the scales, float32 (C,); a channel of zeros has the scale zero."""
    refuse_infinite(weight, name)
    rows = weight.flatten(1)
    scale = rows.abs().amax(dim=1) / LEVELS
    scale = torch.where(scale < torch.finfo(torch.float32).tiny, 0.0, scale)  # subnormal: next to nothing
    steps = torch.where(scale > 0, scale, 1.0)[:, None]
    levels = (rows / steps).round().clamp(-LEVELS, LEVELS).to(torch.int8)
    return levels.view_as(weight).contiguous(), scale


def refuse_infinite(weight: Tensor, name: str) -> None:
    """Refuse weights that no scale reaches."""
    if not weight.isfinite().all():
        raise FeathersegError(f"{name} holds numbers that are not finite", remedy="int8 is for networks that learned")


def unpack(tensors: Mapping[str, Tensor], *, source: str = "weights") -> dict[str, Tensor]:
    """The weights that tensors of a file stand for: floating ones as float32, others as they are.

    Raises:
        FeathersegError: for int8 weights without their scales, and scales without weights, by name.
    """
    weights: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            if name.removesuffix(SCALE) not in tensors:
                raise damaged(source, name, "the weights that it scales", "none")
        elif value.dtype == torch.int8:
            weights[name] = widened(value, tensors.get(f"{name}{SCALE}"), name, source)
        else:
            weights[name] = value.float() if value.is_floating_point() else value
    return weights


def widened(levels: Tensor, scale: Tensor | None, name: str, source: str) -> Tensor:
    """int8 (C, ...) and its scales (C,) -> float32 (C, ...)."""
    wanted = f"float32 scales {(len(levels),) if levels.ndim else ()} under {name}{SCALE}"
    if scale is None:
        raise damaged(source, name, wanted, "none")
    if levels.ndim < 2 or scale.shape != levels.shape[:1] or not scale.is_floating_point():
        raise damaged(source, name, wanted, f"{scale.dtype} {tuple(scale.shape)}")
    return levels.float() * scale.float().view(-1, *[1] * (levels.ndim - 1))


def damaged(source: str, name: str, expected: str, got: str) -> FeathersegError:
    """The refusal of a file whose int8 weights are not whole."""
    return FeathersegError(
        f"{source}: {name}", expected=expected, got=got, remedy="the file was changed or cut off; copy it again"
    )
