"""ASPP: the same map seen at several reaches at once (DeepLabv3, Chen et al. 2017, section 3.3; v3+, 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from featherseg.nn.blocks import ConvBNReLU, size_of

RATES: dict[int, tuple[int, int, int]] = {32: (3, 6, 9), 16: (6, 12, 18), 8: (12, 24, 36)}
"""Output stride -> dilation rates: the same reach in the picture at every stride."""


class AtrousConv(ConvBNReLU):
    """The branch of DeepLabv3: one dilated 3x3 CBR."""

    def __init__(self, in_channels: int, out_channels: int, rate: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 3, dilation=rate, bias=bias)


class SeparableAtrousConv(nn.Sequential):
    """Dilated depth-wise 3x3, then point-wise 1x1, nothing in between; batch norm and ReLU at the end; no biases."""

    def __init__(self, in_channels: int, out_channels: int, rate: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, padding=rate, dilation=rate, groups=in_channels, bias=False),
            ConvBNReLU(in_channels, out_channels, 1),
        )


class ASPP(nn.Module):
    """A 1x1 branch, three dilated branches and the picture's mean, concatenated, then projected.

    The mean's branch normalises a 1x1 map, so a training batch needs two pictures.

    Args:
        in_channels: channels of the input.
        rates: dilation of the three branches (`RATES`).
        atrous: (in_channels, out_channels, rate) -> a dilated branch.
        out_channels: channels of every branch and of the output.
        recalibrate: attention on the concatenated map of 5 * `out_channels`; `nn.Identity` for none.
        bias: whether the 1x1 convolutions here keep a bias although batch norm follows.
    """

    def __init__(
        self,
        in_channels: int,
        rates: tuple[int, int, int],
        *,
        atrous: Callable[[int, int, int], nn.Module] = AtrousConv,
        out_channels: int = 256,
        recalibrate: nn.Module | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.point = ConvBNReLU(in_channels, out_channels, 1, bias=bias)
        self.atrous = nn.ModuleList(atrous(in_channels, out_channels, rate) for rate in rates)
        self.image = ConvBNReLU(in_channels, out_channels, 1, bias=bias)
        self.recalibrate = recalibrate or nn.Identity()
        self.project = ConvBNReLU(5 * out_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N,in,h,w) -> (N,out,h,w)."""
        mean = self.image(x.mean((2, 3), keepdim=True)).expand(-1, -1, *size_of(x))  # (N, out, 1, 1) -> (N, out, h, w)
        every = torch.cat([self.point(x), *(branch(x) for branch in self.atrous), mean], dim=1)  # (N, 5*out, h, w)
        return self.project(self.recalibrate(every))  # type: ignore[no-any-return]
