"""AFFNet's recipes (Kuang et al., paper 004)."""

from __future__ import annotations

from dataclasses import replace

from featherseg.data.augment import Augment
from featherseg.runtime.artefact import InputRule
from featherseg.training import DataSpec, Part, Run


def affnet_camvid() -> Run:
    """AFFNet from scratch on CamVid at 480x360.

    From the paper: the network, OWFL + 0.5 CE, flips and colour changes, no ImageNet weights.
    Ours: CamVid instead of Cityscapes, AdamW with poly, random scale and crop, averaged weights.

    The bundled network began with it and went on at a larger scale: docs/training.md has the commands and the scores.
    """
    return Run(
        recipe="affnet_camvid",
        model=Part("affnet"),
        data=DataSpec(format="camvid"),
        augment=Augment(crop_size=(288, 384), scale=(0.6, 2.0), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
        loss=Part("owfl_ce"),
        optim=Part("adamw", {"lr": 1.5e-3, "weight_decay": 0.02}),
        schedule=Part("poly", {"power": 0.9}),
        input_rule=InputRule(size=(360, 480), fit="area"),
        epochs=110,
        batch_size=8,
        warmup_epochs=2.0,
        ema=0.998,
        val_every=10,
    )


def affnet_folder() -> Run:
    """AFFNet on a folder of one's own labelled pictures, with settings that suit a few hundred of them (ours)."""
    run = affnet_camvid()
    return replace(run, recipe="affnet_folder", data=DataSpec(format="folder"), val_every=5)
