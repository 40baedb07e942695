"""Backbones of timm, with `output_stride` turned into dilation by timm itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featherseg.backbones.download import from_hub
from featherseg.backbones.features import Encoder, Features, Stages, nominal_strides
from featherseg.runtime.errors import FeathersegError, nearest


class TimmEncoder(Encoder):
    """A timm network cut into its five stages; what follows c5 (the classifier's 1x1 convolution) is left out.

    A block whose stride is taken away keeps the dilation in force before it; the blocks after it double that.

    Args:
        name: timm's name, with or without a tag (`mobilenetv2_100`, `mobilenetv2_100.ra_in1k`).
        output_stride: 8, 16 or 32.
    """

    def __init__(self, name: str, output_stride: int) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name.partition(".")[0]):
            hint = nearest(name, timm.list_models()) or "timm.list_models() lists them"
            raise FeathersegError("model.backbone", expected="the name of a timm model", got=repr(name), remedy=hint)
        self.name = name
        wanted: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
        try:
            self.body = timm.create_model(name, features_only=True, **wanted)
        except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise self._unfit(output_stride) from error
        self.strides = nominal_strides(output_stride)
        widths, strides = self._probe()
        if strides != list(self.strides):
            raise self._unfit(output_stride)
        self.channels = Stages(*widths)

    @torch.no_grad()
    def _probe(self) -> tuple[list[int], list[int]]:
        """Widths and strides as they come out: some networks take `output_stride` and ignore it."""
        side = 128
        weight = next(self.body.parameters())
        try:
            maps = self.body.eval()(torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype))
        except (AssertionError, RuntimeError):  # made for one input size alone
            return [], []
        finally:
            self.body.train()
        return [x.shape[1] for x in maps], [side // x.shape[2] for x in maps]

    def _unfit(self, output_stride: int) -> FeathersegError:
        return FeathersegError(
            f"model.backbone timm:{self.name}",
            expected=f"five stages down to 1/{output_stride} at any input size",
            got="a network that does not offer them" + (" (no dilation)" if output_stride < 32 else ""),
            remedy="take a listed backbone"
            + (
                ", or model.output_stride=32 where the network's stages are 2, 4, 8, 16, 32"
                if output_stride < 32
                else ""
            ),
        )

    def forward(self, images: Tensor) -> Features:
        """float32 (N,3,H,W) -> `Features`."""
        return Features(*self.body(images))

    def imagenet_file(self) -> Path:
        """The weights that timm names for this network, from the Hugging Face hub."""
        import timm

        source = timm.get_pretrained_cfg(self.name)
        if source is None or not source.hf_hub_id:
            raise FeathersegError(
                f"model.pretrained: timm has no weights for {self.name!r}", remedy='set pretrained=PATH or "none"'
            )
        return from_hub(source.hf_hub_id)
