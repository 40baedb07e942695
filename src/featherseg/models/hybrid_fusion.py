"""Feature fusion by hybrid attention on four levels of MobileNetV2.

"Feature Fusion Network Based on Hybrid Attention for Semantic Segmentation", 2022 (paper 002). Only its abstract could
be had (it names no authors): MobileNetV2; spatial and channel attention both for the high-resolution low-level and for
the low-resolution high-level features, so that the final map has a global receptive field; an auxiliary loss at every
stage of the backbone. Everything else here is our own design:
- Taps c2..c5 (output stride 32), each reduced to 128 channels, attended, then added from the deepest upwards.
- On c2, c3 and c4 the two attentions are gates (CBAM's halves, side by side instead of in a row); on c5 they are those
  of DANet (Fu et al. 2019), which let every place see every other. At 1/32 that is cheap; one level up it would cost
  16 times as much. The top-down path carries the global view to every level.
- attention="respective" reads the abstract's sentence the other way: spatial attention on the shallow maps (c2, c3),
  channel attention on the deep ones (c4, c5). With "none" the convolution after the attention stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from featherseg.backbones import create_encoder
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.attention import ChannelAttention, SpatialAttention
from featherseg.nn.blocks import ConvBNReLU, DepthwiseSeparable, resize, size_of

WIDTH = 128  # channels of every level after its lateral convolution
HIDDEN = 16  # width inside the attentions


class PositionAttention(nn.Module):
    """x + gamma * (values of all places, weighted by likeness to this one), gamma learnt from 0 (DANet, Eq. 1, 2)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, hidden, 1)
        self.key = nn.Conv2d(channels, hidden, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        query = self.query(x).flatten(2).transpose(1, 2)  # (N, hw, hidden)
        key = self.key(x).flatten(2)  # (N, hidden, hw)
        value = self.value(x).flatten(2)  # (N, C, hw)
        weight = torch.softmax(query @ key, dim=-1)  # (N, hw, hw), rows sum to 1
        seen: Tensor = value @ weight.transpose(1, 2)  # (N, C, hw)
        return x + self.gamma * seen.view_as(x)


class ChannelGram(nn.Module):
    """x + gamma * (all channels, weighted by unlikeness to this one), gamma learnt from 0 (DANet, Eq. 3, 4).

    DANet's own code subtracts the Gram matrix from its maximum, and so does this.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        flat = x.flatten(2)  # (N, C, hw)
        gram = flat @ flat.transpose(1, 2)  # (N, C, C)
        weight = torch.softmax(gram.amax(-1, keepdim=True) - gram, dim=-1)
        return x + self.gamma * (weight @ flat).view_as(x)


class SideBySide(nn.Module):
    """spatial(x) + channel(x)."""

    def __init__(self, spatial: nn.Module, channel: nn.Module) -> None:
        super().__init__()
        self.spatial, self.channel = spatial, channel

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        return self.spatial(x) + self.channel(x)  # type: ignore[no-any-return]


def hybrid_gates() -> nn.Module:
    """Both gates of CBAM, for the levels with many places."""
    return SideBySide(SpatialAttention(7), ChannelAttention(WIDTH, HIDDEN))


def hybrid_global() -> nn.Module:
    """Both attentions of DANet, for the deepest level."""
    return SideBySide(PositionAttention(WIDTH, HIDDEN), ChannelGram())


def spatial_gate() -> nn.Module:
    """The spatial gate alone."""
    return SpatialAttention(7)


def channel_gate() -> nn.Module:
    """The channel gate alone."""
    return ChannelAttention(WIDTH, HIDDEN)


# attention on the levels c2, c3, c4, c5
ATTENTION: dict[str, tuple[Callable[[], nn.Module], ...]] = {
    "hybrid": (hybrid_gates, hybrid_gates, hybrid_gates, hybrid_global),
    "respective": (spatial_gate, spatial_gate, channel_gate, ChannelGram),
    "none": (nn.Identity, nn.Identity, nn.Identity, nn.Identity),
}


class Level(nn.Sequential):
    """Lateral 1x1 CBR, attention, depth-wise 3x3 CBR: (N,in,h,w) -> (N,128,h,w)."""

    def __init__(self, in_channels: int, attention: nn.Module) -> None:
        super().__init__(ConvBNReLU(in_channels, WIDTH, 1), attention, ConvBNReLU(WIDTH, WIDTH, 3, groups=WIDTH))


@dataclass(frozen=True, kw_only=True)
class HybridFusionConfig(ModelConfig):
    """The network of paper 002.

    Attributes:
        attention: spatial and channel on every level; one of them per level; neither.
        supervision: an auxiliary head on every tapped stage of the backbone, dropped when deployed; or none.
        backbone: a listed backbone or `timm:NAME`.
        output_stride: stride of c5.
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = "002"
    title: ClassVar[str] = "Hybrid attention feature fusion"
    attention: Literal["hybrid", "respective", "none"] = "hybrid"
    supervision: Literal["stages", "none"] = "stages"
    backbone: str = "mobilenetv2"
    output_stride: Literal[32, 16, 8] = 32
    pretrained: str = "none"

    def build(self, num_classes: int) -> HybridFusion:
        """The network; random weights outside the backbone."""
        return HybridFusion(num_classes, self)


class HybridFusion(SegNetwork):
    """Four levels, attended, added from the deepest upwards."""

    stride = 4

    def __init__(self, num_classes: int, config: HybridFusionConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.encoder = create_encoder(config.backbone, output_stride=config.output_stride, pretrained=config.pretrained)
        channels = self.encoder.channels
        on_c2, on_c3, on_c4, on_c5 = ATTENTION[config.attention]
        self.level2 = Level(channels.c2, on_c2())
        self.level3 = Level(channels.c3, on_c3())
        self.level4 = Level(channels.c4, on_c4())
        self.level5 = Level(channels.c5, on_c5())
        self.merge4 = DepthwiseSeparable(WIDTH, WIDTH)
        self.merge3 = DepthwiseSeparable(WIDTH, WIDTH)
        self.merge2 = DepthwiseSeparable(WIDTH, WIDTH)
        self.classifier = nn.Sequential(
            DepthwiseSeparable(WIDTH, WIDTH), nn.Dropout(0.1), nn.Conv2d(WIDTH, num_classes, 1)
        )
        supervised = channels[1:] if config.supervision == "stages" else ()
        self.aux_heads = nn.ModuleList(
            nn.Sequential(ConvBNReLU(width, 64, 3), nn.Conv2d(64, num_classes, 1)) for width in supervised
        )

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/4,W/4); auxiliary logits at c2, c3, c4, c5."""
        _, c2, c3, c4, c5 = self.encoder(images)
        z2 = self.level2(c2)  # (N, 24, H/4, W/4) -> (N, 128, H/4, W/4)
        z3 = self.level3(c3)  # (N, 32, H/8, W/8) -> (N, 128, H/8, W/8)
        z4 = self.level4(c4)  # (N, 96, H/16, W/16) -> (N, 128, H/16, W/16)
        z5 = self.level5(c5)  # (N, 320, H/32, W/32) -> (N, 128, H/32, W/32)
        y4 = self.merge4(z4 + resize(z5, size_of(z4)))
        y3 = self.merge3(z3 + resize(y4, size_of(z3)))
        y2 = self.merge2(z2 + resize(y3, size_of(z2)))
        aux_logits = tuple(head(x) for head, x in zip(self.aux_heads, (c2, c3, c4, c5), strict=False))
        return SegOutput(self.classifier(y2), aux_logits)

    def drop_training_heads(self) -> None:
        """The auxiliary heads of the stages."""
        self.aux_heads = nn.ModuleList()
