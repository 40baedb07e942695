"""SPSSNet, the rival of paper 004's Tables III, VI and VIII.

Its authors' code is not public; this is our reading, a Fast-SCNN (Poudel et al. 2019) whose feature fusion is replaced
by stage pooling modules (SPM) on the four deep maps:
- SPM: 1x1 CBR to 64 channels, then chained residual pooling (RefineNet, Lin et al. 2017: twice max pooling 5x5 and a
  3x3 convolution, each added to what came before), brought to 1/8.
- The four are added to the 64 channels of the shallow branch; two of Fast-SCNN's separable convolutions (DSConv),
  64 channels wide, and a 1x1 classifier follow.
1,405,891 parameters at 19 classes where paper 004 prints 1.42 M; its 27.281 GMac could not be met at any input size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.models.fast_scnn import DSConv, LearningToDownsample, bottlenecks
from featherseg.nn.blocks import ConvBNReLU, resize, size_of
from featherseg.nn.pooling import PyramidPooling

WIDTH = 64  # channels of the shallow branch and of every stage pooling module


class ChainedResidualPooling(nn.Module):
    """x + p1 + p2, where p1 = conv(pool(x)) and p2 = conv(pool(p1))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.links = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        path = x
        for conv in self.links:
            path = conv(F.max_pool2d(path, 5, stride=1, padding=2))
            x = x + path
        return x


class StagePooling(nn.Sequential):
    """SPM: 1x1 CBR to 64 channels, chained residual pooling."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(ConvBNReLU(in_channels, WIDTH, 1), ChainedResidualPooling(WIDTH))


@dataclass(frozen=True, kw_only=True)
class SPSSNetConfig(ModelConfig):
    """SPSSNet; it has no variants here."""

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "SPSSNet"

    def build(self, num_classes: int) -> SPSSNet:
        """The network with random weights."""
        return SPSSNet(num_classes)


class SPSSNet(SegNetwork):
    """Fast-SCNN's two branches, joined by stage pooling."""

    stride = 8
    has_image_pooling = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.downsample = LearningToDownsample()
        self.unit1 = bottlenecks(64, 64, stride=2)
        self.unit2 = bottlenecks(64, 96, stride=2)
        self.unit3 = bottlenecks(96, 128, stride=1)
        self.spp = PyramidPooling(128, 32, 128)
        self.stages = nn.ModuleList(StagePooling(channels) for channels in (64, 96, 128, 128))
        self.classifier = nn.Sequential(
            DSConv(WIDTH, WIDTH),
            DSConv(WIDTH, WIDTH),
            nn.Dropout(0.1),
            nn.Conv2d(WIDTH, num_classes, 1),
        )

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/8,W/8)."""
        shallow = self.downsample(images)  # (N, 64, H/8, W/8)
        f1 = self.unit1(shallow)  # (N, 64, H/16, W/16)
        f2 = self.unit2(f1)  # (N, 96, H/32, W/32)
        f3 = self.unit3(f2)  # (N, 128, H/32, W/32)
        f4 = self.spp(f3)  # (N, 128, H/32, W/32)
        fused = shallow
        for stage, x in zip(self.stages, (f1, f2, f3, f4), strict=True):
            fused = fused + resize(stage(x), size_of(shallow))
        return SegOutput(self.classifier(fused))
