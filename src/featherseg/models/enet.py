"""ENet, a peer in paper 004's Table V.

Paszke, Chaurasia, Kim, Culurciello: "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
2016, arXiv:1606.02147, Fig. 2 (initial block, bottleneck), Table 1 (network).

What the paper leaves open, or has otherwise:
- One PReLU slope a layer, and no bias except the classifier's, give 360,185 parameters at 19 classes, the 0.360 M that
  others count (paper 004 prints 0.36). One slope a map, as section 4 says, gives 364,002; ENet itself prints 0.37 M.
- As in the authors' code, the decoder has ReLU, the last transposed convolution is 2x2, and a bottleneck's middle is a
  quarter as wide as what comes out. Their encoder's first training alone, with a classifier of its own, is left out.
- Sides that are no multiple of 8 are padded with zeros, and the scores cropped.
- Max unpooling is written as products (`max_unpool`), since torch's has no ONNX form and is not deterministic on a GPU.
  It equals `torch.nn.functional.max_unpool2d` where the largest of a window leads by 1e-3; what is closer shares the
  value. Else rounding would choose, and an exported file's scores differ by up to a tenth in a few cells of a photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.blocks import crop_padding, pad_to_multiple, size_of

MULTIPLE = 8  # the deepest map is at 1/8
TIE = 1e-3  # values of a window that differ by less share its place

Activation = Callable[[], nn.Module]


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """(N,C,2h,2w) -> the largest of each 2x2 window (N,C,h,w), and each place's share in it (N,C,4,h,w), row by row."""
    pooled = F.max_pool2d(x, 2)
    windows = torch.unflatten(F.pixel_unshuffle(x, 2), 1, (x.shape[1], 4))  # (N, C, 4, h, w)
    behind = (pooled.unsqueeze(2) - windows).detach()
    share = (1 - behind / TIE).clamp(min=0)
    return pooled, share / share.sum(2, keepdim=True)


def max_unpool(x: Tensor, share: Tensor) -> Tensor:
    """(N,C,h,w) -> (N,C,2h,2w): each value where its 2x2 window had the largest, zeros at the other places."""
    return F.pixel_shuffle((x.unsqueeze(2) * share).flatten(1, 2), 2)


def regular(width: int, _: Activation, *, dilation: int = 1) -> nn.Module:
    """A 3x3 convolution, dilated or not."""
    return nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)


def asymmetric(width: int, activation: Activation) -> nn.Module:
    """A 5x5 convolution taken apart: 5x1, batch norm, activation, 1x5."""
    return nn.Sequential(
        nn.Conv2d(width, width, (5, 1), padding=(2, 0), bias=False),
        nn.BatchNorm2d(width),
        activation(),
        nn.Conv2d(width, width, (1, 5), padding=(0, 2), bias=False),
    )


def transposed(width: int, _: Activation) -> nn.Module:
    """(N,C,h,w) -> (N,C,2h,2w)."""
    return nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1, bias=False)


# the middle convolutions of bottlenecks 2.1 to 2.8, and again of stage 3 (Table 1)
PLAN: tuple[Callable[[int, Activation], nn.Module], ...] = (
    regular, partial(regular, dilation=2), asymmetric, partial(regular, dilation=4),
    regular, partial(regular, dilation=8), asymmetric, partial(regular, dilation=16),
)  # fmt: skip


class Extension(nn.Sequential):
    """The branch of a bottleneck that learns: 1x1 down to a quarter, a middle convolution, 1x1 up, spatial dropout.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        middle: makes the middle convolution.
        activation: makes an activation.
        dropout: share of the maps that dropout silences.
        stride: 2 makes the first convolution 2x2 with stride 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        middle: Callable[[int, Activation], nn.Module],
        activation: Activation,
        *,
        dropout: float = 0.1,
        stride: int = 1,
    ) -> None:
        width = out_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, width, stride, stride, bias=False),
            nn.BatchNorm2d(width),
            activation(),
            middle(width, activation),
            nn.BatchNorm2d(width),
            activation(),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Dropout2d(dropout),
        )


class InitialBlock(nn.Module):
    """3x3 convolution with stride 2 beside 2x2 max pooling (Fig. 2a), batch norm, PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.activation = nn.PReLU()

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) -> (N,16,H/2,W/2)."""
        both = torch.cat([self.conv(images), F.max_pool2d(images, 2)], dim=1)
        return self.activation(self.norm(both))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """x + extension(x), then the activation (Fig. 2b)."""

    def __init__(
        self,
        channels: int,
        middle: Callable[[int, Activation], nn.Module] = regular,
        activation: Activation = nn.PReLU,
        *,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.extension = Extension(channels, channels, middle, activation, dropout=dropout)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        return self.activation(x + self.extension(x))  # type: ignore[no-any-return]


class Downsampling(nn.Module):
    """The bottleneck whose main branch pools; the channels that it lacks are zeros."""

    def __init__(self, in_channels: int, out_channels: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.lacking = out_channels - in_channels
        self.extension = Extension(in_channels, out_channels, regular, nn.PReLU, dropout=dropout, stride=2)
        self.activation = nn.PReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N,in,2h,2w) -> (N,out,h,w), and where the maxima were (N,in,4,h,w)."""
        pooled, share = max_pool(x)
        widened = F.pad(pooled, (0, 0, 0, 0, 0, self.lacking))
        return self.activation(widened + self.extension(x)), share


class Upsampling(nn.Module):
    """The bottleneck whose main branch puts its values back where the maxima were."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.extension = Extension(in_channels, out_channels, transposed, nn.ReLU)

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        """(N,in,h,w), where the maxima were (N,out,4,h,w) -> (N,out,2h,2w)."""
        return F.relu(max_unpool(self.main(x), share) + self.extension(x), inplace=True)


@dataclass(frozen=True, kw_only=True)
class ENetConfig(ModelConfig):
    """ENet; it has no variants here."""

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "ENet"

    def build(self, num_classes: int) -> ENet:
        """The network with random weights."""
        return ENet(num_classes)


class ENet(SegNetwork):
    """The network of Table 1."""

    stride = 1

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.initial = InitialBlock()
        self.down1 = Downsampling(16, 64, dropout=0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, dropout=0.01) for _ in range(4)))
        self.down2 = Downsampling(64, 128)
        self.stage2 = nn.Sequential(*(Bottleneck(128, middle) for middle in PLAN))
        self.stage3 = nn.Sequential(*(Bottleneck(128, middle) for middle in PLAN))
        self.up4 = Upsampling(128, 64)
        self.stage4 = nn.Sequential(*(Bottleneck(64, activation=nn.ReLU) for _ in range(2)))
        self.up5 = Upsampling(64, 16)
        self.stage5 = Bottleneck(16, activation=nn.ReLU)
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H,W)."""
        x = self.initial(pad_to_multiple(images, MULTIPLE))  # (N, 16, H/2, W/2)
        x, share1 = self.down1(x)  # (N, 64, H/4, W/4)
        x, share2 = self.down2(self.stage1(x))  # (N, 128, H/8, W/8)
        x = self.stage3(self.stage2(x))
        x = self.stage4(self.up4(x, share2))  # (N, 64, H/4, W/4)
        x = self.stage5(self.up5(x, share1))  # (N, 16, H/2, W/2)
        return SegOutput(crop_padding(self.classifier(x), size_of(images), MULTIPLE))
