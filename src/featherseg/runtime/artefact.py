"""What every trained or exported file says of itself, so that nobody who runs it can get it wrong."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

METADATA_KEY = "featherseg"
"""The one metadata key of exported files and checkpoints; its value is `Artefact.to_text`."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """(image / 255 - mean) / std per RGB channel; the same value in training, evaluation and every exported graph."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) -> float32 (1,3,H,W): the numpy twin of the step inside exported graphs."""
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        scaled = (image.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


@dataclass(frozen=True, kw_only=True)
class InputRule:
    """The size at which a network sees a picture: the one its score was measured with.

    Attributes:
        size: (height, width), or None for the picture's own size.
        fit: "stretch" resizes to `size` whatever the aspect; "letterbox" keeps the aspect and fills up with gray;
            "area" keeps the aspect and resizes to about as many pixels as `size`, in multiples of 32.
    """

    size: tuple[int, int] | None = None
    fit: str = "stretch"

    def __post_init__(self) -> None:
        if self.fit not in ("stretch", "letterbox", "area"):
            raise FeathersegError("input_rule.fit", expected="stretch, letterbox or area", got=repr(self.fit))
        if self.size is not None:
            object.__setattr__(self, "size", whole_sides(self.size))


def whole_sides(size: Any) -> tuple[int, int]:
    """The size as two whole numbers of 1 or more."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise FeathersegError(
            "input_rule.size", expected="(height, width), two whole numbers of 1 or more", got=repr(size)
        )
    return height, width


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """Everything a Predictor needs beside the network itself, and the card of the run that made it.

    Attributes:
        classes: what the channels of the scores mean.
        preprocessing: mean and std. An exported file applies them inside; a checkpoint's network expects them applied.
        input_rule: the size at which the score on the card was measured.
        align_corners: how the network's own paper resizes scores to the picture.
        stride: input pixels per score cell.
        card: the run card: data and its terms, recipe, seed, scores. JSON values only.
    """

    classes: Classes
    preprocessing: Preprocessing = Preprocessing()
    input_rule: InputRule = InputRule()
    align_corners: bool = False
    stride: int = 8
    card: dict[str, Any] = field(default_factory=dict)

    def to_text(self) -> str:
        """One JSON object {classes, palette, ignore_index, mean, std, input_rule, align_corners, stride, card}."""
        rule = self.input_rule
        return json.dumps(
            {
                **self.classes.to_json(),
                "mean": list(self.preprocessing.mean),
                "std": list(self.preprocessing.std),
                "input_rule": {"size": list(rule.size) if rule.size else None, "fit": rule.fit},
                "align_corners": self.align_corners,
                "stride": self.stride,
                "card": self.card,
            }
        )

    @classmethod
    def from_text(cls, text: str, *, source: str) -> Artefact:
        """The inverse of `to_text`; `source` names the file in the error."""
        try:
            value = json.loads(text)
            rule = value["input_rule"]
            return cls(
                classes=Classes.from_json(value),
                preprocessing=Preprocessing(mean=tuple(value["mean"]), std=tuple(value["std"])),
                input_rule=InputRule(size=tuple(rule["size"]) if rule["size"] else None, fit=rule["fit"]),
                align_corners=bool(value["align_corners"]),
                stride=int(value["stride"]),
                card=dict(value["card"]),
            )
        except (KeyError, TypeError, ValueError) as error:  # ValueError: no JSON, or values that are refused
            raise FeathersegError(
                f"{source}: its {METADATA_KEY!r} metadata cannot be read ({error!r})",
                remedy="export the network again with this version",
            ) from error
