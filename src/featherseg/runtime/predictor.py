"""A picture to a mask: prepare -> engine -> label_scores. There is one Predictor; engines differ."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
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
Decode: TypeAlias = Literal["full", "draft"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A picture that is ready for the network.

    Attributes:
        framed: uint8 (H,W,3), the network's input, 32 pixels and more a side.
        box: where in it the picture lies.
        size: (height, width) of the picture, and of its mask.
        picture: the picture, upright; None where a draft was decoded.
    """

    framed: npt.NDArray[np.uint8]
    box: Box
    size: tuple[int, int]
    picture: pixels.Pixels | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a network sees in one picture.

    Attributes:
        mask: uint8 (H,W), the class id of every pixel of the picture.
        scores: float32 (C,h,w) at the network's stride, over the whole of the network's input.
        classes: what the ids mean.
        picture: the picture as it is held, upright; None where a draft was decoded.
    """

    mask: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]
    classes: Classes
    picture: pixels.Pixels | None

    @cached_property
    def image(self) -> npt.NDArray[np.uint8]:
        """uint8 (H,W,3), the picture, upright."""
        return pixels.read_image(self._picture)

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The mask in its classes' colours over the picture."""
        return pixels.overlay(self._picture, self.mask, self.classes, opacity)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mask as a palette PNG whose pixels are class ids; whole or not at all."""
        pixels.save_mask(self.mask, path, self.classes)

    def shares(self) -> dict[str, float]:
        """The classes found and the fraction of the pixels that each covers, the largest first."""
        return shares(pixels.count_ids(self.mask), self.classes)

    @property
    def _picture(self) -> pixels.Pixels:
        if self.picture is None:
            raise FeathersegError("prediction: its picture was decoded as a draft", remedy='prepare it with "full"')
        return self.picture


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
        prepared = self.prepare(image, size)
        return self.label(prepared, self.engine(prepared.framed))

    def prepare(self, image: pixels.PictureSource, size: Size = None, *, decode: Decode = "full") -> Prepared:
        """The first third of a call: read a picture and bring it to the network's size.

        Args:
            image: as in a call.
            size: as in a call.
            decode: "draft" decodes a JPEG file no larger than the network needs it, to a half, a quarter or an eighth.
                That is faster and takes less memory, but there is then no picture for an overlay, and the mask differs
                in a few pixels, since the network sees other averages.
        """
        rule = self._rule(size)
        if decode == "draft" and isinstance(image, (str, os.PathLike)):
            own = pixels.picture_size(image)
            picture = pixels.decoded(image, at_least=fitted(own, rule))
        else:
            picture = pixels.decoded(image)
            own = pixels.size_of(picture)
        framed, box = prepare(picture, rule, own)
        return Prepared(framed=framed, box=box, size=own, picture=None if decode == "draft" else picture)

    def label(self, prepared: Prepared, scores: npt.NDArray[np.float32]) -> Prediction:
        """The last third of a call: the engine's scores of `prepared.framed` to labels at the picture's size."""
        if scores.ndim != 3 or len(scores) != len(self.classes):
            raise FeathersegError("the engine's scores", expected=f"({len(self.classes)},h,w)", got=scores.shape)
        frame = pixels.size_of(prepared.framed)
        aligned = self.artefact.align_corners
        mask = label_scores(scores, prepared.size, align_corners=aligned, frame=frame, box=prepared.box)
        return Prediction(mask=mask, scores=scores, classes=self.classes, picture=prepared.picture)

    def _rule(self, size: Size) -> InputRule:
        if size is None:
            return self.artefact.input_rule
        if isinstance(size, str):
            if size != "own":
                raise FeathersegError("size", expected="None, 'own' or (height, width)", got=repr(size))
            return InputRule(size=None)
        return InputRule(size=size)


def shares(counts: npt.NDArray[np.int64], classes: Classes) -> dict[str, float]:
    """Pixels of each id -> the classes found and the fraction of the pixels that each covers, the largest first."""
    order = np.argsort(-counts[: len(classes)], kind="stable")
    return {classes.names[index]: int(counts[index]) / int(counts.sum()) for index in order if counts[index]}


def prepare(
    picture: pixels.Pixels, rule: InputRule, own: tuple[int, int] | None = None
) -> tuple[npt.NDArray[np.uint8], Box]:
    """The network's input, uint8 (H,W,3) of 32 pixels and more a side, and where in it the picture lies.

    What is smaller is filled up by repeating the picture's last row and column. Of a draft, `own` is the size of the
    picture that it is a draft of: its aspect, which a draft has to the nearest pixel only, decides.
    """
    size = fitted(own or pixels.size_of(picture), rule)
    framed, box = pixels.resize(picture, size), Box(0, 0, *size)
    if rule.size is not None and rule.fit == "letterbox":
        framed, box = pixels.letterbox(framed, rule.size)
    missing = [max(0, pixels.CELL - side) for side in framed.shape[:2]]
    if any(missing):
        framed = np.pad(framed, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return framed, box


def fitted(own: tuple[int, int], rule: InputRule) -> tuple[int, int]:
    """(height, width) at which the network sees a picture of the size `own`."""
    if rule.size is None:
        return own
    if rule.fit == "letterbox":
        return pixels.inside(own, rule.size)
    return rule.size if rule.fit == "stretch" else _same_area(own, rule.size)


def _same_area(own: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The aspect of `own` with as many pixels as `size`, as near as multiples of 32 allow.

    Features lie at up to 1/32 of the input. Where a side is no multiple, the last cell of a grid hangs over the edge:
    fused with finer features, or resized to the picture, it lies up to half a cell off, which costs thin things most.
    """
    height, width = own
    scale = math.sqrt(size[0] * size[1] / (height * width))
    return pixels.whole_cells(height * scale), pixels.whole_cells(width * scale)
