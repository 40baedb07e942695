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
from featherseg.recipes.tables.columns import beside, ours
from featherseg.recipes.tables.counts import Counts
from featherseg.recipes.tables.row import Row, Table, Value
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.training import Part, Run, with_overrides
from featherseg.training.directory import MAY_DIFFER, read_run
from featherseg.training.state import Progress, newest_progress

SUFFIXES = {"voc_aug": "voc"}  # a data format -> how recipes call it, where the names differ


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a row.

    Attributes:
        run: the run that stands for the row; None where featherseg has no network for it.
        epochs: epochs done; 0 where it was never started.
        finished: whether the run came to its end.
        scores: measure -> fraction 0..1, of the weights that were best on val; empty before the first validation.
        artefact: what those weights say of themselves, card and all.
        failure: why the row could not be trained or read, in one line.
    """

    run: Run | None = None
    epochs: int = 0
    finished: bool = False
    scores: dict[str, float]
    artefact: Artefact | None = None
    failure: str = ""


def run_of(row: Row, words: Sequence[str], out: Path) -> Run | None:
    """The run that stands for a row: the recipe of its network for the data, the row's fields, the user's keys.

    Rows that are the same run, of one table or of several, share a directory below `out`. Where the user shortens a
    run that begins with a frozen encoder, that phase is shortened with it.
    """
    if row.model is None:
        return None
    refuse_set_keys(row, words)
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


def refuse_set_keys(row: Row, words: Sequence[str]) -> None:
    """Refuse a key whose value makes the row what it is."""
    for word in words:
        key = word.partition("=")[0]
        head, _, tail = key.partition(".")
        if key in ("model", "out", *row.run) or (head == "model" and tail in row.fields):
            raise FeathersegError(
                f"{key}=",
                expected="a key that the rows leave open",
                got=f"one that the row {row.name} sets" if key not in ("model", "out") else None,
                remedy="leave it out",
            )


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
    """What is on disk of a row's run, which is only looked at; what cannot be read is told as its failure.

    Args:
        run: the row's run.
        frequencies: the classes' shares in the training split; with them the groups of 004's Table VII are measured.
    """
    folder = Path(run.out) if run else None
    if run is None or folder is None or not (folder / "run.json").is_file():
        return Trained(run=run, scores={})
    try:
        refuse_other(run)
        progress = newest_progress(folder) or Progress()
        trained = Trained(
            run=run,
            epochs=progress.epoch,
            finished=progress.epoch >= run.epochs or progress.stopped,
            scores={},
        )
        if not (folder / "best.safetensors").is_file():
            return trained
        _, _, artefact = read_checkpoint(folder / "best.safetensors")
        return replace(trained, scores=scores_of(artefact, frequencies), artefact=artefact)
    except FeathersegError as error:
        return Trained(run=run, scores={}, failure=str(error))


def refuse_other(run: Run) -> None:
    """Refuse a directory that holds another run."""
    folder = Path(run.out)
    if not (folder / "run.json").is_file():
        return
    known, asked = read_run(folder).to_json(), run.to_json()
    other = [key for key in asked if key not in MAY_DIFFER and asked[key] != known[key]]
    if other:
        raise FeathersegError(f"{folder} holds another run: {', '.join(other)} differ(s)", remedy="use another out")


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


def compared(table: Table, row: Row, trained: Trained, counts: Counts | None) -> dict[str, dict[str, Value]]:
    """Column -> theirs, ours and the difference; ours is None where we have no such figure."""
    card = card_of(trained)
    iou = card["scores"]["val"]["iou"] if card and trained.scores else {}
    whole = card is not None and trained.run is not None and not trained.run.data.classes
    data = card["data"]["format"] if card and whole else None
    same = counts if table.same_networks else None
    return beside(row, table, {column: ours(column, same, trained.scores, iou, data) for column in table.columns})


def card_of(trained: Trained) -> dict[str, Any] | None:
    """The run card of a row's weights."""
    return trained.artefact.card if trained.artefact else None
