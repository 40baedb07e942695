"""Recipes of Ma and Wang's network (paper 003)."""

from __future__ import annotations

from dataclasses import replace

from featherseg.data.augment import Augment
from featherseg.recipes.settings import CAMVID, CITYSCAPES, IMAGENET, UNIT, VOC_AUG, Place, small_data
from featherseg.runtime.artefact import InputRule
from featherseg.training import Freeze, Part, Run


def dsc_deeplab_voc() -> Run:
    """DSC-ASPP DeepLab with CBAM on VOC-aug.

    Printed: 512x512, 100 epochs, the first 50 with the backbone frozen and batch 8, then batch 4; SGD with momentum 0.9
    and weight decay 1e-4, base lr 7e-3, step schedule, focal loss, mixed precision.
    Assumed, from the code it is built on: Nesterov momentum, VOC-aug, the rate times batch / 16 and clamped to
    5e-4..0.1 (3.5e-3, then 1.75e-3), changed every epoch, down to a hundredth; the focal mean over all pixels;
    augmentation (scale, aspect, turn, blur, HSV, gray bars labelled background); pixels / 255 without mean and std;
    scores on pictures letterboxed to 512x512; seed 11. Ours: ImageNet weights for the backbone, where the paper starts
    from a whole network trained on VOC; bilinear instead of bicubic scaling; the change of aspect shared between height
    and width.
    """
    run = setting("dsc_deeplab_voc", VOC_AUG)
    return replace(run, augment=replace(run.augment, pad_label=0))


def dsc_deeplab_cityscapes() -> Run:
    """DSC-ASPP DeepLab with CBAM on Cityscapes.

    Printed: nothing on Cityscapes. Assumed: VOC's setting with crop 768x768; gray bars are ignored; scores at the
    pictures' own 1024x2048.
    """
    return setting("dsc_deeplab_cityscapes", CITYSCAPES)


def dsc_deeplab_camvid() -> Run:
    """DSC-ASPP DeepLab with CBAM on CamVid.

    Printed: nothing on CamVid. Assumed: VOC's setting at 360x480; gray bars are ignored, since 0 means sky there.
    """
    return setting("dsc_deeplab_camvid", CAMVID)


def dsc_deeplab_folder() -> Run:
    """DSC-ASPP DeepLab with CBAM on a folder of your own labelled pictures."""
    return small_data("dsc_deeplab_folder", Part("dsc_deeplab"), "focal")


def setting(recipe: str, place: Place, *, model: str = "dsc_deeplab", loss: str = "focal") -> Run:
    """The paper's setting, carried to a data set."""
    letterboxed = InputRule(size=(512, 512), fit="letterbox")
    return Run(
        recipe=recipe,
        model=Part(model, IMAGENET),
        data=place.data,
        augment=Augment(
            crop_size=place.crop_size,
            scale=(0.25, 2.0),
            scale_of="crop",
            aspect=0.3,
            rotation=10.0,
            blur=0.25,
            hsv=(0.1, 0.7, 0.3),
        ),
        loss=Part(loss),
        optim=Part("sgd", {"lr": 7e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}),
        schedule=Part("step", {"levels": 10, "final": 0.01}),
        preprocessing=UNIT,
        input_rule=letterboxed if place is VOC_AUG else place.input_rule,
        epochs=100,
        batch_size=4,
        freeze=Freeze(epochs=50, batch_size=8),
        lr_scaling="batch16",
        lr_every="epoch",
        ema=0.0,
        precision="fp16",
        val_every=5,
        workers=place.workers,
        seed=11,
    )
