"""Average pooling to a grid of bins as two small sums of products, and the spatial pyramid built on it.

A traced `adaptive_avg_pool2d` to more than one bin exports with a fixed kernel and is silently wrong at other sizes.
Row i of a pooling matrix averages the pixels floor(i*size/bins) .. ceil((i+1)*size/bins) - 1, the same cells that
`adaptive_avg_pool2d` takes, and is computed from the size at hand; so one exported graph serves every size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from featherseg.nn.blocks import ConvBNReLU, resize, size_of


def pooling_matrix(size: int, bins: int, like: Tensor) -> Tensor:
    """(bins, size): row i averages the pixels of bin i; dtype and device as `like`."""
    place = torch.arange(size, device=like.device)  # (size)
    index = torch.arange(bins, device=like.device).unsqueeze(1)  # (bins, 1)
    start = (index * size) // bins
    stop = ((index + 1) * size + bins - 1) // bins
    inside = ((place >= start) & (place < stop)).to(like.dtype)  # (bins, size)
    return inside / (stop - start).to(like.dtype)


def average_pool(x: Tensor, bins: int) -> Tensor:
    """(N,C,H,W) -> (N,C,bins,bins), equal to `adaptive_avg_pool2d(x, bins)` at every size."""
    height, width = size_of(x)
    rows = pooling_matrix(height, bins, x)  # (bins, H)
    columns = pooling_matrix(width, bins, x)  # (bins, W)
    # Written as products and sums, not as `matmul`: half-precision CPU kernels refuse matrices this thin, and after one
    # refusal torch turns its fast CPU kernels off for the rest of the process.
    narrow = (x.unsqueeze(-2) * columns).sum(-1)  # (N, C, H, bins)
    return (narrow.unsqueeze(-3) * rows.unsqueeze(-1)).sum(-2)  # (N, C, bins, bins)


class PyramidPooling(nn.Module):
    """SPP: the mean over grids of bins, reduced, brought back to size, beside the input (PSPNet, Zhao et al. 2017).

    Args:
        in_channels: channels of the input.
        branch_channels: channels of each grid after its 1x1 CBR.
        out_channels: channels after the projecting CBR.
        bins: side of each grid.
        kernel_size: of the projecting CBR.
        align_corners: how the grids are brought back to size.
    """

    def __init__(
        self,
        in_channels: int,
        branch_channels: int,
        out_channels: int,
        *,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        kernel_size: int = 1,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.bins = bins
        self.align_corners = align_corners
        self.branches = nn.ModuleList(ConvBNReLU(in_channels, branch_channels, 1) for _ in bins)
        self.project = ConvBNReLU(in_channels + len(bins) * branch_channels, out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """(N,in,H,W) -> (N,out,H,W)."""
        grids = [branch(average_pool(x, bins)) for bins, branch in zip(self.bins, self.branches, strict=True)]
        resized = (resize(grid, size_of(x), align_corners=self.align_corners) for grid in grids)
        return self.project(torch.cat([x, *resized], dim=1))  # type: ignore[no-any-return]
