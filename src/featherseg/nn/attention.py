"""Attention over channels and places: CBAM's two halves, squeeze-and-excitation, ECA."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """CA: x * sigmoid(mlp(mean(x)) + mlp(max(x))), one gate per channel (CBAM, Woo et al. 2018, Eq. 2).

    Args:
        channels: channels of the input.
        hidden: width of the shared two-layer perceptron.
        bias: whether its layers have biases.
    """

    def __init__(self, channels: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        mean = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        peak = x.amax((2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * torch.sigmoid(self.mlp(mean) + self.mlp(peak))


class SpatialAttention(nn.Module):
    """SA: x * sigmoid(conv([mean over channels, max over channels])), one gate per place (CBAM, Eq. 3)."""

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)  # (N, 2, H, W)
        return x * torch.sigmoid(self.conv(both))


class CBAM(nn.Sequential):
    """Channel attention, then spatial attention (Woo et al. 2018, Eq. 1); `reduction` is channels / hidden width."""

    def __init__(self, channels: int, *, reduction: int, kernel_size: int = 7) -> None:
        super().__init__(ChannelAttention(channels, max(1, channels // reduction)), SpatialAttention(kernel_size))


class SqueezeExcitation(nn.Module):
    """SE: x * sigmoid(two linear layers of the mean), without biases (Hu et al. 2018)."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        return x * torch.sigmoid(self.mlp(x.mean((2, 3), keepdim=True)))


class ECA(nn.Module):
    """x * sigmoid(1-D convolution along the channels of the mean) (Wang et al. 2020).

    The kernel is the odd number at or above |log2(C)/2 + 1/2| cut to an integer: 5 for 256 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reach = int(abs(math.log2(channels) / 2 + 0.5))
        kernel_size = reach if reach % 2 else reach + 1
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        mean = x.mean((2, 3)).unsqueeze(1)  # (N, 1, C)
        gate = torch.sigmoid(self.conv(mean))  # (N, 1, C)
        return x * gate.transpose(1, 2).unsqueeze(-1)  # (N, C, 1, 1)
