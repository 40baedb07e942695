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


class FusingConv(ConvBNReLU):
    """Resize maps to the first one's size, concatenate, 3x3 CBR.

    Args:
        channels: of each map, the shallowest first.
        out_channels: channels of the result.
        deep: how many of the last maps have a quarter of the first one's sides or less; `featherseg.nn.splitting`
            spares them the resizing where a network only predicts.
        bias: whether the convolution has one although batch norm follows.
        align_corners: how maps are resized.
    """

    def __init__(
        self,
        channels: Sequence[int],
        out_channels: int,
        *,
        deep: int,
        bias: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__(sum(channels), out_channels, 3, bias=bias)
        self.channels, self.deep, self.align_corners = tuple(channels), deep, align_corners

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N,c_i,h_i,w_i) -> (N,out,h_0,w_0)."""
        joined = concat_at_first(maps, align_corners=self.align_corners)
        return super().forward(joined)  # type: ignore[no-any-return, no-untyped-call]


class RefiningHead(nn.Sequential):
    """The end of DeepLabv3+: resize and concatenate, two 3x3 CBR to 256 channels, each with dropout, classifier.

    Args:
        channels: of the maps, the shallowest first; the last one is ASPP's.
        num_classes: channels of the scores.
        output_stride: of ASPP's map.
        width: channels of both convolutions.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, *, output_stride: int, width: int = 256) -> None:
        super().__init__(
            FusingConv(channels, width, deep=int(output_stride >= 16), bias=True, align_corners=True),
            nn.Dropout(0.5),
            ConvBNReLU(width, width, 3, bias=True),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes, 1),
        )
