"""DeepLabv3+ whose shallow maps are enhanced before they meet the deep one.

Huo, Wang, Liu, Li: "Lightweight Semantic Segmentation Algorithm Based on Multi-level Feature Fusion", 2023 (paper 001),
Fig. 1 (network), Fig. 3 (the FE module), Table 3 (with and without it; its other axis is the loss).

What the paper leaves open and how it is read here (the printed 23.2 MB decides):
- The "two stages" enhanced are c2 (1/4) and c3 (1/8), the ones finer than ASPP's map; each FE gives 48 channels.
- The two branches of FE both look at its input and are "fused" by adding.
- The decoder keeps the two 3x3 convolutions of the network it starts from, although the text names one.
- Table 1 lists the classifier's strides and its 1280-channel convolution; the network has output stride 16 and not
  that convolution (with it the size would be twice as large).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from featherseg.backbones import Features, Stages, create_encoder
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.aspp import ASPP, RATES, AtrousConv
from featherseg.nn.blocks import ConvBNReLU
from featherseg.nn.fusion import RefiningHead, concat_at_first

REDUCED = 48  # channels of each shallow map in the decoder


class FeatureEnhancement(nn.Module):
    """FE: local contours from a 3x3 convolution, plus the picture's mean as the global view (Fig. 3)."""

    def __init__(self, channels: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.local = nn.Sequential(
            ConvBNReLU(channels, hidden, 3, bias=True),
            ConvBNReLU(hidden, REDUCED, 1, bias=True),
        )
        self.overall = nn.Sequential(
            ConvBNReLU(channels, hidden, 1, bias=True),
            ConvBNReLU(hidden, REDUCED, 1, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,48,h,w)."""
        return self.local(x) + self.overall(x.mean((2, 3), keepdim=True))  # type: ignore[no-any-return]


class EnhancedShallow(nn.Module):
    """FE on c2 and on c3, concatenated at 1/4."""

    def __init__(self, channels: Stages) -> None:
        super().__init__()
        self.fe1 = FeatureEnhancement(channels.c2)
        self.fe2 = FeatureEnhancement(channels.c3)
        self.out_channels = 2 * REDUCED

    def forward(self, features: Features) -> Tensor:
        """`Features` -> (N,96,H/4,W/4)."""
        return concat_at_first([self.fe1(features.c2), self.fe2(features.c3)], align_corners=True)


class PlainShallow(nn.Module):
    """DeepLabv3+'s own shallow path: c2 alone, reduced."""

    def __init__(self, channels: Stages) -> None:
        super().__init__()
        self.reduce = ConvBNReLU(channels.c2, REDUCED, 1, bias=True)
        self.out_channels = REDUCED

    def forward(self, features: Features) -> Tensor:
        """`Features` -> (N,48,H/4,W/4)."""
        return self.reduce(features.c2)  # type: ignore[no-any-return]


ENHANCEMENT: dict[str, Callable[[Stages], EnhancedShallow | PlainShallow]] = {
    "fe": EnhancedShallow,
    "none": PlainShallow,
}


@dataclass(frozen=True, kw_only=True)
class FEDeepLabConfig(ModelConfig):
    """The network of paper 001; the default is its last row.

    Attributes:
        enhancement: Table 3; "none" is DeepLabv3+.
        backbone: a listed backbone or `timm:NAME`.
        output_stride: stride of the map that ASPP sees.
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = "001"
    title: ClassVar[str] = "DeepLabv3+ with feature enhancement"
    enhancement: Literal["fe", "none"] = "fe"
    backbone: str = "mobilenetv2"
    output_stride: Literal[16, 8, 32] = 16
    pretrained: str = "none"

    def build(self, num_classes: int) -> FEDeepLab:
        """The network; random weights outside the backbone."""
        return FEDeepLab(num_classes, self)


class FEDeepLab(SegNetwork):
    """The network of Fig. 1."""

    stride = 4
    align_corners = True
    has_image_pooling = True

    def __init__(self, num_classes: int, config: FEDeepLabConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.encoder = create_encoder(config.backbone, output_stride=config.output_stride, pretrained=config.pretrained)
        channels = self.encoder.channels
        self.aspp = ASPP(channels.c5, RATES[config.output_stride], atrous=partial(AtrousConv, bias=True), bias=True)
        self.shallow = ENHANCEMENT[config.enhancement](channels)
        self.head = RefiningHead((self.shallow.out_channels, 256), num_classes, output_stride=config.output_stride)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/4,W/4)."""
        features = self.encoder(images)
        context = self.aspp(features.c5)  # (N, 320, H/16, W/16) -> (N, 256, H/16, W/16)
        shallow = self.shallow(features)  # (N, 96, H/4, W/4)
        return SegOutput(self.head([shallow, context]))
