"""Runs of one recipe with several seeds: what each came to, which is best, and how far they lie apart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from featherseg.metrics import json_number
from featherseg.models.checkpoint import read_checkpoint
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.card import shippable
from featherseg.runtime.errors import FeathersegError
from featherseg.training.directory import MAY_DIFFER, read_progress, read_run
from featherseg.training.run import Run

OF_ONE_RECIPE = ("seed", "init", *MAY_DIFFER)
"""What may differ between the runs of one recipe; init since a second stage begins with the first stage's own seed."""

PUBLISHED_FILES = "give run directories, or NAME.safetensors or NAME.json of an earlier publish"


@dataclass(frozen=True)
class Seed:
    """What a training with this seed came to: the score on val as training measured it, and the epochs trained."""

    seed: int
    miou: float
    epochs_done: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run directory holds.

    Attributes:
        folder: the directory.
        run: the run.
        machine: what it was trained on, with versions and commit.
        weights: those that were best on val, float32.
        artefact: what they say of themselves, card and all.
        epochs_done: epochs that were trained, of `run.epochs`.
        seconds: time spent training; 0 where it was not written down.
    """

    folder: Path
    run: Run
    machine: dict[str, Any]
    weights: dict[str, Tensor]
    artefact: Artefact
    epochs_done: int
    seconds: float

    @property
    def miou(self) -> float:
        """The score on val that the weights were chosen by, as training measured it."""
        return float(self.artefact.card["scores"]["val"]["miou"])

    @property
    def of_seed(self) -> Seed:
        """What the card tells of it beside other seeds."""
        return Seed(self.run.seed, self.miou, self.epochs_done)


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """Seeds of a recipe that were published before.

    Attributes:
        path: NAME.safetensors, or NAME.json where the weights were not shipped.
        card: of the best of them, the one whose weights were published.
        run: that one's, without the paths of the machine that trained.
        seeds: each of them.
        scores: what was published scores.
    """

    path: Path
    card: dict[str, Any]
    run: Run
    seeds: tuple[Seed, ...]
    scores: dict[str, Any]

    @property
    def miou(self) -> float:
        """The score on val that the published weights were chosen by, the best of all."""
        return max(seed.miou for seed in self.seeds)

    @property
    def network_miou(self) -> float:
        """What the weights scored before they were stored."""
        cost = self.card["storage_costs"].get(self.card["storage"], 0.0)  # points
        return float(self.scores["miou"] + cost / 100)


def read_seeds(paths: Sequence[Path]) -> tuple[list[Outcome], Earlier | None]:
    """The runs, the best first, and what was published of other seeds before."""
    published = [path for path in paths if path.is_file()]
    runs = [path for path in paths if path not in published]
    if len(published) > 1 or not runs:
        raise FeathersegError(
            "RUN", expected="run directories, and at most one file that was published of other seeds",
            got=", ".join(map(str, paths)),
        )  # fmt: skip
    outcomes = read_outcomes(runs)
    if not published:
        return outcomes, None
    earlier = read_earlier(published[0])
    refuse_others(earlier, outcomes)
    return outcomes, earlier


def read_earlier(path: Path) -> Earlier:
    """What was published of other seeds; a file that publish did not write, or that was renamed, is refused."""
    try:
        card = json.loads(path.read_text("utf-8")) if path.suffix == ".json" else read_checkpoint(path)[2].card
        earlier = Earlier(
            path=path,
            card=card,
            run=Run.from_json(card["run"]),
            seeds=tuple(Seed(**seed) for seed in card["seeds"]["runs"]),
            scores=next(iter(card["scores"].values())),
        )
        known = {"interval", "miou", "iou"} <= earlier.scores.keys() and card["name"] == path.stem
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise FeathersegError(f"{path}: not written by featherseg publish", remedy=PUBLISHED_FILES) from error
    if not known or not earlier.seeds:
        raise FeathersegError(f"{path}: not written by featherseg publish under that name", remedy=PUBLISHED_FILES)
    return earlier


def read_outcome(folder: Path) -> Outcome:
    """What came of a run; a folder that is no run directory, or holds no weights yet, is refused."""
    if not (folder / "run.json").is_file():
        raise FeathersegError(
            f"{folder}", expected="a run directory (run.json, best.safetensors)",
            got="none" if folder.is_dir() else "no such folder", remedy="give the out= of a training",
        )  # fmt: skip
    run = read_run(folder)
    best = folder / "best.safetensors"
    if not best.is_file():
        raise FeathersegError(f"{folder}: no best.safetensors yet", remedy="it is written after the first validation")
    weights, _, artefact = read_checkpoint(best)
    progress: dict[str, Any] = (
        read_progress(folder) if (folder / "metrics.csv").is_file() else {"epochs": 0, "last": {}}
    )
    found = json.loads((folder / "run.json").read_text()).get("machine") or {}
    return Outcome(
        folder=folder,
        run=run,
        machine=found,
        weights=weights,
        artefact=artefact,
        epochs_done=progress["epochs"],
        seconds=progress["last"].get("seconds") or 0.0,  # the column counts up over the epochs
    )


def read_outcomes(folders: Sequence[Path]) -> list[Outcome]:
    """What came of runs of one recipe, the best on val first; runs that differ in more than the seed are refused."""
    outcomes = [read_outcome(folder) for folder in folders]
    first, *others = outcomes
    for other in others:
        differing = other_keys(first.run, other.run)
        if differing:
            raise FeathersegError(
                f"{other.folder} is another recipe than {first.folder}",
                expected="runs that differ in the seed alone",
                got=f"other {', '.join(differing)}",
                remedy="publish them one by one, each with its own --name",
            )
    for index, outcome in enumerate(outcomes):
        twin = next((twin for twin in outcomes[:index] if same_draw(twin.run, outcome.run)), None)
        if twin is not None:
            raise FeathersegError(
                f"{outcome.folder}", expected="another seed than that of the others",
                got=f"seed {outcome.run.seed}, as {twin.folder}", remedy="give each seed once",
            )  # fmt: skip
    return sorted(outcomes, key=lambda outcome: outcome.miou, reverse=True)


def refuse_others(earlier: Earlier, outcomes: Sequence[Outcome]) -> None:
    """Refuse seeds published before that are of another recipe or other data than the runs, or are among them again."""
    first = outcomes[0]
    differing = differing_keys(told(first.run), told(earlier.run)) + differing_data(earlier, first)
    if differing:
        raise FeathersegError(
            f"{earlier.path} is of another recipe than {first.folder}",
            expected="the same but for the seed",
            got=f"other {', '.join(differing)}",
            remedy="publish the runs alone, with their own --name",
        )
    known = {seed.seed for seed in earlier.seeds}
    for outcome in outcomes:
        if outcome.run.seed in known:
            raise FeathersegError(
                f"{outcome.folder}", expected=f"another seed than {earlier.path} tells of",
                got=f"seed {outcome.run.seed}", remedy="give each seed once",
            )  # fmt: skip


def differing_data(earlier: Earlier, outcome: Outcome) -> list[str]:
    """In what the pictures differ that a run and seeds published before have seen, by what their cards say of them."""
    ours, theirs = outcome.artefact.card["data"], earlier.card["data"]
    keys = [key for key in ("format", "train", "val", "class_frequencies") if ours.get(key) != theirs.get(key)]
    same_classes = list(outcome.artefact.classes.names) == list(earlier.scores["iou"])
    return [f"data ({key})" for key in (*keys, *(() if same_classes else ("classes",)))]


def same_draw(first: Run, second: Run) -> bool:
    """Whether two runs of one recipe began alike."""
    return (first.seed, first.init) == (second.seed, second.init)


def other_keys(first: Run, second: Run) -> list[str]:
    """The keys in which two runs are not the same recipe, as data.root or loss.c."""
    return differing_keys(first.to_json(), second.to_json())


def told(run: Run) -> dict[str, Any]:
    """A run as cards tell of it: without the paths of the machine that trained."""
    whole: dict[str, Any] = shippable({"run": run.to_json()})["run"]
    return whole


def differing_keys(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The keys in which two runs as JSON differ, but for those that may."""
    ours, theirs = flat(first), flat(second)
    keys = [key for key in {**ours, **theirs} if key.partition(".")[0] not in OF_ONE_RECIPE]
    return [key for key in keys if key not in ours or key not in theirs or ours[key] != theirs[key]]


def flat(value: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested objects as one, with dots in the keys."""
    parts: dict[str, Any] = {}
    for key, item in value.items():
        parts |= flat(item, f"{above}{key}.") if isinstance(item, dict) else {f"{above}{key}": item}
    return parts


def seeds_json(seeds: Sequence[Seed]) -> dict[str, Any]:
    """Each seed's score on val in the order of the seeds, their mean, and their sample standard deviation."""
    scores = [seed.miou for seed in seeds]
    return {
        "runs": [asdict(seed) for seed in sorted(seeds, key=lambda seed: seed.seed)],
        "mean": json_number(statistics.fmean(scores)),
        "std": json_number(statistics.stdev(scores)) if len(scores) > 1 else None,
    }
