"""The run card: what a trained network says of its making; it travels inside every checkpoint and exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featherseg.metrics import Scores
from featherseg.runtime.artefact import Artefact
from featherseg.training.directory import machine

if TYPE_CHECKING:
    from featherseg.training.loop import Training


def artefact_of(training: Training, scores: Scores | None, *, epochs_done: int) -> Artefact:
    """What the network says of itself; scores are those of the very weights that it travels with."""
    return Artefact(
        classes=training.train_data.classes,
        preprocessing=training.run.preprocessing,
        input_rule=training.run.input_rule,
        align_corners=training.network.align_corners,
        stride=training.network.stride,
        card=run_card(training, scores, epochs_done=epochs_done),
    )


def run_card(training: Training, scores: Scores | None, *, epochs_done: int) -> dict[str, Any]:
    """The card as JSON values."""
    run, train_data, val_data, origin = training.run, training.train_data, training.val_data, training.origin
    shares = [round(share, 9) for share in origin.class_frequencies]
    return {
        "name": training.folder.name,
        "recipe": run.recipe,
        "model": run.model.to_json(),
        "data": {
            "format": train_data.name,
            "train": f"{train_data.split}, {len(train_data)} pictures",
            "val": f"{val_data.split}, {len(val_data)} pictures",
            "root": run.data.root,
            "val_split": run.data.val,
            "terms": train_data.terms,
            **({"class_frequencies": shares} if shares else {}),
        },
        "seed": run.seed,
        "epochs": f"{epochs_done} of {run.epochs}",
        "precision": training.precision,
        "run": run.to_json(),
        "machine": {**machine(), "device": training.world.device.type, "processes": training.world.size},
        **({"teacher": training.teacher.facts} if training.teacher is not None else {}),
        "training_seconds": round(training.progress.seconds),
        **training.peak.to_json(),
        "scores": {"val": scores.to_json()} if scores is not None else {},
        **({"started_from": origin.started_from} if origin.started_from else {}),
    }
