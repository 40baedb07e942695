"""What a backbone gives: five named maps, whose widths and strides it tells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn


class Features(NamedTuple):
    """Maps (N,C,h,w) at the stages of the literature; nominal strides 2, 4, 8, 16, 32, the deep ones dilated instead
    where the output stride is less."""

    c1: Tensor
    c2: Tensor
    c3: Tensor
    c4: Tensor
    c5: Tensor


class Stages(NamedTuple):
    """A number per stage: `encoder.channels.c2`, `encoder.strides.c5`."""

    c1: int
    c2: int
    c3: int
    c4: int
    c5: int


class Encoder(nn.Module, ABC):
    """images -> `Features`.

    Attributes:
        body: the network that computes them; its tensors carry the names of the library it comes from.
        channels: width of each map.
        strides: input pixels per cell of each map.
    """

    body: nn.Module
    channels: Stages
    strides: Stages

    @abstractmethod
    def forward(self, images: Tensor) -> Features:
        """float32 (N,3,H,W) -> maps of ceil(H/stride) x ceil(W/stride)."""

    @abstractmethod
    def imagenet_file(self) -> Path:
        """The file of weights trained on ImageNet: from the cache, else downloaded."""


def nominal_strides(output_stride: int) -> Stages:
    """2, 4, 8, 16, 32, none above the output stride."""
    return Stages(*(min(stride, output_stride) for stride in (2, 4, 8, 16, 32)))
