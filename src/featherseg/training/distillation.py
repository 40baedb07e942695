"""Learning from a trained network beside the labels: the teacher's probabilities, place by place.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2; for each place of a segmentation
Liu et al., "Structured Knowledge Distillation for Semantic Segmentation", 2019, eq. 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.hub import locate
from featherseg.models.checkpoint import load_checkpoint
from featherseg.models.engine import Normalise, stripped
from featherseg.nn.blocks import size_of
from featherseg.runtime.axes import Span, positions
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

if TYPE_CHECKING:
    from featherseg.training.parts import Distill


class Teacher(nn.Module):
    """A trained network that is asked, never changed, and what its student loses by differing from it.

    Attributes:
        facts: its name and score, which the student's card tells.

    Args:
        setting: where it is, and what it counts.
        classes: the student's; the teacher must have the same ones in the same order.
        align_corners: of the student's scores.
        device: where it runs.
    """

    def __init__(self, setting: Distill, classes: Classes, *, align_corners: bool, device: torch.device) -> None:
        super().__init__()
        file = locate(setting.teacher, "torch")
        network, artefact = load_checkpoint(file)
        if artefact.classes.names != classes.names:
            raise FeathersegError(
                f"distill.teacher={setting.teacher}: its classes are not those of the data",
                expected=", ".join(classes.names),
                got=", ".join(artefact.classes.names),
                remedy="train the teacher on the same classes",
            )
        self.weight, self.temperature = setting.weight, setting.temperature
        scores: dict[str, Any] = next(iter(artefact.card.get("scores", {}).values()), {})
        self.facts = {"name": artefact.card.get("name", file.stem), "miou": scores.get("miou")}
        self.network = stripped(network, device)
        self.align_corners, self.wanted_align_corners = network.align_corners, align_corners
        self.normalise = Normalise(artefact.preprocessing)
        self.to(device)

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
            wanted = self.where_the_student_has_them(teacher, images, logits) / self.temperature
            given = logits.float() / self.temperature
            divergence = F.kl_div(given.log_softmax(1), wanted.log_softmax(1), reduction="none", log_target=True)
            return self.weight * self.temperature**2 * divergence.sum(1).mean()

    def where_the_student_has_them(self, teacher: Tensor, images: Tensor, logits: Tensor) -> Tensor:
        """The teacher's logits (N,C,h,w) at the places of the picture that the student's (N,C,h',w') stand for."""
        rows, columns = (
            between_grids(old, new, pixels, self.align_corners, self.wanted_align_corners, teacher.device)
            for old, new, pixels in zip(size_of(teacher), size_of(logits), size_of(images), strict=True)
        )
        return rows @ (teacher @ columns.T)


@lru_cache(maxsize=64)
def between_grids(
    old: int, new: int, pixels: int, old_corners: bool, new_corners: bool, device: torch.device
) -> Tensor:
    """The linear resize of `old` scores along a picture's axis to `new` ones as a matrix, float32 (new, old).

    Each grid lies on the pixels in its own way; where both lie alike this is `interpolate`'s.
    """
    pixel = positions(pixels, new, Span(new, 0, new), align_corners=new_corners)
    place = pixel * (old - 1) / max(pixels - 1, 1) if old_corners else (pixel + 0.5) * old / pixels - 0.5
    place = np.clip(place, 0, old - 1)
    low = np.minimum(place.astype(np.intp), max(old - 2, 0))
    matrix = np.zeros((new, old), np.float32)
    matrix[np.arange(new), low] += 1 - (place - low)
    matrix[np.arange(new), np.minimum(low + 1, old - 1)] += place - low
    return torch.from_numpy(matrix).to(device)
