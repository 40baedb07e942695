"""The run card: what a trained network says of its making; it travels inside every checkpoint and exported file."""

from __future__ import annotations

from typing import Any

from featherseg.data import SegData
from featherseg.metrics import Scores
from featherseg.training.directory import machine
from featherseg.training.fine_tuning import Start
from featherseg.training.run import Run
from featherseg.training.state import Progress


def run_card(
    run: Run,
    name: str,
    train_data: SegData,
    val_data: SegData,
    frequencies: tuple[float, ...],
    start: Start,
    progress: Progress,
    scores: Scores | None,
    *,
    epochs_done: int,
    processes: int,
) -> dict[str, Any]:
    """The card as JSON values; scores are those of the very weights that it travels with."""
    return {
        "name": name,
        "recipe": run.recipe,
        "model": run.model.to_json(),
        "data": {
            "format": train_data.name,
            "train": f"{train_data.split}, {len(train_data)} pictures",
            "val": f"{val_data.split}, {len(val_data)} pictures",
            "root": run.data.root,
            "val_split": run.data.val,
            "terms": train_data.terms,
            **({"class_frequencies": [round(share, 9) for share in frequencies]} if frequencies else {}),
        },
        "seed": run.seed,
        "epochs": f"{epochs_done} of {run.epochs}",
        "run": run.to_json(),
        "machine": {**machine(), "processes": processes},
        "training_seconds": round(progress.seconds),
        "scores": {"val": scores.to_json()} if scores is not None else {},
        **({"started_from": start.card} if start.card else {}),
    }
