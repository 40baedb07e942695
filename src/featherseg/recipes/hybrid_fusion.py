"""Recipes of the hybrid attention network (paper 002, of which only the abstract is known)."""

from __future__ import annotations

from featherseg.data.augment import Augment
from featherseg.recipes.settings import CAMVID, CITYSCAPES, IMAGENET, VOC_AUG, Place, small_data
from featherseg.training import Part, Run


def hybrid_fusion_cityscapes() -> Run:
    """Hybrid attention fusion on Cityscapes.

    Printed (abstract): MobileNetV2, auxiliary supervision at every stage, 74.12 % mIoU.
    Ours: SGD 0.01, momentum 0.9, weight decay 5e-4, poly 0.9, batch 12, 300 epochs, crop 512x1024, scale 0.5..2, flip,
    colour; cross-entropy + 0.4 times that of each of the four stages; ImageNet weights.
    """
    return setting("hybrid_fusion_cityscapes", CITYSCAPES, crop_size=(512, 1024), epochs=300)


def hybrid_fusion_voc() -> Run:
    """Hybrid attention fusion on VOC-aug.

    Printed: nothing on VOC. Ours: Cityscapes' setting with crop 512x512 and 80 epochs.
    """
    return setting("hybrid_fusion_voc", VOC_AUG, crop_size=VOC_AUG.crop_size, epochs=80)


def hybrid_fusion_camvid() -> Run:
    """Hybrid attention fusion on CamVid.

    Printed: nothing on CamVid. Ours: Cityscapes' setting at 360x480.
    """
    return setting("hybrid_fusion_camvid", CAMVID, crop_size=CAMVID.crop_size, epochs=300)


def hybrid_fusion_folder() -> Run:
    """Hybrid attention fusion on a folder of your own labelled pictures."""
    return small_data("hybrid_fusion_folder", Part("hybrid_fusion"), "ce")


def setting(recipe: str, place: Place, *, crop_size: tuple[int, int], epochs: int) -> Run:
    """Our setting for the paper's network, carried to a data set."""
    return Run(
        recipe=recipe,
        model=Part("hybrid_fusion", IMAGENET),
        data=place.data,
        augment=Augment(crop_size=crop_size, scale=(0.5, 2.0), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
        loss=Part("ce"),
        optim=Part("sgd", {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}),
        schedule=Part("poly", {"power": 0.9}),
        input_rule=place.input_rule,
        epochs=epochs,
        batch_size=12,
        aux_weight=0.4,
        ema=0.0,
        val_every=10,
        workers=place.workers,
    )
