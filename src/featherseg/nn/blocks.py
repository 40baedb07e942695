"""Convolution blocks: CBR, depth-wise separable convolution, inverted residual, resizing, padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvBNReLU(nn.Sequential):
    """CBR: convolution, batch norm, ReLU; (N,in,H,W) -> (N,out,H/stride,W/stride), rounded up.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: 1, 3, 5 ...; the padding keeps the size.
        stride: 1 or 2.
        dilation: spacing of the kernel's taps.
        groups: 1, or `in_channels` for a depth-wise convolution.
        bias: whether the convolution keeps a bias although batch norm follows (some papers' code does).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        padding = dilation * (kernel_size - 1) // 2
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class DepthwiseSeparable(nn.Sequential):
    """DS: depth-wise 3x3, then point-wise 1x1, each with batch norm and ReLU (MobileNetV1's block)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(
            ConvBNReLU(in_channels, in_channels, 3, stride=stride, groups=in_channels),
            ConvBNReLU(in_channels, out_channels, 1),
        )


class InvertedResidual(nn.Module):
    """IR: expand 1x1, depth-wise 3x3, project 1x1 without activation; a shortcut where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, expansion: int = 6) -> None:
        super().__init__()
        width = in_channels * expansion
        self.body = nn.Sequential(
            ConvBNReLU(in_channels, width, 1) if expansion > 1 else nn.Identity(),
            ConvBNReLU(width, width, 3, stride=stride, groups=width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N,in,H,W) -> (N,out,H/stride,W/stride)."""
        y: Tensor = self.body(x)
        return x + y if self.has_shortcut else y


def resize(x: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Bilinear resize of (N,C,h,w) to (N,C,H,W); `size` is (H, W) of a reference map, never a factor.

    CUDA adds up the gradient in the map's own type, and sums of half precision stop growing: there it is in float32.
    """
    if x.is_cuda and x.requires_grad and x.dtype in (torch.float16, torch.bfloat16):
        return resize(x.float(), size, align_corners=align_corners).to(x.dtype)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def size_of(x: Tensor) -> tuple[int, int]:
    """(H, W) of (N,C,H,W)."""
    return x.shape[-2], x.shape[-1]


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(N,C,H,W) with zeros at the right and at the bottom, so that both sides are multiples of `multiple`."""
    height, width = size_of(x)
    # No negative number is divided: ONNX rounds such a quotient towards zero, Python downwards.
    down, right = ((side + multiple - 1) // multiple * multiple - side for side in (height, width))
    return F.pad(x, (0, right, 0, down))


def crop_padding(scores: Tensor, size: tuple[int, int], multiple: int, *, stride: int = 1) -> Tensor:
    """What a network made of `pad_to_multiple(images, multiple)`, without the cells that the padding gave.

    Padding by less than nothing, not a slice: an exporter asks whether a slice is the whole, and fixes the answer.

    Args:
        scores: (N,C,h,w) of the padded images.
        size: (H, W) of the images before they were padded.
        multiple: what they were padded to.
        stride: input pixels per cell of the scores; it divides `multiple`.

    Returns:
        (N,C,ceil(H/stride),ceil(W/stride)).
    """
    height, width = size
    return F.pad(scores, (0, -(-width % multiple // stride), 0, -(-height % multiple // stride)))
