"""Whether an exported file says the same as the network it came from: scores, labels, and mIoU where there is truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featherseg.data import SegData
from featherseg.evaluation import evaluate
from featherseg.metrics import Scores, json_number
from featherseg.models.base import SegNetwork
from featherseg.models.engine import TorchEngine
from featherseg.runtime import pixels
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.engines import open_engine
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores
from featherseg.runtime.pixels import Picture
from featherseg.runtime.predictor import Predictor

SIZES = ((360, 480), (193, 257), (64, 96))  # one as in use, one odd, one smaller than the traced one
TOLERANCES = {
    "fp32": (1e-3, 0.9999),
    "fp16": (5e-2, 0.998),
}  # largest relative difference of scores, share of equal pixels


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was compared and how far it was off.

    Attributes:
        sizes: (height, width) of the pictures compared, none of them the traced size.
        pictures: how many pictures, each at every size.
        largest_difference: of the scores, over the largest score's magnitude.
        equal_pixels: share of the pixels with the same label.
        precision: which tolerance holds.
        max_drop: mIoU points that the file may lose; None for no such limit.
        before: scores of the network on labelled pictures, where there were any.
        after: scores of the file on the same pictures.
    """

    sizes: tuple[tuple[int, int], ...]
    pictures: int
    largest_difference: float
    equal_pixels: float
    precision: str
    max_drop: float | None = None
    before: Scores | None = None
    after: Scores | None = None

    @property
    def drop(self) -> float | None:
        """mIoU points lost by exporting; None where it was not measured."""
        return 100 * (self.before.miou - self.after.miou) if self.before and self.after else None

    @property
    def holds(self) -> bool:
        """Whether every measure is within its tolerance."""
        difference, equal = TOLERANCES[self.precision]
        kept = self.max_drop is None or self.drop is None or self.drop <= self.max_drop
        return self.largest_difference <= difference and self.equal_pixels >= equal and kept

    @property
    def tolerance(self) -> str:
        """The tolerance in words."""
        difference, equal = TOLERANCES[self.precision]
        limit = "" if self.max_drop is None else f" and at most {self.max_drop:g} mIoU points lost"
        return f"scores within {difference:g} of the largest and {100 * equal:g} % equal pixels{limit}"

    def summary(self) -> str:
        """The measures in words."""
        lost = "" if self.drop is None else f" and {self.drop:.2f} mIoU points lost"
        return f"scores within {self.largest_difference:.2g} and {100 * self.equal_pixels:.3f} % equal pixels{lost}"

    def to_json(self) -> dict[str, Any]:
        """The report for the card."""
        return {
            "agrees": self.holds,
            "sizes": [list(size) for size in self.sizes],
            "pictures": self.pictures,
            "largest_difference": float(f"{self.largest_difference:.3g}"),
            "equal_pixels": round(self.equal_pixels, 6),
            "miou_before": json_number(self.before.miou) if self.before else None,
            "miou": json_number(self.after.miou) if self.after else None,
        }


def measure_agreement(
    network: SegNetwork,
    artefact: Artefact,
    path: Path,
    pictures: list[Picture],
    *,
    precision: str,
    data: SegData | None = None,
    max_drop: float | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Run both on every picture at every size, compare scores and labels; score both where `data` gives the truth.

    The CPU compares, since a GPU rounds otherwise; the network is scored on `device`, where it is left.
    """
    require_evidence(pictures, data, max_drop)
    reference, exported = TorchEngine(network, artefact, device="cpu"), open_engine(path, device="cpu")
    difference, equal, total = 0.0, 0, 0
    for picture in pictures:
        for size in SIZES:
            image = pixels.resize(picture, size)
            ours, theirs = reference(image), exported(image)
            if ours.shape != theirs.shape:
                raise FeathersegError(f"{path.name}: scores at {size}", expected=ours.shape, got=theirs.shape)
            difference = max(difference, float(np.abs(ours - theirs).max() / max(1e-6, np.abs(ours).max())))
            masks = [label_scores(scores, size, align_corners=artefact.align_corners) for scores in (ours, theirs)]
            equal += int((masks[0] == masks[1]).sum())
            total += masks[0].size
    before = after = None
    if data is not None:
        scored = TorchEngine(network, artefact, device=device)
        before = evaluate(Predictor(scored, artefact), data, progress=progress)
        after = evaluate(Predictor(exported, artefact), data, progress=progress)
    return Agreement(
        sizes=SIZES,
        pictures=len(pictures),
        largest_difference=difference,
        equal_pixels=equal / total,
        precision=precision,
        max_drop=max_drop,
        before=before,
        after=after,
    )


def require_evidence(pictures: list[Picture], data: SegData | None, max_drop: float | None) -> None:
    """Refuse to compare on nothing, and to limit a loss that cannot be measured."""
    if max_drop is not None and data is None:
        raise FeathersegError(
            "max_drop", expected="labelled pictures to measure mIoU on", got="none", remedy="name them by --data --root"
        )
    if not pictures:
        raise FeathersegError("agreement", expected="at least one picture to compare on", got="none")
