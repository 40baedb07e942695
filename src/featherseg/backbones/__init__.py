"""Backbones: images -> five named maps. `BACKBONES` is the whole menu; `timm:NAME` reaches hundreds more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from featherseg.backbones.download import from_url
from featherseg.backbones.features import Encoder, Features, Stages
from featherseg.backbones.pretrained import load_pretrained
from featherseg.backbones.shufflenet import ShuffleNetEncoder
from featherseg.backbones.timm_encoder import TimmEncoder
from featherseg.runtime.errors import FeathersegError, nearest

__all__ = [
    "BACKBONES",
    "Encoder",
    "Features",
    "Stages",
    "create_encoder",
    "from_url",
    "load_pretrained",
    "require_backbone",
]

BACKBONES: dict[str, Callable[[int], Encoder]] = {
    "mobilenetv2": partial(TimmEncoder, "mobilenetv2_100"),
    "xception65": partial(TimmEncoder, "xception65"),
    "mobilenetv1": partial(TimmEncoder, "mobilenetv1_100"),
    "mobilenetv3_large": partial(TimmEncoder, "mobilenetv3_large_100"),
    "shufflenetv2": ShuffleNetEncoder,
}


def require_backbone(name: str) -> None:
    """Refuse a name that is neither listed nor `timm:NAME`; whether timm knows NAME shows when it is built."""
    if name in BACKBONES or (name.startswith("timm:") and len(name) > len("timm:")):
        return
    menu = ", ".join(BACKBONES)
    raise FeathersegError(
        "model.backbone", expected=f"one of {menu}, or timm:NAME", got=repr(name), remedy=nearest(name, BACKBONES)
    )


def create_encoder(backbone: str, *, output_stride: int = 32, pretrained: str = "none") -> Encoder:
    """Build a backbone.

    Args:
        backbone: a key of `BACKBONES`, or `timm:NAME`.
        output_stride: stride of c5: 8, 16 or 32.
        pretrained: "none", "imagenet" (downloads unless cached) or a file in timm's or torchvision's names.
    """
    require_backbone(backbone)
    build = BACKBONES.get(backbone) or partial(TimmEncoder, backbone.removeprefix("timm:"))
    encoder = build(output_stride)
    load_pretrained(encoder.body, pretrained, imagenet_file=encoder.imagenet_file)
    return encoder
