"""Write a network of one's own, and train it like those that come with featherseg.

    python examples/new_model.py ROOT OUT [key=value ...]

A network is a `SegNetwork`, whose work ends at its classifier, and a `ModelConfig`, whose fields are its variants. ROOT
and OUT are those of train_folder.py. In the package the two classes would be a file of src/featherseg/models and a line
of `MODELS` there (CONTRIBUTING.md).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

import featherseg
from featherseg.models import MODELS, ModelConfig, SegNetwork, SegOutput
from featherseg.nn.attention import SqueezeExcitation
from featherseg.nn.blocks import ConvBNReLU, DepthwiseSeparable, InvertedResidual, resize, size_of
from featherseg.recipes import RECIPES
from featherseg.training import Part, with_overrides

ATTENTION = {"se": SqueezeExcitation, "none": nn.Identity}  # what the field may say -> the part; "none" is a part too


@dataclass(frozen=True, kw_only=True)
class TwoScalesConfig(ModelConfig):
    """The fields of the network; values that are not listed are refused with the nearest one.

    Attributes:
        attention: on the coarse map.
        width: channels of the finer map.
    """

    paper: ClassVar[str] = ""
    title: ClassVar[str] = "Two scales"

    attention: Literal["se", "none"] = "se"
    width: int = 24

    def build(self, num_classes: int) -> TwoScales:
        """The network with random weights."""
        attention = ATTENTION[self.attention](2 * self.width)
        return TwoScales(num_classes, width=self.width, attention=attention)


class TwoScales(SegNetwork):
    """A map at 1/8 and a coarser one at 1/16, added and classified."""

    stride = 8

    def __init__(self, num_classes: int, *, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.fine = nn.Sequential(
            ConvBNReLU(3, 16, 3, stride=2),
            DepthwiseSeparable(16, width, stride=2),
            InvertedResidual(width, width, stride=2),
        )
        self.coarse = nn.Sequential(
            InvertedResidual(width, 2 * width, stride=2), attention, ConvBNReLU(2 * width, width, 1)
        )
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> logits (N,num_classes,H/8,W/8)."""
        fine = self.fine(images)  # (N, width, H/8, W/8)
        coarse = self.coarse(fine)  # (N, width, H/16, W/16)
        return SegOutput(self.classifier(fine + resize(coarse, size_of(fine))))


def main(root: str, out: str, *changes: str) -> None:
    MODELS["two_scales"] = TwoScalesConfig
    network = featherseg.create_model("two_scales", num_classes=3)
    print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters")
    print(f"{tuple(network(torch.zeros(2, 3, 65, 97)).logits.shape)} scores of two pictures of 65x97")

    run = replace(RECIPES["affnet_folder"](), recipe="two_scales_folder", model=Part("two_scales"))
    run = with_overrides(run, [f"data.root={root}", f"out={out}", *changes])
    rundir = featherseg.train(run)
    print(featherseg.load(rundir).artefact.card["scores"]["val"])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
