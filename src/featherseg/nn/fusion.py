"""Where deep and shallow maps meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featherseg.nn.blocks import ConvBNReLU, resize, size_of


def concat_at_first(maps: Sequence[Tensor], *, align_corners: bool) -> Tensor:
    """Maps (N,c_i,h_i,w_i) -> (N,sum c_i,h_0,w_0): all resized to the first one's size and concatenated."""
    size = size_of(maps[0])
    return torch.cat([maps[0], *(resize(x, size, align_corners=align_corners) for x in maps[1:])], dim=1)


class RefiningHead(nn.Sequential):
    """Two 3x3 CBR to 256 channels, each with dropout, then the classifier: the decoder's end of DeepLabv3+ at 1/4."""

    def __init__(self, in_channels: int, num_classes: int, *, width: int = 256) -> None:
        super().__init__(
            ConvBNReLU(in_channels, width, 3, bias=True),
            nn.Dropout(0.5),
            ConvBNReLU(width, width, 3, bias=True),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes, 1),
        )
