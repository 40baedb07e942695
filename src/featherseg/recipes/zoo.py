"""The zoo's protocol: ours and the peers under the very same training, so that scores compare networks, not settings.

A paper's own recipe (`caspp_deeplab_camvid` ...) does what its authors did; here nothing but the network differs. The
settings were tuned for none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from featherseg.data.augment import Augment
from featherseg.models import MODELS
from featherseg.recipes.settings import IMAGENET
from featherseg.runtime.artefact import InputRule
from featherseg.training import DataSpec, Part, Run

VOC7 = ("background", "cat", "cow", "dog", "horse", "person", "sheep")
"""The classes of the VOC part that most of its pictures show; every other one is ignored."""


def zoo_camvid(recipe: str, model: Part) -> Run:
    """The zoo's protocol on CamVid, the same for every network.

    Printed: nothing, this is ours. 40 epochs of batch 8, from ImageNet weights where there is a backbone, else from
    random ones; AdamW, 1e-3 and for the encoder 3e-4, poly 0.9 after one epoch's rise; cross-entropy and Dice,
    auxiliary heads at 0.4; crops of 256x320 at scale 0.75 to 2, flips, colour; averaged weights. Scored at 480x640,
    about the scale that the crops have; everything is chosen on val.
    """
    return Run(
        recipe=recipe,
        model=model,
        data=DataSpec(format="camvid"),
        augment=Augment(crop_size=(256, 320), scale=(0.75, 2.0), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
        loss=Part("ce_dice"),
        optim=Part("adamw", {"lr": 1e-3, "weight_decay": 0.02}),
        schedule=Part("poly", {"power": 0.9}),
        input_rule=InputRule(size=(480, 640), fit="area"),
        epochs=40,
        batch_size=8,
        warmup_epochs=1.0,
        encoder_lr=0.3,
        ema=0.998,
        val_every=5,
    )


def zoo_voc7(recipe: str, model: Part) -> Run:
    """The zoo's protocol on seven classes of VOC, the same for every network.

    Printed: nothing, this is ours. CamVid's protocol with 10 epochs, crops of 256x256 at scale 0.5 to 1.5, scored on
    pictures of about 320x320 pixels in their own aspect.
    """
    run = zoo_camvid(recipe, model)
    return replace(
        run,
        data=DataSpec(format="voc", classes=VOC7, cache=False),
        augment=replace(run.augment, crop_size=(256, 256), scale=(0.5, 1.5)),
        input_rule=InputRule(size=(320, 320), fit="area"),
        epochs=10,
        val_every=2,
    )


def under(protocol: Callable[[str, Part], Run], model: str) -> Callable[[], Run]:
    """The recipe MODEL_PROTOCOL: one network under a protocol."""

    def make() -> Run:
        return protocol(make.__name__, Part(model, start))

    start = IMAGENET if "pretrained" in MODELS[model].fields() else {}
    make.__name__, make.__doc__ = f"{model}_{protocol.__name__}", protocol.__doc__
    return make
