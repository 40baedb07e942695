"""AFFNet's recipes (Kuang, Liu, Chen, Zhang: paper 004)."""

from __future__ import annotations

from dataclasses import replace

from featherseg.data.augment import Augment
from featherseg.recipes.settings import CITYSCAPES, VOC_AUG, small_data
from featherseg.training import DataSpec, Part, Run


def affnet_cityscapes() -> Run:
    """AFFNet on Cityscapes in one stage, as the paper's ablations train.

    Printed: Adam with lr 5e-4, momentum (beta1) 0.9 and weight decay 1e-4, batch 10, 150 epochs, no ImageNet weights,
    flips and "random pixel conversion", OWFL + 0.5 CE.
    Assumed: poly 0.9, whole pictures of 1024x2048, brightness, contrast and colour as the pixel conversion.
    """
    return Run(
        recipe="affnet_cityscapes",
        model=Part("affnet"),
        data=CITYSCAPES.data,
        augment=jittered((1024, 2048)),
        loss=Part("owfl_ce"),
        optim=Part("adam", {"lr": 5e-4, "weight_decay": 1e-4}),
        schedule=Part("poly", {"power": 0.9}),
        epochs=150,
        batch_size=10,
        ema=0.0,
        val_every=10,
        workers=4,
    )


def affnet_cityscapes_patches() -> Run:
    """AFFNet's first stage: 23,800 patches of 880x880, eight of each Cityscapes picture.

    Printed: the patches' number and size, Adam with lr 5e-4 and weight decay 1e-4, batch 10, 150 epochs.
    Assumed: where the patches lie (two rows, four columns, overlapping), poly 0.9, and that the patches are for the
    final training only. They are windows of the pictures: no file is written.
    """
    run = affnet_cityscapes()
    data = replace(run.data, train="train_patches")
    return replace(run, recipe="affnet_cityscapes_patches", data=data, augment=jittered((880, 880)))


def affnet_cityscapes_fine() -> Run:
    """AFFNet's second stage on whole Cityscapes pictures; start it with init=RUN of the first.

    Printed: lr 2e-4, 150 epochs, otherwise as the first stage.
    Assumed: whole pictures of 1024x2048, poly 0.9.
    """
    run = affnet_cityscapes()
    return replace(run, recipe="affnet_cityscapes_fine", optim=Part("adam", {"lr": 2e-4, "weight_decay": 1e-4}))


def affnet_voc() -> Run:
    """AFFNet on VOC-aug with the paper's optimiser.

    Printed: nothing on VOC; Adam, lr 5e-4, weight decay 1e-4, batch 10, 150 epochs and the loss are Cityscapes'.
    Assumed: all else, with random scale and crop since VOC's pictures differ in size.
    """
    run = affnet_cityscapes()
    augment = replace(jittered(VOC_AUG.crop_size), scale=(0.5, 2.0))
    return replace(run, recipe="affnet_voc", data=VOC_AUG.data, augment=augment)


def affnet_camvid() -> Run:
    """AFFNet from scratch on CamVid at 480x360 (our setting; the bundled network began with it).

    Printed: the network, OWFL + 0.5 CE, flips and colour changes, no ImageNet weights.
    Ours: CamVid instead of Cityscapes, AdamW with poly, random scale and crop, averaged weights.

    The bundled network went on at a larger scale: docs/training.md has the commands and the scores.
    """
    run = small_data("affnet_camvid", Part("affnet"), "owfl_ce")
    return replace(run, data=DataSpec(format="camvid"), val_every=10)


def affnet_folder() -> Run:
    """AFFNet on a folder of your own labelled pictures."""
    return small_data("affnet_folder", Part("affnet"), "owfl_ce")


def jittered(crop_size: tuple[int, int]) -> Augment:
    """Flips and changes of brightness, contrast and colour; the scale is left alone."""
    return Augment(crop_size=crop_size, scale=(1.0, 1.0), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
