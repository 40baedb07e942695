"""Trained weights in a file that is small enough to travel, and that is scored as it lies there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from featherseg.data import SegData
from featherseg.evaluation import Bootstrap, Judged, evaluate
from featherseg.evaluation.sheet import Kept
from featherseg.metrics import Scores, json_number
from featherseg.models.checkpoint import replace_card, save_checkpoint
from featherseg.models.engine import TorchEngine
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.predictor import Predictor

MAX_COST = 0.1
"""mIoU points that int8 may cost."""

SMALLEST_FIRST = ("int8", "fp16")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an evaluation found.

    Attributes:
        scores: of the whole split.
        interval: the 95 % bootstrap interval of mIoU over the pictures.
        judged: the pictures that were kept, to be shown.
    """

    scores: Scores
    interval: tuple[float, float]
    judged: tuple[Judged, ...]

    def to_json(self, pictures: int) -> dict[str, Any]:
        """The scores for the card: what every card has of a split, and the interval and each class's accuracy."""
        values = self.scores.to_json()
        recalls = [json_number(float(recall)) for recall in self.scores.recall]
        return {
            "pictures": pictures,
            "interval": [json_number(end) for end in self.interval],
            **values,
            "per_class": {
                name: {"iou": iou, "accuracy": recall}
                for (name, iou), recall in zip(values["iou"].items(), recalls, strict=True)
            },
        }


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The file that came of it.

    Attributes:
        storage: how the weights lie in it.
        measured: what the file scores.
        costs: storage -> mIoU points lost by it, of each that was tried.
    """

    storage: str
    measured: Measured
    costs: dict[str, float]


def measure(
    predictor: Predictor, data: SegData, *, keep: Sequence[int], progress: Callable[[int, int], None] | None = None
) -> Measured:
    """Score a network on labelled pictures, and keep the pictures at some places."""
    bootstrap, kept = Bootstrap(data.classes, len(data)), Kept(keep)
    scores = evaluate(predictor, data, progress=progress, observe=[bootstrap, kept])
    if not scores.confusion.sum():
        raise FeathersegError(f"{data.root}: no pixel of the {data.split} split has a class")
    return Measured(scores=scores, interval=bootstrap.interval(bootstrap.miou), judged=tuple(kept.judged))


def store(
    path: Path,
    weights: dict[str, Tensor],
    model: dict[str, Any],
    artefact: Artefact,
    *,
    storage: str,
    reference: Measured,
    device: str,
    score: Callable[[Predictor, str], Measured],
) -> Stored:
    """Write the weights and score the file; "auto" takes int8 where that costs at most `MAX_COST` points, else fp16.

    Args:
        path: the file, a draft: where it is refused, or the scoring fails, it is left there.
        weights: the network's, float32.
        model: {"name": ..., field: value}.
        artefact: what the network says of itself.
        storage: "auto", "int8" or "fp16".
        reference: what the network scores on the same pictures.
        device: where the file is scored.
        score: gives what a predictor scores; also told how the weights are stored.

    Raises:
        FeathersegError: where "int8" was asked for and costs more.
    """
    costs: dict[str, float] = {}
    for kind in SMALLEST_FIRST if storage == "auto" else (storage,):
        save_checkpoint(path, weights, model, artefact, storage=kind)
        measured = score(Predictor(TorchEngine.open(path, device=device), artefact), kind)
        costs[kind] = 100 * (reference.scores.miou - measured.scores.miou)
        if costs[kind] <= MAX_COST or kind == "fp16":
            return Stored(storage=kind, measured=measured, costs=costs)
    raise FeathersegError(
        "--storage int8", expected=f"at most {MAX_COST:g} mIoU points lost",
        got=f"{costs['int8']:.2f} ({100 * reference.scores.miou:.2f} % before)",
        remedy="nothing was written; take --storage fp16 or auto",
    )  # fmt: skip


def write_final(path: Path, card: dict[str, Any]) -> int:
    """Give a file that `store` wrote its whole card, which says under "bytes" how long the very file is.

    The tensors stay as they lie there.

    Returns:
        The number of bytes.
    """
    size = 0
    while True:
        replace_card(path, {**card, "bytes": size})
        written = path.stat().st_size
        if written == size:
            return size
        size = written
