"""ERFNet, a peer in paper 004's Tables V to VIII.

Romera, Alvarez, Bergasa, Arroyo: "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic Segmentation",
IEEE Transactions on Intelligent Transportation Systems 19(1), 2018: its non-bottleneck-1D layer, its table of layers.

What the paper leaves open, or has otherwise:
- The encoder is first trained alone, with a 1x1 classifier at 1/8. Here that is an auxiliary head, trained along with
  the rest and dropped when deployed. With it there are 2,066,642 parameters at 19 classes, the 2.067 M that others
  count (paper 004 prints 2.1); without it 2,064,191.
- As in the authors' code: biases everywhere, dropout of whole maps at 0.03 in the first five residual layers, at 0.3 in
  the next eight, none in the decoder; 1e-3 in batch norm; a last transposed convolution of 2x2.
- Sides that are no multiple of 8 are padded with zeros, and the scores cropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models.base import ModelConfig, SegNetwork, SegOutput, require_classes
from featherseg.nn.blocks import crop_padding, pad_to_multiple, size_of

MULTIPLE = 8  # the deepest map is at 1/8

BatchNorm = partial(nn.BatchNorm2d, eps=1e-3)


class Downsampler(nn.Module):
    """3x3 convolution with stride 2 beside 2x2 max pooling, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N,in,2h,2w) -> (N,out,h,w)."""
        both = torch.cat([self.conv(x), F.max_pool2d(x, 2)], dim=1)
        return F.relu(self.norm(both), inplace=True)


class Factorised(nn.Sequential):
    """A 3x3 convolution taken apart: 3x1, ReLU, 1x3, batch norm."""

    def __init__(self, channels: int, *, dilation: int = 1) -> None:
        d = dilation
        super().__init__(
            nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1)),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d)),
            BatchNorm(channels),
        )


class NonBottleneck1D(nn.Module):
    """x + two factorised convolutions, the second dilated, then ReLU."""

    def __init__(self, channels: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Factorised(channels),
            nn.ReLU(inplace=True),
            Factorised(channels, dilation=dilation),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        return F.relu(x + self.body(x), inplace=True)


class Upsampler(nn.Sequential):
    """Transposed 3x3 convolution, batch norm, ReLU: (N,in,h,w) -> (N,out,2h,2w)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
            BatchNorm(out_channels),
            nn.ReLU(inplace=True),
        )


@dataclass(frozen=True, kw_only=True)
class ERFNetConfig(ModelConfig):
    """ERFNet.

    Attributes:
        supervision: a classifier on the encoder's map, dropped when deployed; or none.
    """

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "ERFNet"
    supervision: Literal["encoder", "none"] = "encoder"

    def build(self, num_classes: int) -> ERFNet:
        """The network with random weights."""
        return ERFNet(num_classes, self)


class ERFNet(SegNetwork):
    """Its layers 1 to 16 shrink the map, 17 to 22 enlarge it, 23 classifies."""

    stride = 1

    def __init__(self, num_classes: int, config: ERFNetConfig) -> None:
        super().__init__()
        require_classes(num_classes)
        self.num_classes = num_classes
        self.shrink = nn.Sequential(
            Downsampler(3, 16),
            Downsampler(16, 64),
            *(NonBottleneck1D(64, dropout=0.03) for _ in range(5)),
            Downsampler(64, 128),
            *(NonBottleneck1D(128, dilation=dilation, dropout=0.3) for dilation in (2, 4, 8, 16) * 2),
        )
        self.enlarge = nn.Sequential(
            Upsampler(128, 64),
            NonBottleneck1D(64),
            NonBottleneck1D(64),
            Upsampler(64, 16),
            NonBottleneck1D(16),
            NonBottleneck1D(16),
        )
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, stride=2)
        supervised = (128,) if config.supervision == "encoder" else ()
        self.aux_heads = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in supervised)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H,W); auxiliary logits (N,num_classes,H/8,W/8)."""
        deep = self.shrink(pad_to_multiple(images, MULTIPLE))  # (N, 128, H/8, W/8)
        scores = self.classifier(self.enlarge(deep))  # (N, 16, H/2, W/2) -> (N, num_classes, H, W)
        aux_logits = tuple(head(deep) for head in self.aux_heads)
        return SegOutput(crop_padding(scores, size_of(images), MULTIPLE), aux_logits)

    def drop_training_heads(self) -> None:
        """The encoder's classifier."""
        self.aux_heads = nn.ModuleList()
