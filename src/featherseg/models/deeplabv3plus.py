"""DeepLabv3+ on MobileNetV2: the network that papers 001 and 003 start from, and their common rival.

Chen, Zhu, Papandreou, Schroff, Adam: "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018, Fig. 2, in the form in which those two papers use it:
- the backbone is MobileNetV2 without its last 1x1 convolution, c2 and c5 are tapped;
- convolutions outside the backbone keep their biases, and resizing aligns corners;
- the dilated branches of ASPP are full convolutions, not separable ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from featherseg.backbones import create_encoder
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.aspp import ASPP, RATES, AtrousConv
from featherseg.nn.blocks import ConvBNReLU
from featherseg.nn.fusion import RefiningHead


@dataclass(frozen=True, kw_only=True)
class DeepLabV3PlusConfig(ModelConfig):
    """DeepLabv3+.

    Attributes:
        backbone: a listed backbone or `timm:NAME`.
        output_stride: stride of the map that ASPP sees.
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "DeepLabv3+"
    backbone: str = "mobilenetv2"
    output_stride: Literal[16, 8, 32] = 16
    pretrained: str = "none"

    def build(self, num_classes: int) -> DeepLabV3Plus:
        """The network; random weights outside the backbone."""
        return DeepLabV3Plus(num_classes, self)


class DeepLabV3Plus(SegNetwork):
    """Encoder, ASPP, decoder (Fig. 2)."""

    stride = 4
    align_corners = True
    has_image_pooling = True

    def __init__(self, num_classes: int, config: DeepLabV3PlusConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.encoder = create_encoder(config.backbone, output_stride=config.output_stride, pretrained=config.pretrained)
        channels = self.encoder.channels
        self.aspp = ASPP(channels.c5, RATES[config.output_stride], atrous=partial(AtrousConv, bias=True), bias=True)
        self.reduce = ConvBNReLU(channels.c2, 48, 1, bias=True)
        self.head = RefiningHead((48, 256), num_classes, output_stride=config.output_stride)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/4,W/4)."""
        features = self.encoder(images)
        context = self.aspp(features.c5)  # (N, 320, H/16, W/16) -> (N, 256, H/16, W/16)
        shallow = self.reduce(features.c2)  # (N, 24, H/4, W/4) -> (N, 48, H/4, W/4)
        return SegOutput(self.head([shallow, context]))
