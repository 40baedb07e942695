"""A convolution over resized maps without resizing them: the same result for a fraction of the products.

Fusions bring deep maps to the size of a shallow one, concatenate and convolve by 3x3. A map that comes from 1/32 to
1/8 then has 16 times the places, but says no more than before. Resizing and the taps of a kernel act on different axes:
a tap mixes channels, resizing mixes places, both are linear. So channels can be mixed first, where the map is small:

    conv(resize(x)) = sum over taps (i, j) of  R_i (W_ij x) C_j^T

W_ij is the kernel's 1x1 part at tap (i, j). Row y of R_i (H,h) holds the weights by which bilinear resizing makes row
y + i out of h rows, and is zero where y + i lies outside, as the convolution's padding is; C_j does so for columns.

For c channels in and o out these are 9 c o h w products for W_ij, 9 o h w W for C and 3 o h H W for R, in place of
9 c o H W. With maps at a quarter of the sides, AFFNet's fusion takes 6.4 GMACs instead of 13.3 at 1024x2048; at half of
the sides nothing is gained, so those are resized as ever. C and R grow faster than the picture does, but AFFNet would
have to see some 11,500 pixels a side to lose by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featherseg.nn.blocks import size_of
from featherseg.nn.fusion import FusingConv, concat_at_first

TAPS = (-1, 0, 1)  # where a 3x3 kernel looks, down and across


def split_fusions(network: nn.Module) -> None:
    """Replace, in place, every `FusingConv` that has deep maps by its equal."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, FusingConv) and child.deep:
                module.register_module(name, SplitFusion(child))


class SplitFusion(nn.Module):
    """A `FusingConv` that mixes the channels of its deep maps, which must have one size, before it resizes them."""

    def __init__(self, whole: FusingConv) -> None:
        super().__init__()
        convolution, self.norm, self.activation = whole  # the norm may have been folded, or be one that cannot be
        assert isinstance(convolution, nn.Conv2d)
        self.deep, self.align_corners = whole.deep, whole.align_corners
        self.out_channels = convolution.out_channels
        shallow, deep = convolution.weight.data.split(  # (O, c, 3, 3) each
            [sum(whole.channels[: -self.deep]), sum(whole.channels[-self.deep :])], dim=1
        )  # type: ignore[no-untyped-call]
        self.reduce = nn.Conv2d(shallow.shape[1], self.out_channels, 3, padding=1, bias=False)
        self.reduce.weight.data, self.reduce.bias = shallow.clone(), convolution.bias
        self.taps = nn.Conv2d(deep.shape[1], 9 * self.out_channels, 1, bias=False)
        self.taps.weight.data = deep.permute(0, 2, 3, 1).reshape(self.taps.weight.shape).clone()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N,c_i,h_i,w_i) -> (N,out,h_0,w_0)."""
        shallow = concat_at_first(maps[: -self.deep], align_corners=self.align_corners)
        deep = self.taps(torch.cat(list(maps[-self.deep :]), dim=1))  # (N, O * 3 * 3, h, w)
        total = self.reduce(shallow) + self.placed(deep, size_of(shallow))
        return self.activation(self.norm(total))  # type: ignore[no-any-return]

    def placed(self, shares: Tensor, size: tuple[int, int]) -> Tensor:
        """Each tap's share of every place (N,O*3*3,h,w) -> their sum at the shallow maps' size, (N,O,H,W)."""
        (height, width), (h, w) = size, size_of(shares)
        rows = torch.cat([shifted_resizing(height, h, tap, shares, self.align_corners) for tap in TAPS], dim=1)
        columns = torch.cat([shifted_resizing(width, w, tap, shares, self.align_corners) for tap in TAPS], dim=1)
        taps: Tensor = shares.unflatten(1, (self.out_channels, 3, 3))  # type: ignore[no-untyped-call]
        beside = taps.transpose(3, 4).flatten(4).flatten(2, 3)  # (N, O, 3, 3, h, w) -> (N, O, 3h, 3w)
        wide: Tensor = beside @ columns.T  # (N, O, 3h, W)
        placed: Tensor = rows @ wide  # (N, O, H, W)
        return placed


def shifted_resizing(size: int, source: int, shift: int, like: Tensor, align_corners: bool) -> Tensor:
    """(size, source): row y makes place y + shift of a bilinear resize; zero where that is outside.

    Args:
        size: places after resizing, 2 or more.
        source: places before.
        shift: how far from place y.
        like: gives dtype and device.
        align_corners: as of `resize`.
    """
    wanted = torch.arange(size, device=like.device) + shift
    inside = (wanted >= 0) & (wanted < size)
    place = wanted * (source - 1) / (size - 1) if align_corners else (wanted + 0.5) * source / size - 0.5
    place = place.clamp(0, source - 1)  # beyond the outermost centres the outermost value holds
    distance = (place.unsqueeze(1) - torch.arange(source, device=like.device)).abs()
    return ((1 - distance).clamp(min=0) * inside.unsqueeze(1)).to(like.dtype)
