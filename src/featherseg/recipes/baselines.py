"""Recipes of the baselines and peers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from featherseg.recipes import affnet, caspp_deeplab
from featherseg.recipes.settings import CAMVID, VOC_AUG, small_data
from featherseg.training import Part, Run


def deeplabv3plus_voc() -> Run:
    """DeepLabV3+ with MobileNetV2 on VOC-aug, with paper 000's setting."""
    return caspp_deeplab.baseline("deeplabv3plus_voc", "deeplabv3plus", VOC_AUG)


def deeplabv3plus_camvid() -> Run:
    """DeepLabV3+ with MobileNetV2 on CamVid, with paper 000's setting."""
    return caspp_deeplab.baseline("deeplabv3plus_camvid", "deeplabv3plus", CAMVID)


def deeplabv3plus_folder() -> Run:
    """DeepLabV3+ with MobileNetV2 on a folder of your own labelled pictures."""
    return small_data("deeplabv3plus_folder", Part("deeplabv3plus"), "ce")


def fast_scnn_camvid() -> Run:
    """Fast-SCNN on CamVid, with AFFNet's setting and cross-entropy."""
    return replace(affnet.affnet_camvid(), recipe="fast_scnn_camvid", model=Part("fast_scnn"), loss=Part("ce"))


def fast_scnn_folder() -> Run:
    """Fast-SCNN on a folder of your own labelled pictures."""
    return small_data("fast_scnn_folder", Part("fast_scnn"), "ce")


def spssnet_cityscapes() -> Run:
    """SPSSNet on Cityscapes with paper 004's setting and its rival loss, class-weighted cross-entropy."""
    run = affnet.affnet_cityscapes()
    return replace(run, recipe="spssnet_cityscapes", model=Part("spssnet"), loss=Part("wcel"))


def spssnet_camvid() -> Run:
    """SPSSNet on CamVid, with AFFNet's setting and class-weighted cross-entropy."""
    return replace(affnet.affnet_camvid(), recipe="spssnet_camvid", model=Part("spssnet"), loss=Part("wcel"))


def spssnet_folder() -> Run:
    """SPSSNet on a folder of your own labelled pictures."""
    return small_data("spssnet_folder", Part("spssnet"), "wcel")


def folder_of(model: str) -> Callable[[], Run]:
    """The recipe MODEL_folder of a peer."""

    def make() -> Run:
        """A peer on a folder of your own labelled pictures."""
        return small_data(make.__name__, Part(model), "ce")

    make.__name__ = f"{model}_folder"
    return make
