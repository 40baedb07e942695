"""What recipes are made of: where a paper's setting is carried to, and our own setting for a few hundred pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from featherseg.data.augment import Augment
from featherseg.runtime.artefact import InputRule, Preprocessing
from featherseg.training import DataSpec, Part, Run


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe as the menu lists it; called, it gives its Run.

    Attributes:
        make: the function that returns the run; its name is the recipe's, its docstring tells what is printed in the
            paper and what is assumed.
        paper: the paper's number, "" for a peer.
        target: the score that the paper prints, or that we measured.
        core_hours: about what the whole recipe takes on one CPU core: estimated from the time of a step
            (benchmarks/recipe_hours.py), or measured, where a card in weights/ has it.
    """

    make: Callable[[], Run]
    paper: str
    target: str
    core_hours: float

    @property
    def name(self) -> str:
        """What one types."""
        return self.make.__name__

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return (self.make.__doc__ or "").strip().splitlines()[0]

    def __call__(self) -> Run:
        """The complete run, to be adapted by key=value."""
        return self.make()


@dataclass(frozen=True, kw_only=True)
class Place:
    """A data set as recipes use it.

    Attributes:
        data: format and splits; root is left to the user.
        crop_size: (height, width) that training sees.
        input_rule: the size at which pictures are scored.
        workers: processes that prepare batches.
    """

    data: DataSpec
    crop_size: tuple[int, int]
    input_rule: InputRule = InputRule()
    workers: int = 4


VOC_SIZE = InputRule(size=(384, 512), fit="area")
"""About VOC's own sizes, 375x500 most often, in multiples of 32."""

VOC_AUG = Place(data=DataSpec(format="auto", cache=False), crop_size=(512, 512), input_rule=VOC_SIZE)
"""VOC-aug where the tree holds it, else plain VOC; the run says which it found."""

VOC = Place(data=DataSpec(format="voc", cache=False), crop_size=(512, 512), input_rule=VOC_SIZE)
CITYSCAPES = Place(data=DataSpec(format="cityscapes", cache=False), crop_size=(768, 768))
CAMVID = Place(
    data=DataSpec(format="camvid"),
    crop_size=(360, 480),
    input_rule=InputRule(size=(360, 480), fit="area"),
    workers=1,
)

UNIT = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Pixels / 255 and nothing else, as the code family of papers 001 and 003."""

IMAGENET = {"pretrained": "imagenet"}


def small_data(recipe: str, model: Part, loss: str) -> Run:
    """Our own setting for a folder of a few hundred pictures: from random weights, so nothing is downloaded.

    AdamW with a linear rise and poly, random scale, crop, flip and colour, averaged weights; chosen with AFFNet on
    CamVid's val split. A network on a backbone learns sooner from ImageNet weights (model.pretrained=imagenet, or a
    file; then also encoder_lr=0.3), and every one from a trained network (init=).
    """
    return Run(
        recipe=recipe,
        model=model,
        data=DataSpec(format="folder"),
        augment=Augment(crop_size=(288, 384), scale=(0.6, 2.0), brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
        loss=Part(loss),
        optim=Part("adamw", {"lr": 1.5e-3, "weight_decay": 0.02}),
        schedule=Part("poly", {"power": 0.9}),
        input_rule=InputRule(size=(360, 480), fit="area"),
        epochs=110,
        batch_size=8,
        warmup_epochs=2.0,
        ema=0.998,
        val_every=5,
    )
