"""AFFNet: attention feature fusion at 1/8 of the picture.

Kuang, Liu, Chen, Zhang: "Lightweight Semantic Segmentation Network based on Attention Feature Fusion", 2023 (paper
004), Fig. 1 (network), Fig. 3-5 (attention and pooling branch), Fig. 6 (fusions), Table I and II (the field `fusion`).

What the paper leaves open and how it is read here:
- Down-sampling units are convolution beside max pooling (ERFNet's form); all pooling is 3x3.
- Stages take Fast-SCNN's plan (stride in modules 1 and 4, width in 4 and 7); the printed "1st and 5th, 4th and 6th"
  contradicts "three modules per unit" of Fig. 1 and is kept as plan="literal".
- The two fused maps are "superimposed" by concatenation. Spatial attention is 3x3 (Eq. 2), not CBAM's 7x7; r = 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.attention import CBAM
from featherseg.nn.blocks import ConvBNReLU, DepthwiseSeparable, InvertedResidual, resize, size_of
from featherseg.nn.fusion import FusingConv, concat_at_first
from featherseg.nn.pooling import PyramidPooling

WIDTH = 128  # channels of every fused map

# (stride, out_channels) of the inverted residuals in three units; after each a feature is tapped (F2, F3, then SPP)
PLANS: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "fast_scnn": (((2, 64), (1, 64), (1, 64)), ((2, 96), (1, 96), (1, 96)), ((1, 128), (1, 128), (1, 128))),
    "literal": (((2, 64), (1, 64), (1, 64)), ((1, 96), (2, 96), (1, 128)), ((1, 128), (1, 128), (1, 128))),
}


class Downsample(nn.Module):
    """Halve the map: 3x3 convolution beside 3x3 max pooling of the same input, batch norm, ReLU (Init-unit of ENet)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N,in,H,W) -> (N,out,H/2,W/2), rounded up."""
        pooled = F.max_pool2d(x, 3, stride=2, padding=1)
        return F.relu(self.norm(torch.cat([self.conv(x), pooled], dim=1)), inplace=True)


class ResidualCBAM(CBAM):
    """x + CBAM(x): the attention branch's circled plus (Fig. 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, reduction=4, kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class PoolingBranch(nn.Sequential):
    """1x1 CBR to 128 channels, then 5x5 max pooling, which lifts edges and texture (Fig. 5)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(ConvBNReLU(in_channels, WIDTH, 1), nn.MaxPool2d(5, stride=1, padding=2))


class AttentionConcat(nn.Module):
    """Attended maps concatenated at 1/8, then 3x3 CBR to 128 channels; two of them come from 1/32."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = FusingConv(channels, WIDTH, deep=2)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N,c_i,h_i,w_i) -> (N,128,h_0,w_0)."""
        return self.reduce(maps)  # type: ignore[no-any-return]


class AttentionSum(nn.Module):
    """Element-wise add (EWA) of attended maps: at 1/8, each brought to 128 channels (3x3 CBR where it has others)."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.widen = nn.ModuleList(nn.Identity() if c == WIDTH else ConvBNReLU(c, WIDTH, 3) for c in channels)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N,c_i,h_i,w_i) -> (N,128,h_0,w_0)."""
        size = size_of(maps[0])
        return torch.stack([widen(resize(x, size)) for widen, x in zip(self.widen, maps, strict=True)]).sum(0)


class PoolingSum(nn.Module):
    """Element-wise add (EWA) of pooled maps, at 1/8."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N,128,h_i,w_i) -> (N,128,h_0,w_0)."""
        p1, p2, p3, p4 = maps  # the last two are of one size: added first, they are resized once
        return p1 + resize(p2, size_of(p1)) + resize(p3 + p4, size_of(p1))


class PoolingConcat(nn.Module):
    """Pooled maps concatenated at 1/8, then a separable convolution to 128 channels."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.reduce = DepthwiseSeparable(levels * WIDTH, WIDTH)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (N,128,h_i,w_i) -> (N,128,h_0,w_0)."""
        return self.reduce(concat_at_first(maps, align_corners=False))  # type: ignore[no-any-return]


class AFFM(nn.Module):
    """Attention feature fusion: an attention branch and a pooling branch per level, each fused at 1/8 (Fig. 3, 5, 6a).

    The part of `fusion` before "+" fuses the attention branches, the part after it the pooling branches (Table I). Both
    fused maps are concatenated, in the row "ewa" added.
    """

    def __init__(self, channels: tuple[int, ...], fusion: str) -> None:
        super().__init__()
        attention, _, pooling = fusion.partition("+")
        pooling = pooling or attention
        self.attend = nn.ModuleList(ResidualCBAM(c) for c in channels)
        self.pool = nn.ModuleList(PoolingBranch(c) for c in channels)
        self.fuse_attention: nn.Module = AttentionConcat(channels) if attention == "concat" else AttentionSum(channels)
        self.fuse_pooling: nn.Module = PoolingConcat(len(channels)) if pooling == "concat" else PoolingSum()
        self.join = torch.add if fusion == "ewa" else concat
        self.out_channels = WIDTH if fusion == "ewa" else 2 * WIDTH

    def forward(self, features: list[Tensor]) -> Tensor:
        """F1..F4 -> (N,256,H/8,W/8); 128 channels in the row "ewa"."""
        attended = [attend(x) for attend, x in zip(self.attend, features, strict=True)]
        pooled = [pool(x) for pool, x in zip(self.pool, features, strict=True)]
        return self.join(self.fuse_attention(attended), self.fuse_pooling(pooled))


