"""One paper = one file. `MODELS` is the whole menu: name -> configuration; its defaults are the paper's network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featherseg.models.affnet import AFFNetConfig
from featherseg.models.base import ModelConfig, SegNetwork, SegOutput
from featherseg.models.caspp_deeplab import CASPPDeepLabConfig
from featherseg.models.deeplabv3plus import DeepLabV3PlusConfig
from featherseg.models.dsc_deeplab import DSCDeepLabConfig
from featherseg.models.enet import ENetConfig
from featherseg.models.erfnet import ERFNetConfig
from featherseg.models.fast_scnn import FastSCNNConfig
from featherseg.models.fe_deeplab import FEDeepLabConfig
from featherseg.models.hybrid_fusion import HybridFusionConfig
from featherseg.models.libraries import LRASPPConfig, SMPDeepLabV3PlusConfig, SMPUnetConfig
from featherseg.models.pspnet import PSPNetResNet50Config
from featherseg.models.spssnet import SPSSNetConfig
from featherseg.models.unet_vgg import UNetVGG16Config
from featherseg.runtime.errors import refuse_unknown

__all__ = [
    "MODELS",
    "ModelConfig",
    "SegNetwork",
    "SegOutput",
    "create_model",
    "list_models",
    "model_config",
    "without_pretrained",
]

MODELS: dict[str, type[ModelConfig]] = {
    "caspp_deeplab": CASPPDeepLabConfig,
    "fe_deeplab": FEDeepLabConfig,
    "hybrid_fusion": HybridFusionConfig,
    "dsc_deeplab": DSCDeepLabConfig,
    "affnet": AFFNetConfig,
    "deeplabv3plus": DeepLabV3PlusConfig,
    "fast_scnn": FastSCNNConfig,
    "spssnet": SPSSNetConfig,
    "enet": ENetConfig,
    "erfnet": ERFNetConfig,
    "unet_vgg16": UNetVGG16Config,
    "pspnet_resnet50": PSPNetResNet50Config,
    "smp_deeplabv3plus": SMPDeepLabV3PlusConfig,
    "smp_unet": SMPUnetConfig,
    "lraspp": LRASPPConfig,
}


def list_models() -> list[str]:
    """The names `create_model` takes."""
    return list(MODELS)


def model_config(name: str, **fields: Any) -> ModelConfig:
    """The configuration of a network; an unknown name, field or value is refused with the nearest match."""
    refuse_unknown("model", name, MODELS)
    return MODELS[name].of(fields)


def without_pretrained(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a network that receives its weights from elsewhere: building it loads none."""
    return {**fields, **({"pretrained": "none"} if "pretrained" in fields else {})}


def create_model(name: str, *, num_classes: int, **fields: Any) -> SegNetwork:
    """Build a network: `create_model("affnet", num_classes=11, fusion="ewa")`.

    The defaults are the paper's full network; nothing is downloaded unless a field asks for it
    (`pretrained="imagenet"`).
    """
    return model_config(name, **fields).build(num_classes)
