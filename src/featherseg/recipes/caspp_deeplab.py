"""Recipes of Xia and Long's network (paper 000)."""

from __future__ import annotations

from dataclasses import replace

from featherseg.data.augment import Augment
from featherseg.recipes.settings import CAMVID, CITYSCAPES, IMAGENET, VOC_AUG, Place, small_data
from featherseg.training import Part, Run


def caspp_deeplab_voc() -> Run:
    """C-ASPP DeepLab on VOC-aug (10,582 pictures).

    Printed: SGD, lr 0.01, momentum 0.9, weight decay 5e-4, batch 16, 80 epochs, poly 0.9, random flip, scale 0.5..2
    and crop, auxiliary loss.
    Assumed: poly per step, crop 512x512, auxiliary weight 0.4, cross-entropy, ImageNet weights and normalisation.
    """
    return setting("caspp_deeplab_voc", VOC_AUG)


def caspp_deeplab_cityscapes() -> Run:
    """C-ASPP DeepLab on Cityscapes.

    Printed: as on VOC. Assumed: as on VOC, with crop 768x768 and scores at the pictures' own 1024x2048.
    """
    return setting("caspp_deeplab_cityscapes", CITYSCAPES)


def caspp_deeplab_camvid() -> Run:
    """C-ASPP DeepLab on CamVid with the paper's setting.

    Printed: nothing on CamVid. Assumed: VOC's setting at 360x480.
    """
    return setting("caspp_deeplab_camvid", CAMVID)


def caspp_deeplab_folder() -> Run:
    """C-ASPP DeepLab on a folder of your own labelled pictures."""
    return small_data("caspp_deeplab_folder", Part("caspp_deeplab"), "ce")


def setting(recipe: str, place: Place) -> Run:
    """The paper's setting, carried to a data set."""
    return Run(
        recipe=recipe,
        model=Part("caspp_deeplab", IMAGENET),
        data=place.data,
        augment=Augment(crop_size=place.crop_size, scale=(0.5, 2.0)),
        loss=Part("ce"),
        optim=Part("sgd", {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}),
        schedule=Part("poly", {"power": 0.9}),
        input_rule=place.input_rule,
        epochs=80,
        batch_size=16,
        aux_weight=0.4,
        ema=0.0,
        val_every=5,
        workers=place.workers,
    )


def baseline(recipe: str, model: str, place: Place) -> Run:
    """The same setting for a plain network, to compare with."""
    return replace(setting(recipe, place), model=Part(model, IMAGENET))
