"""UNet on VGG16, the peer called UNet in paper 001's Table 4.

Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015, Fig. 1, with the
convolutions of Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, Table 1
column D, on the way down. 24,892,437 parameters at 21 classes, whose file has the 94.9 MB that paper 001 prints.

How it differs from the first of these papers:
- Convolutions are padded, so nothing is cropped; the encoder's last pooling is left out, so the deepest map is at 1/16.
- A map is enlarged by bilinear resizing with aligned corners, not by a transposed convolution.
- As in VGG16, no batch norm; convolutions keep their biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from featherseg.backbones import from_url, load_pretrained
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.blocks import resize, size_of

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # VGG16's convolutions


def convolution(in_channels: int, out_channels: int) -> tuple[nn.Conv2d, nn.ReLU]:
    """3x3 convolution with its bias, ReLU; weights as He et al. 2015 draw them, since nothing is normalised later."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv, nn.ReLU(inplace=True)


class VGG16(nn.Module):
    """The convolutions of VGG16 in five stages; tensors carry torchvision's names (`features.0.weight`)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for widths in STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for width in widths:
                layers += convolution(channels, width)
                channels = width
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(N,3,H,W) -> (N,64,H,W), (N,128,H/2,W/2), ... (N,512,H/16,W/16), rounded down."""
        maps = []
        x = images
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


class Up(nn.Module):
    """The deep map enlarged to the size of the shallow one, beside it, then two convolutions."""

    def __init__(self, shallow_channels: int, deep_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution(shallow_channels + deep_channels, out_channels), *convolution(out_channels, out_channels)
        )

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """(N,c,2h,2w), (N,d,h,w) -> (N,out,2h,2w)."""
        enlarged = resize(deep, size_of(shallow), align_corners=True)
        return self.body(torch.cat([shallow, enlarged], dim=1))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class UNetVGG16Config(ModelConfig):
    """UNet on VGG16.

    Attributes:
        pretrained: weights of VGG16: "none", "imagenet" or a file in torchvision's names.
    """

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "UNet VGG16"
    pretrained: str = "none"

    def build(self, num_classes: int) -> UNetVGG16:
        """The network; random weights outside the encoder."""
        return UNetVGG16(num_classes, self)


class UNetVGG16(SegNetwork):
    """Down by VGG16, up again by four blocks."""

    stride = 1

    def __init__(self, num_classes: int, config: UNetVGG16Config) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.encoder = VGG16()
        self.up4 = Up(512, 512, 512)
        self.up3 = Up(256, 512, 256)
        self.up2 = Up(128, 256, 128)
        self.up1 = Up(64, 128, 64)
        self.classifier = nn.Conv2d(64, num_classes, 1)
        load_pretrained(self.encoder, config.pretrained, imagenet_file=vgg16_file)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H,W)."""
        f1, f2, f3, f4, f5 = self.encoder(images)
        x = self.up4(f4, f5)  # (N, 512, H/8, W/8)
        x = self.up3(f3, x)  # (N, 256, H/4, W/4)
        x = self.up2(f2, x)  # (N, 128, H/2, W/2)
        x = self.up1(f1, x)  # (N, 64, H, W)
        return SegOutput(self.classifier(x))


def vgg16_file() -> Path:
    """torchvision's weights."""
    from torchvision.models import VGG16_Weights

    return from_url(VGG16_Weights.IMAGENET1K_V1.url)
