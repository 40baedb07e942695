"""Training the rows of a table: a row's run, and what came of it beside the paper's figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featherseg.data import class_frequencies, detect_format, existing, open_data
from featherseg.losses import object_weights
from featherseg.models.checkpoint import read_checkpoint
from featherseg.recipes.menu import RECIPES
from featherseg.recipes.tables.row import Row, Table, Value, figure
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.training import Part, Run, with_overrides
from featherseg.training import state as states
from featherseg.training.directory import read_run

SUFFIXES = {"voc_aug": "voc"}  # a data format -> how recipes call it, where the names differ
MEASURES = {
    "mIoU": "miou",
    "mPA": "class_accuracy",
    "mAP": "class_accuracy",  # 003-T1's name for mPA
    "PA": "class_accuracy",  # 001-T3's figures can only be means over classes
    "mIoU, gamma=0": "gamma0",
    "mIoU, gamma=1": "gamma1",
    "mIoU, gamma=2": "gamma2",
}
"""A column of a paper, without its unit -> what we measure for it."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a row.

    Attributes:
        run: the run that stands for the row; None where featherseg has no network for it.
        epochs: epochs done; 0 where it was never started.
        finished: whether the run came to its end.
        scores: measure -> fraction 0..1, of the weights that were best on val; empty before the first validation.
        artefact: what those weights say of themselves, card and all.
    """

    run: Run | None = None
    epochs: int = 0
    finished: bool = False
    scores: dict[str, float]
    artefact: Artefact | None = None


def run_of(row: Row, words: Sequence[str], out: Path) -> Run | None:
    """The run that stands for a row: the recipe of its network for the data, the row's fields, the user's keys.

    Rows that are the same run, of one table or of several, share a directory below `out`.
    """
    if row.model is None:
        return None
    taken = {word.partition("=")[0] for word in words} & ({"model", "out"} | set(row.run))
    if taken:
        raise FeathersegError(f"{sorted(taken)[0]}=", expected="a key that the rows leave open", remedy="leave it out")
    names = [f"{row.model}_{place_of(words)}", f"{row.model}_folder"]
    base = RECIPES[next(name for name in names if name in RECIPES)]()
    fields = dict(base.model.fields) | dict(row.fields)
    loss, schedule = (row.run.get(name, getattr(base, name).name) for name in ("loss", "schedule"))
    run = replace(
        base,
        model=Part(row.model, fields),
        loss=base.loss if loss == base.loss.name else Part(loss),
        schedule=base.schedule if schedule == base.schedule.name else Part(schedule),
        precision=row.run.get("precision", base.precision),
    )
    return replace(with_overrides(run, words), out=str(out / folder_name(row)))


def place_of(words: Sequence[str]) -> str:
    """How recipes call the data that the user's keys name."""
    keys = dict(word.split("=", 1) for word in words if word.startswith("data.") and "=" in word)
    format = keys.get("data.format", "auto")
    if format == "auto" and "data.root" in keys:
        format = detect_format(existing(keys["data.root"]))
    return SUFFIXES.get(format, format)


def folder_name(row: Row) -> str:
    """A directory's name that tells network, fields and what of the run the row sets."""
    parts = [row.model, *(f"{name}={value}" for name, value in {**row.fields, **row.run}.items())]
    return re.sub(r"[^\w=+.-]", "-", "_".join(str(part) for part in parts))


def outcome(run: Run | None, frequencies: Sequence[float] = ()) -> Trained:
    """What is on disk of a row's run; a directory that holds another run is refused.

    Args:
        run: the row's run.
        frequencies: the classes' shares in the training split; with them the groups of 004's Table VII are measured.
    """
    folder = Path(run.out) if run else None
    if run is None or folder is None or not (folder / "run.json").is_file():
        return Trained(run=run, scores={})
    known, asked = (replace(one, out="", device="auto", workers=0) for one in (read_run(folder), run))
    if known.to_json() != asked.to_json():
        other = [key for key, value in asked.to_json().items() if known.to_json()[key] != value]
        raise FeathersegError(f"{folder} holds another run: {', '.join(other)} differ(s)", remedy="use another out")
    saved = states.read_newest_state(folder)
    epochs = saved.progress.epoch if saved else 0
    finished = saved is not None and (epochs >= run.epochs or saved.progress.stopped)
    if not (folder / "best.safetensors").is_file():
        return Trained(run=run, epochs=epochs, finished=finished, scores={})
    _, _, artefact = read_checkpoint(folder / "best.safetensors")
    return Trained(
        run=run, epochs=epochs, finished=finished, scores=scores_of(artefact, frequencies), artefact=artefact
    )


def scores_of(artefact: Artefact, frequencies: Sequence[float]) -> dict[str, float]:
    """The measures of a checkpoint's card."""
    val = artefact.card["scores"]["val"]
    scores = {name: val[name] for name in ("miou", "class_accuracy", "pixel_accuracy", "fwiou")}
    groups = group_means(val["iou"], frequencies) if frequencies else {}
    return {name: value for name, value in scores.items() if value is not None} | groups


def shares_of(table: Table, runs: Sequence[Run | None]) -> tuple[float, ...]:
    """The classes' shares in the training split, where a column of the table is about groups of classes."""
    run = next((run for run in runs if run is not None), None)
    if run is None or not any("gamma" in column for column in table.columns):
        return ()
    return class_frequencies(open_data(run.data.root, run.data.format, run.data.train, classes=run.data.classes))


def group_means(iou: dict[str, float | None], frequencies: Sequence[float]) -> dict[str, float]:
    """Mean IoU of the classes of each focal exponent gamma of OWFL: 0 rare, 1 middling, 2 frequent (004, Table VII)."""
    _, gamma = object_weights(tuple(frequencies))
    groups: dict[str, list[float]] = {}
    for value, exponent in zip(iou.values(), gamma, strict=True):
        if value is not None:
            groups.setdefault(f"gamma{exponent:.0f}", []).append(value)
    return {name: float(np.mean(values)) for name, values in sorted(groups.items())}


def measured(column: str, trained: Trained) -> float | None:
    """Our figure for a column of the paper, in per cent; None for a column that we do not measure."""
    value = trained.scores.get(MEASURES.get(column.removesuffix(" (%)"), ""))
    return None if value is None else round(100 * value, 2)


def compared(table: Table, row: Row, trained: Trained) -> dict[str, dict[str, Value]]:
    """Column -> theirs, ours and the difference, for the columns that we measure."""
    found: dict[str, dict[str, Value]] = {}
    for column, text in zip(table.columns, row.printed, strict=True):
        if column.removesuffix(" (%)") in MEASURES:
            theirs, ours = figure(text), measured(column, trained)
            both = isinstance(theirs, (int, float)) and ours is not None
            found[column] = {
                "theirs": theirs,
                "ours": ours,
                "difference": round(ours - theirs, 2) if both else None,  # type: ignore[operator]
            }
    return found


def card_of(trained: Trained) -> dict[str, Any] | None:
    """The run card of a row's weights."""
    return trained.artefact.card if trained.artefact else None
