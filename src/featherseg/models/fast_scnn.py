"""Fast-SCNN, a baseline of paper 004.

Poudel, Liwicki, Cipolla: "Fast-SCNN: Fast Semantic Segmentation Network", BMVC 2019, Fig. 1, Table 1 (network),
Table 2 (bottleneck), Table 3 (feature fusion).

What the paper leaves open: whether a convolution keeps a bias before batch norm. Only the two of the feature fusion do
here, as in the re-implementation that most measure against: 1,138,051 parameters at 19 classes. The paper prints
1.11 M, which no reading meets. The depth-wise convolution of the fusion is dilated by the factor of upsampling (Table
3). The classifier's dropout is 0.1; the pyramid is PSPNet's, with bins 1, 2, 3, 6. As section 3 says, DSConv, the
separable convolution of down-sampler and classifier, has no activation between its two convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.blocks import ConvBNReLU, InvertedResidual, resize, size_of
from featherseg.nn.pooling import PyramidPooling

WIDTH = 128  # channels after the global feature extractor


class DSConv(nn.Sequential):
    """Depth-wise 3x3, then point-wise 1x1, each with batch norm; ReLU at the end alone (section 3.2.1)."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            ConvBNReLU(in_channels, out_channels, 1),
        )


class LearningToDownsample(nn.Sequential):
    """(N,3,H,W) -> (N,64,H/8,W/8): one convolution, two separable ones, each with stride 2."""

    def __init__(self) -> None:
        super().__init__(ConvBNReLU(3, 32, 3, stride=2), DSConv(32, 48, stride=2), DSConv(48, 64, stride=2))


def bottlenecks(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """Three inverted residuals, the first of which strides and widens (a row of Table 1)."""
    return nn.Sequential(
        InvertedResidual(in_channels, out_channels, stride=stride),
        InvertedResidual(out_channels, out_channels),
        InvertedResidual(out_channels, out_channels),
    )


class FeatureFusion(nn.Module):
    """FFM (Table 3): the deep map enlarged, smoothed and projected, plus the shallow one projected; then ReLU."""

    def __init__(self, shallow_channels: int, deep_channels: int, *, factor: int = 4) -> None:
        super().__init__()
        self.smooth = ConvBNReLU(deep_channels, deep_channels, 3, dilation=factor, groups=deep_channels)
        self.deep = nn.Sequential(nn.Conv2d(deep_channels, WIDTH, 1), nn.BatchNorm2d(WIDTH))
        self.shallow = nn.Sequential(nn.Conv2d(shallow_channels, WIDTH, 1), nn.BatchNorm2d(WIDTH))

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """(N,64,H/8,W/8), (N,128,H/32,W/32) -> (N,128,H/8,W/8)."""
        enlarged = self.smooth(resize(deep, size_of(shallow)))
        return F.relu(self.deep(enlarged) + self.shallow(shallow), inplace=True)


@dataclass(frozen=True, kw_only=True)
class FastSCNNConfig(ModelConfig):
    """Fast-SCNN; it has no variants here."""

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "Fast-SCNN"

    def build(self, num_classes: int) -> FastSCNN:
        """The network with random weights."""
        return FastSCNN(num_classes)


class FastSCNN(SegNetwork):
    """The network of Table 1."""

    stride = 8
    has_image_pooling = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.downsample = LearningToDownsample()
        self.unit1 = bottlenecks(64, 64, stride=2)
        self.unit2 = bottlenecks(64, 96, stride=2)
        self.unit3 = bottlenecks(96, WIDTH, stride=1)
        self.spp = PyramidPooling(WIDTH, WIDTH // 4, WIDTH)
        self.fuse = FeatureFusion(64, WIDTH)
        self.classifier = nn.Sequential(
            DSConv(WIDTH, WIDTH),
            DSConv(WIDTH, WIDTH),
            nn.Dropout(0.1),
            nn.Conv2d(WIDTH, num_classes, 1),
        )

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/8,W/8)."""
        shallow = self.downsample(images)  # (N, 64, H/8, W/8)
        x = self.unit1(shallow)  # (N, 64, H/16, W/16)
        x = self.unit2(x)  # (N, 96, H/32, W/32)
        deep = self.spp(self.unit3(x))  # (N, 128, H/32, W/32)
        return SegOutput(self.classifier(self.fuse(shallow, deep)))
