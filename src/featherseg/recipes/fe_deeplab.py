"""Recipes of Huo, Wang, Liu and Li's network (paper 001), which prints no optimiser, schedule or augmentation."""

from __future__ import annotations

from dataclasses import replace

from featherseg.recipes import dsc_deeplab
from featherseg.recipes.settings import CAMVID, CITYSCAPES, VOC, Place, small_data
from featherseg.runtime.artefact import InputRule
from featherseg.training import Freeze, Part, Run


def fe_deeplab_voc() -> Run:
    """FE DeepLab with CE + Dice on VOC 2012's 1,464 training pictures.

    Printed: VOC 2012 with 1,464 training pictures (not VOC-aug), CE + Dice with equal weights.
    Assumed: all else is paper 003's setting, which stands on the same code: SGD, 50 epochs frozen with batch 8 and 50
    thawed with batch 4, step schedule, 512x512, letterboxed scores; ignored pixels are left out of Dice.
    """
    run = setting("fe_deeplab_voc", VOC)
    return replace(
        run,
        augment=replace(run.augment, pad_label=0),
        input_rule=InputRule(size=(512, 512), fit="letterbox"),
    )


def fe_deeplab_voc_2021() -> Run:
    """FE DeepLab on VOC 2012 as the code of its year trained by default.

    Printed: as fe_deeplab_voc. Assumed: Adam, weight decay 5e-4, 50 frozen epochs with lr 5e-4 and batch 8, then 50
    with lr 5e-5 and batch 4, times 0.92 each epoch; saturation and value up to 1.5 times.
    """
    run = fe_deeplab_voc()
    return replace(
        run,
        recipe="fe_deeplab_voc_2021",
        optim=Part("adam", {"lr": 5e-5, "weight_decay": 5e-4}),
        schedule=Part("step", {"levels": 50, "final": 0.92**49}),
        freeze=Freeze(epochs=50, batch_size=8, lr=5e-4, restart=True),
        lr_scaling="none",
        augment=replace(run.augment, hsv=(0.1, 0.5, 0.5)),
    )


def fe_deeplab_cityscapes() -> Run:
    """FE DeepLab with CE + Dice on Cityscapes.

    Printed: nothing on Cityscapes. Assumed: VOC's setting with crop 768x768, at the pictures' own size.
    """
    return setting("fe_deeplab_cityscapes", CITYSCAPES)


def fe_deeplab_camvid() -> Run:
    """FE DeepLab with CE + Dice on CamVid.

    Printed: nothing on CamVid. Assumed: VOC's setting at 360x480.
    """
    return setting("fe_deeplab_camvid", CAMVID)


def fe_deeplab_folder() -> Run:
    """FE DeepLab with CE + Dice on a folder of your own labelled pictures."""
    return small_data("fe_deeplab_folder", Part("fe_deeplab"), "ce_dice")


def setting(recipe: str, place: Place) -> Run:
    """Paper 003's setting with this paper's network and loss, in full precision."""
    run = dsc_deeplab.setting(recipe, place, model="fe_deeplab", loss="ce_dice")
    return replace(run, precision="fp32")
