"""Whether an exported file says the same as the network it came from: scores, labels, and mIoU where there is truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from featherseg.data import SegData
from featherseg.evaluation import evaluate
from featherseg.metrics import Scores, json_number
from featherseg.models.base import SegNetwork
from featherseg.models.engine import TorchEngine
from featherseg.runtime import pixels
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.engines import Engine
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores
from featherseg.runtime.pixels import Picture
from featherseg.runtime.predictor import Predictor, prepare

SIZES = ((360, 480), (193, 257), (64, 96))  # a common one, an odd one, one smaller than the traced one
TOLERANCES = {
    "fp32": (1e-3, 0.9999),
    "fp16": (5e-2, 0.998),
    "bf16": (1e-1, 0.995),
    "int8": (math.inf, 0.97),
}  # largest relative difference of scores, share of equal pixels; in 8 bits single scores may be far off
NAMED = 4  # layers left in float that a message names
SAME_MASK = 0.9999  # share of pixels; two scores within rounding of each other may change places
TIMED = 7  # runs; the median counts


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What was compared and how far it was off.

    Attributes:
        sizes: (height, width) of the pictures compared, none of them the traced size.
        pictures: how many pictures, each at every size.
        largest_difference: of the scores, over the largest score's magnitude.
        equal_pixels: share of the pixels with the same label.
        equal_at: the same for each of the sizes; empty where it was not told apart.
        equal_mask: share of the pixels where the file's own labels are those of its scores; None for files without.
        precision: which tolerance holds.
        max_drop: mIoU points that the file may lose; None for no such limit.
        before: scores of the network on labelled pictures, where there were any.
        after: scores of the file on the same pictures.
        latency_ms: the median time that one picture takes the network in torch, and the file, at the size of use on
            this machine's CPU; decoding and labels are not in it.
        layers_in_float: what 8 bits could not afford.
    """

    sizes: tuple[tuple[int, int], ...]
    pictures: int
    largest_difference: float
    equal_pixels: float
    equal_at: tuple[float, ...] = ()
    equal_mask: float | None = None
    precision: str
    max_drop: float | None = None
    before: Scores | None = None
    after: Scores | None = None
    latency_ms: tuple[float, float]
    layers_in_float: tuple[str, ...] = ()

    @property
    def drop(self) -> float | None:
        """mIoU points lost by exporting; None where it was not measured."""
        return 100 * (self.before.miou - self.after.miou) if self.before and self.after else None

    @property
    def holds(self) -> bool:
        """Whether every measure is within its tolerance."""
        difference, equal = TOLERANCES[self.precision]
        kept = self.max_drop is None or self.drop is None or self.drop <= self.max_drop
        own = self.equal_mask is None or self.equal_mask >= SAME_MASK
        return self.largest_difference <= difference and self.equal_pixels >= equal and kept and own

    @property
    def tolerance(self) -> str:
        """The tolerance in words."""
        difference, equal = TOLERANCES[self.precision]
        limit = "" if self.max_drop is None else f" and at most {self.max_drop:g} mIoU points lost"
        limit += "" if self.equal_mask is None else f" and {100 * SAME_MASK:g} % of the mask as label_scores has it"
        scores = "" if math.isinf(difference) else f"scores within {difference:g} of the largest and "
        return f"{scores}{100 * equal:g} % equal pixels{limit}"

    def summary(self) -> str:
        """The measures in words."""
        lost = "" if self.drop is None else f" and {self.drop:.2f} mIoU points lost"
        lost += "" if self.equal_mask is None else f" and {100 * self.equal_mask:.3f} % of the mask"
        scores = f"scores within {self.largest_difference:.2g} and "
        if math.isinf(TOLERANCES[self.precision][0]):
            scores = ""
        return f"{scores}{100 * self.equal_pixels:.3f} % equal pixels{self._worst()}{lost}{self._in_float()}"

    def _worst(self) -> str:
        """At which size the fewest pixels are equal, in words."""
        if not self.equal_at:
            return ""
        share, (height, width) = min(zip(self.equal_at, self.sizes, strict=True))
        return f" (at {height}x{width} {100 * share:.3f} %)"

    def _in_float(self) -> str:
        """The layers left in float, in words."""
        named, more = self.layers_in_float[:NAMED], len(self.layers_in_float[NAMED:])
        return f" with {', '.join(named)}{f' and {more} more' if more else ''} in float" if named else ""

    def to_json(self) -> dict[str, Any]:
        """The report for the card."""
        return {
            "agrees": self.holds,
            "sizes": [list(size) for size in self.sizes],
            "pictures": self.pictures,
            "largest_difference": float(f"{self.largest_difference:.3g}"),
            "equal_pixels": round(self.equal_pixels, 6),
            "equal_mask": None if self.equal_mask is None else round(self.equal_mask, 6),
            "miou_before": json_number(self.before.miou) if self.before else None,
            "miou": json_number(self.after.miou) if self.after else None,
            "iou_change": self.changes(),
            "latency_ms_before": round(self.latency_ms[0], 2),
            "latency_ms": round(self.latency_ms[1], 2),
            "layers_in_float": list(self.layers_in_float),
        }

    def changes(self) -> dict[str, float | None] | None:
        """What each class's IoU gained or lost; None where it was not measured."""
        if self.before is None or self.after is None:
            return None
        gains = self.after.iou - self.before.iou
        return {name: json_number(float(gain)) for name, gain in zip(self.after.classes.names, gains, strict=True)}


