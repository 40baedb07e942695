"""DeepLabv3+ with attention after a separable ASPP.

Ma, Wang: "DeepLabV3+ Model Incorporating Attention Mechanisms and Deep Separable Convolution", World Scientific
Research Journal 9(5), 2023 (paper 003), Fig. 5 (network), Table 2 (attention), Table 3 (with separable convolution).

What the paper leaves open and how it is read here (its printed parameters and GFLOPs decide):
- Attention stands on ASPP's 256 channels, after the projection. SE and CBAM reduce by 16, without biases; 7x7.
- "Separable" are the three dilated branches alone; nothing stands between their depth-wise and point-wise convolution.
- "Seven branches" are five. The "128x128x256" shallow map has MobileNetV2's 24 channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn

from featherseg.backbones import create_encoder
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.aspp import ASPP, RATES, AtrousConv, SeparableAtrousConv
from featherseg.nn.attention import CBAM, ECA, SqueezeExcitation
from featherseg.nn.blocks import ConvBNReLU
from featherseg.nn.fusion import RefiningHead

WIDTH = 256  # channels of ASPP's output

ATTENTION: dict[str, Callable[[], nn.Module]] = {
    "cbam": partial(CBAM, WIDTH, reduction=16),
    "se": partial(SqueezeExcitation, WIDTH, reduction=16),
    "eca": partial(ECA, WIDTH),
    "none": nn.Identity,
}

BRANCH: dict[str, Callable[[int, int, int], nn.Module]] = {
    "separable_aspp": SeparableAtrousConv,
    "aspp": partial(AtrousConv, bias=True),
}


@dataclass(frozen=True, kw_only=True)
class DSCDeepLabConfig(ModelConfig):
    """The network of paper 003; the defaults are its last row, BM+CBAM+DSC.

    Attributes:
        attention: Table 2, on the output of ASPP.
        context: the dilated branches of ASPP; with attention="none", "aspp" is the paper's BM.
        backbone: a listed backbone or `timm:NAME`.
        output_stride: stride of the map that ASPP sees.
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = "003"
    title: ClassVar[str] = "DeepLabv3+ with CBAM and separable ASPP"
    attention: Literal["cbam", "se", "eca", "none"] = "cbam"
    context: Literal["separable_aspp", "aspp"] = "separable_aspp"
    backbone: str = "mobilenetv2"
    output_stride: Literal[16, 8, 32] = 16
    pretrained: str = "none"

    def build(self, num_classes: int) -> DSCDeepLab:
        """The network; random weights outside the backbone."""
        return DSCDeepLab(num_classes, self)


class DSCDeepLab(SegNetwork):
    """The network of Fig. 5."""

    stride = 4
    align_corners = True
    has_image_pooling = True

    def __init__(self, num_classes: int, config: DSCDeepLabConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.encoder = create_encoder(config.backbone, output_stride=config.output_stride, pretrained=config.pretrained)
        channels = self.encoder.channels
        self.aspp = ASPP(channels.c5, RATES[config.output_stride], atrous=BRANCH[config.context], bias=True)
        self.attention = ATTENTION[config.attention]()
        self.reduce = ConvBNReLU(channels.c2, 48, 1, bias=True)
        self.head = RefiningHead((48, WIDTH), num_classes, output_stride=config.output_stride)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/4,W/4)."""
        features = self.encoder(images)
        context = self.attention(self.aspp(features.c5))  # (N, 320, H/16, W/16) -> (N, 256, H/16, W/16)
        shallow = self.reduce(features.c2)  # (N, 24, H/4, W/4) -> (N, 48, H/4, W/4)
        return SegOutput(self.head([shallow, context]))
