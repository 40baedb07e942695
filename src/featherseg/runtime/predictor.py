"""A picture to a mask: prepare -> engine -> label_scores. There is one Predictor; engines differ."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from featherseg.runtime import pixels
from featherseg.runtime.artefact import Artefact, InputRule
from featherseg.runtime.axes import Box
from featherseg.runtime.classes import Classes
from featherseg.runtime.engines import Engine
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores

Size: TypeAlias = "tuple[int, int] | Literal['own'] | None"

SMALLEST_SIDE = 32
"""Networks take 32 pixels and more; less is filled up by repeating the picture's last row and column."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a network sees in one picture.

    Attributes:
        mask: uint8 (H,W), the class id of every pixel of the picture.
        scores: float32 (C,h,w) at the network's stride, over the whole of the network's input.
        classes: what the ids mean.
        image: uint8 (H,W,3), the picture, upright.
    """

    mask: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]
    classes: Classes
    image: npt.NDArray[np.uint8]

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The mask in its classes' colours over the picture."""
        return pixels.overlay(self.image, self.mask, self.classes, opacity)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mask as a palette PNG whose pixels are class ids; whole or not at all."""
        pixels.save_mask(self.mask, path, self.classes)

    def shares(self) -> dict[str, float]:
        """The classes found and the fraction of the pixels that each covers, the largest first."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        return {self.classes.names[index]: int(counts[index]) / self.mask.size for index in order if counts[index]}


@dataclass(frozen=True)
class Predictor:
    """An engine, and the artefact that says how to use it.

    Attributes:
        engine: uint8 (H,W,3) -> float32 (C,h,w).
        artefact: classes, preprocessing, input rule, align_corners, stride, card.
    """

    engine: Engine
    artefact: Artefact

    @property
    def classes(self) -> Classes:
        """What the ids in a mask mean."""
        return self.artefact.classes

    def __call__(self, image: pixels.PictureSource, size: Size = None) -> Prediction:
        """Segment one picture.

        Args:
            image: a path, a PIL.Image or a uint8 array (H,W,3) RGB.
            size: at which size the network sees it: None = by the artefact's input rule, the one its score was measured
                with; "own" = the picture's own size; (height, width) = resized to that. The mask has the picture's size
                in any case.

        Raises:
            FeathersegError: where the picture cannot be read, or the network cannot run it.
        """
        picture = pixels.read_image(image)
        framed, box = prepare(picture, self._rule(size), stride=self.artefact.stride)
        scores = self.engine(framed)
        if scores.ndim != 3 or len(scores) != len(self.classes):
            raise FeathersegError("the engine's scores", expected=f"({len(self.classes)},h,w)", got=scores.shape)
        height, width = picture.shape[:2]
        frame = (framed.shape[0], framed.shape[1])
        mask = label_scores(scores, (height, width), align_corners=self.artefact.align_corners, frame=frame, box=box)
        return Prediction(mask=mask, scores=scores, classes=self.classes, image=picture)

    def _rule(self, size: Size) -> InputRule:
        if size is None:
            return self.artefact.input_rule
        if isinstance(size, str):
            if size != "own":
                raise FeathersegError("size", expected="None, 'own' or (height, width)", got=repr(size))
            return InputRule(size=None)
        return InputRule(size=size)


def prepare(picture: npt.NDArray[np.uint8], rule: InputRule, *, stride: int = 1) -> tuple[npt.NDArray[np.uint8], Box]:
    """The network's input, uint8 (H,W,3) of 32 pixels and more a side, and where in it the picture lies."""
    if rule.size is None:
        framed, box = picture, Box(0, 0, *picture.shape[:2])
    elif rule.fit == "letterbox":
        framed, box = pixels.letterbox(picture, rule.size)
    else:
        size = rule.size if rule.fit == "stretch" else _same_area(picture, rule.size, stride)
        framed, box = pixels.resize(picture, size), Box(0, 0, *size)
    missing = [max(0, SMALLEST_SIDE - side) for side in framed.shape[:2]]
    if any(missing):
        framed = np.pad(framed, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return framed, box


def _same_area(picture: npt.NDArray[np.uint8], size: tuple[int, int], stride: int) -> tuple[int, int]:
    """The picture's aspect with as many pixels as `size`, as near as whole cells of scores allow.

    Where a side is no multiple of the stride the last cell hangs over the edge and the scores lie up to half a cell off
    the picture, which costs thin things most.
    """
    height, width = picture.shape[:2]
    scale = math.sqrt(size[0] * size[1] / (height * width))
    return max(1, round(height * scale / stride)) * stride, max(1, round(width * scale / stride)) * stride