def concat(a: Tensor, b: Tensor) -> Tensor:
    """(N,c,h,w), (N,d,h,w) -> (N,c+d,h,w)."""
    return torch.cat([a, b], dim=1)


class FPNPAN(nn.Module):
    """The rival of Table II (Fig. 6b): CBAM on every level, down and up again by concatenation, out at 1/8.

    The figure names no widths; those here give the printed 1.56 M parameters.
    """

    out_channels = WIDTH

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.attend = nn.ModuleList(ResidualCBAM(c) for c in channels)
        self.down1 = nn.Sequential(ConvBNReLU(c1, c1, 1), nn.MaxPool2d(5, stride=2, padding=2))
        self.merge2 = ConvBNReLU(c1 + c2, 128, 1)
        self.down2 = nn.Sequential(ConvBNReLU(128, 128, 1), nn.MaxPool2d(5, stride=2, padding=2))
        self.merge3 = ConvBNReLU(128 + c3, 96, 1)
        self.down3 = nn.Sequential(ConvBNReLU(96, 96, 1), nn.MaxPool2d(5, stride=1, padding=2))
        self.merge4 = ConvBNReLU(96 + c4, 96, 1)
        self.top3 = ConvBNReLU(96 + 96, 64, 3)
        self.top2 = ConvBNReLU(64 + 128, 96, 1)
        self.top1 = ConvBNReLU(96 + c1, WIDTH, 3)

    def forward(self, features: list[Tensor]) -> Tensor:
        """F1..F4 -> (N,128,H/8,W/8)."""
        a1, a2, a3, a4 = (attend(x) for attend, x in zip(self.attend, features, strict=True))
        n2 = self.merge2(concat(self.down1(a1), a2))  # 1/16
        n3 = self.merge3(concat(self.down2(n2), a3))  # 1/32
        n4 = self.merge4(concat(self.down3(n3), a4))  # 1/32
        t3 = self.top3(concat(n4, n3))  # 1/32
        t2 = self.top2(concat(resize(t3, size_of(n2)), n2))  # 1/16
        return self.top1(concat(resize(t2, size_of(a1)), a1))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class AFFNetConfig(ModelConfig):
    """AFFNet; the defaults are the paper's full network.

    Attributes:
        fusion: the rows of Table I, and the rival of Table II.
        plan: which modules of the deep branch stride and widen.
        presence: an extra head that tells which classes occur, for the semantic encoding loss; dropped when deployed.
    """

    paper: ClassVar[str] = "004"
    title: ClassVar[str] = "AFFNet"
    fusion: Literal["concat+ewa", "ewa", "concat", "ewa+concat", "fpn_pan"] = "concat+ewa"
    plan: Literal["fast_scnn", "literal"] = "fast_scnn"
    presence: Literal[False, True] = False

    def build(self, num_classes: int) -> AFFNet:
        """The network with random weights."""
        return AFFNet(num_classes, self)


class AFFNet(SegNetwork):
    """The network of Fig. 1."""

    stride = 8
    has_image_pooling = True

    def __init__(self, num_classes: int, config: AFFNetConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.downsample = nn.Sequential(Downsample(3, 16), Downsample(16, 32), Downsample(32, 64))
        units, channels = [], [64]
        for unit in PLANS[config.plan]:
            widths = [channels[-1], *(width for _, width in unit)]
            units.append(
                nn.Sequential(*(InvertedResidual(i, o, stride=s) for i, (s, o) in zip(widths[:-1], unit, strict=True)))
            )
            channels.append(widths[-1])
        self.unit1, self.unit2, self.unit3 = units
        self.spp = PyramidPooling(channels[3], 32, WIDTH)
        levels = (*channels[:3], WIDTH)
        self.fusion = FPNPAN(levels) if config.fusion == "fpn_pan" else AFFM(levels, config.fusion)
        self.classifier = nn.Sequential(
            DepthwiseSeparable(self.fusion.out_channels, WIDTH),
            DepthwiseSeparable(WIDTH, WIDTH),
            nn.Dropout(0.1),
            nn.Conv2d(WIDTH, num_classes, 3, padding=1),
        )
        self.presence = nn.Linear(WIDTH, num_classes) if config.presence else None

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/8,W/8)."""
        f1 = self.downsample(images)  # (N, 64, H/8, W/8)
        f2 = self.unit1(f1)  # (N, 64, H/16, W/16)
        f3 = self.unit2(f2)  # (N, 96, H/32, W/32)
        f4 = self.spp(self.unit3(f3))  # (N, 128, H/32, W/32)
        logits = self.classifier(self.fusion([f1, f2, f3, f4]))
        present = self.presence(f4.mean((2, 3))) if self.presence is not None else None
        return SegOutput(logits, presence=present)

    def drop_training_heads(self) -> None:
        """The presence head."""
        self.presence = None
