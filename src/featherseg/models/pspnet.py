"""PSPNet on ResNet-50, the peer called PSPNet in paper 000's Table 3 and paper 001's Table 4.

Zhao, Shi, Qi, Wang, Jia: "Pyramid Scene Parsing Network", CVPR 2017, Fig. 3 (network), Fig. 4 (auxiliary loss).
46,716,373 parameters at 21 classes without the auxiliary head, whose file has the 178 MB that paper 001 prints; with it
49,081,578.

What the paper leaves open, and how it is read here:
- ResNet-50 with a stem of three 3x3 convolutions (64, 64, 128 channels), as in the authors' code: timm's `resnet50s`.
- Each grid (1, 2, 3, 6) is reduced to 512 channels; a 3x3 convolution brings all 4096 to 512. Corners are aligned.
- The auxiliary head is a 3x3 convolution to 256 channels on c4, and a 1x1 classifier; the paper weighs its loss by 0.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from featherseg.backbones import create_encoder
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.blocks import ConvBNReLU
from featherseg.nn.pooling import PyramidPooling

WIDTH = 512  # channels of each grid, and of the map that is classified


@dataclass(frozen=True, kw_only=True)
class PSPNetResNet50Config(ModelConfig):
    """PSPNet on ResNet-50.

    Attributes:
        supervision: an auxiliary head on c4, dropped when deployed; or none.
        output_stride: stride of the map that is pooled, and of the scores.
        pretrained: weights of the backbone: "none", "imagenet" or a file.
    """

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "PSPNet ResNet-50"
    supervision: Literal["c4", "none"] = "c4"
    output_stride: Literal[8, 16] = 8
    pretrained: str = "none"

    def build(self, num_classes: int) -> PSPNetResNet50:
        """The network; random weights outside the backbone."""
        return PSPNetResNet50(num_classes, self)


class PSPNetResNet50(SegNetwork):
    """Encoder, pyramid, classifier (Fig. 3)."""

    align_corners = True
    has_image_pooling = True

    def __init__(self, num_classes: int, config: PSPNetResNet50Config) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes, self.stride = num_classes, config.output_stride
        self.encoder = create_encoder(
            "timm:resnet50s", output_stride=config.output_stride, pretrained=config.pretrained
        )
        channels = self.encoder.channels
        self.pyramid = PyramidPooling(channels.c5, WIDTH, WIDTH, kernel_size=3, align_corners=True)
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(WIDTH, num_classes, 1))
        supervised = (channels.c4,) if config.supervision == "c4" else ()
        self.aux_heads = nn.ModuleList(
            nn.Sequential(ConvBNReLU(width, 256, 3), nn.Dropout(0.1), nn.Conv2d(256, num_classes, 1))
            for width in supervised
        )

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/8,W/8), and as many auxiliary ones; H/16 where so configured."""
        features = self.encoder(images)
        pooled = self.pyramid(features.c5)  # (N, 2048, H/8, W/8) -> (N, 512, H/8, W/8)
        aux_logits = tuple(head(features.c4) for head in self.aux_heads)
        return SegOutput(self.classifier(pooled), aux_logits)

    def drop_training_heads(self) -> None:
        """The auxiliary head."""
        self.aux_heads = nn.ModuleList()