def measure_agreement(
    network: SegNetwork,
    artefact: Artefact,
    exported: Engine,
    pictures: list[Picture],
    *,
    precision: str,
    data: SegData | None = None,
    before: Scores | None = None,
    max_drop: float | None = None,
    mask: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Run both on every picture at every size, compare scores and labels; score the file where `data` gives the truth.

    The CPU compares, since a GPU rounds otherwise; `before` are the network's own scores on the data.
    """
    reference = TorchEngine(network, artefact, device="cpu")
    difference, own = 0.0, 0
    equal, total = dict.fromkeys(SIZES, 0), dict.fromkeys(SIZES, 0)
    for picture in pictures:
        for size in SIZES:
            image = pixels.resize(picture, size)
            ours = reference(image)
            theirs, labels = exported.with_mask(image) if mask else (exported(image), None)  # type: ignore[attr-defined]
            if ours.shape != theirs.shape:
                raise FeathersegError(f"the file's scores at {size}", expected=ours.shape, got=theirs.shape)
            difference = max(difference, float(np.abs(ours - theirs).max() / max(1e-6, np.abs(ours).max())))
            masks = [label_scores(scores, size, align_corners=artefact.align_corners) for scores in (ours, theirs)]
            equal[size] += int((masks[0] == masks[1]).sum())
            own += int(np.count_nonzero(labels == masks[1]))
            total[size] += masks[0].size
    pixels_of_all = sum(total.values())
    return Agreement(
        sizes=SIZES,
        pictures=len(pictures),
        largest_difference=difference,
        equal_pixels=sum(equal.values()) / pixels_of_all,
        equal_at=tuple(equal[size] / total[size] for size in SIZES),
        equal_mask=own / pixels_of_all if mask else None,
        precision=precision,
        max_drop=max_drop,
        before=before,
        after=evaluate(Predictor(exported, artefact), data, progress=progress) if data is not None else None,
        latency_ms=latencies((reference, exported), as_in_use(pictures[0], artefact)),
    )


def as_in_use(picture: Picture, artefact: Artefact) -> Picture:
    """A picture at the size at which the artefact's rule hands it to the network."""
    return prepare(picture, artefact.input_rule)[0]


def latencies(engines: tuple[Engine, Engine], image: Picture) -> tuple[float, float]:
    """Median milliseconds of each engine on one picture, taken in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(TIMED + 2):  # the first two warm up: some engines compile on the second picture of a size
        for engine, taken in zip(engines, times, strict=True):
            began = time.perf_counter()
            engine(image)
            if turn >= 2:
                taken.append(1000 * (time.perf_counter() - began))
    return float(np.median(times[0])), float(np.median(times[1]))


def require_evidence(pictures: list[Picture], data: SegData | None, max_drop: float | None) -> None:
    """Refuse to compare on nothing, and to limit a loss that cannot be measured."""
    if max_drop is not None and data is None:
        raise FeathersegError(
            "max_drop", expected="labelled pictures to measure mIoU on", got="none", remedy="name them by --data --root"
        )
    if max_drop is not None and not max_drop >= 0:
        raise FeathersegError("max_drop", expected="mIoU points, 0 or more", got=max_drop)
    if not pictures:
        raise FeathersegError("agreement", expected="at least one picture to compare on", got="none")
