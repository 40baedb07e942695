"""What every exported graph calculates: uint8 picture in, scores at the network's stride out, mean and std inside.

image   uint8   (1,H,W,3) RGB, any H and W of 32 and more
scores  float32 (1,C,h,w)
mask    uint8   (1,H,W) on request: what label_scores makes of the scores, see `OnnxTarget.with_mask`
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featherseg.models.base import SegNetwork, SegOutput
from featherseg.runtime.artefact import Artefact, Preprocessing
from featherseg.runtime.errors import FeathersegError

TRACED = (256, 320)  # the size of the traced picture; agreement is measured at others
SMALLEST_TRACED = 33  # torch.export wants the deepest map to be more than one cell; the file itself runs from 32 on
LARGEST_TRACED = 1 << 14
TRACES_POOLS = "2.13"  # the first torch that traces a max pool for odd and even sides alike


class NormalisingConv(nn.Conv2d):
    """`Preprocessing` as a 1x1 convolution: one pass over the picture, which `export.picture` takes apart further."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__(3, 3, 1)
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        with torch.no_grad():
            self.weight.copy_(torch.diag(1 / (255 * std)).view(3, 3, 1, 1))
            self.bias.copy_(-mean / std)  # type: ignore[union-attr]


class PictureToScores(nn.Module):
    """The graph of the file: uint8 (1,H,W,3) -> float32 (1,C,h,w)."""

    def __init__(self, network: SegNetwork, artefact: Artefact) -> None:
        super().__init__()
        self.normalise = NormalisingConv(artefact.preprocessing)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Normalise, run, and give the main scores alone."""
        images = self.normalise(image.permute(0, 3, 1, 2).float())  # (1, 3, H, W)
        return self.network(images).logits.float()  # type: ignore[no-any-return]


class Shifted(SegNetwork):
    """A network with a constant added to each class's scores: its operating point moved towards some classes."""

    def __init__(self, network: SegNetwork, shift: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.num_classes, self.stride = network.num_classes, network.stride
        self.align_corners = network.align_corners
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> the network's output with the shift added to the logits."""
        output = self.network(images)
        return SegOutput(output.logits + self.shift, output.aux_logits, output.presence)


def traced_picture() -> Tensor:
    """What graphs are traced with."""
    return torch.randint(0, 256, (1, *TRACED, 3), dtype=torch.uint8)


def free_sides() -> dict[int, torch.export.Dim]:
    """The axes of the picture that stay free: height and width."""
    return {
        axis: torch.export.Dim(name, min=SMALLEST_TRACED, max=LARGEST_TRACED)
        for axis, name in ((1, "height"), (2, "width"))
    }


def as_program(
    module: nn.Module, sides: dict[int, torch.export.Dim], *, deferred: bool = False
) -> torch.export.ExportedProgram:
    """A `PictureToScores` as a torch.export program whose sides are free.

    Args:
        module: what is traced.
        sides: axis of the picture -> its range.
        deferred: what torch cannot prove for all sizes is asked when the program runs.

    Raises:
        FeathersegError: where torch is older than `TRACES_POOLS` and cannot.
    """
    try:
        return torch.export.export(
            module,
            (traced_picture(),),
            dynamic_shapes={"image": sides},
            prefer_deferred_runtime_asserts_over_guards=deferred,
        )
    except RuntimeError as error:
        if torch.__version__ >= TRACES_POOLS or "Constraints violated" not in str(error):
            raise
        raise FeathersegError(
            f"torch {torch.__version__} cannot trace this network for pictures of any size",
            remedy=f"use torch {TRACES_POOLS} or newer, or --to onnx",
        ) from error
