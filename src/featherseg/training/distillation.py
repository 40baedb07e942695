"""Learning from a trained network beside the labels: the teacher's probabilities, place by place.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2; for each place of a segmentation
Liu et al., "Structured Knowledge Distillation for Semantic Segmentation", 2019, eq. 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.hub import locate
from featherseg.models.checkpoint import load_checkpoint
from featherseg.models.engine import Normalise, stripped
from featherseg.nn.blocks import resize, size_of
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

if TYPE_CHECKING:
    from featherseg.training.parts import Distill


class Teacher(nn.Module):
    """A trained network that is asked, never changed, and what its student loses by differing from it.

    Args:
        setting: where it is, and what it counts.
        classes: the student's; the teacher must have the same ones in the same order.
    """

    def __init__(self, setting: Distill, classes: Classes) -> None:
        super().__init__()
        network, artefact = load_checkpoint(locate(setting.teacher, "torch"))
        if artefact.classes.names != classes.names:
            raise FeathersegError(
                f"distill.teacher={setting.teacher}: its classes are not those of the data",
                expected=", ".join(classes.names),
                got=", ".join(artefact.classes.names),
                remedy="train the teacher on the same classes",
            )
        self.weight, self.temperature = setting.weight, setting.temperature
        self.network = stripped(network)
        self.normalise = Normalise(artefact.preprocessing)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """uint8 (N,3,H,W) -> logits (N,C,h,w) at the teacher's stride."""
        self.network.eval()
        images = self.normalise(images).contiguous(memory_format=torch.channels_last)
        return self.network(images).logits  # type: ignore[no-any-return]

    def loss(self, logits: Tensor, images: Tensor) -> Tensor:
        """`weight` times the divergence of student's `logits` (N,C,h,w) from the teacher's on `images`, a scalar.

        KL(teacher || student) of the softmax at the temperature T, times T^2, mean over all places of the student's
        grid, those without a label included.
        """
        teacher = self(images).float()
        with torch.autocast(logits.device.type, enabled=False):
            wanted = resize(teacher, size_of(logits)) / self.temperature
            given = logits.float() / self.temperature
            divergence = F.kl_div(given.log_softmax(1), wanted.log_softmax(1), reduction="none", log_target=True)
            return self.weight * self.temperature**2 * divergence.sum(1).mean()
