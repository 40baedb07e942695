"""The run directory: run.json, metrics.csv, curves.png, state-STEP, last and best.safetensors, .lock."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from featherseg.metrics import Scores
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.machine import machine as machine_facts
from featherseg.runtime.pixels import write_atomically
from featherseg.training.run import Run
from featherseg.training.state import Progress, newest_progress

COLUMNS = (
    "epoch", "step", "lr", "loss", "val_miou", "val_pixel_accuracy", "val_class_accuracy", "val_fwiou", "seconds",
)  # fmt: skip
MAY_DIFFER = ("out", "device", "workers")  # what a resumed run may change without becoming another one
LOCK = ".lock"
PACKAGES = ("featherseg", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors")


def placed(run: Run) -> Run:
    """The run with its directory: runs/RECIPE where it says none."""
    return run if run.out else replace(run, out=f"runs/{run.recipe}")


def recognise(run: Run) -> Path:
    """The run directory, new or holding this very run; another run's, or a foreign one, is refused. Writes nothing."""
    folder = Path(run.out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise FeathersegError(f"{folder} is a file", remedy="use another out")
    if not (folder / "run.json").exists():
        if folder.is_dir() and any(not is_draft(path) for path in folder.iterdir()):
            raise FeathersegError(f"{folder} is not empty and holds no run", remedy="use another out")
        return folder
    known, asked = read_run(folder).to_json(), run.to_json()
    other = [key for key in asked if asked[key] != known[key] and key not in MAY_DIFFER]
    if other:
        raise FeathersegError(
            f"{folder} holds another run: {', '.join(other)} differ(s)",
            expected=", ".join(f"{key}={json.dumps(known[key])}" for key in other),
            got=", ".join(f"{key}={json.dumps(asked[key])}" for key in other),
            remedy="use the same keys to resume it, or another out",
        )
    return folder


class Origin(NamedTuple):
    """What a run found at its beginning; kept in run.json.

    Attributes:
        started_from: the card of the checkpoint it started from; empty for none.
        class_frequencies: the classes' shares in the training split; empty where they were not counted.
        found: the classes, pictures and teacher, in words by which resuming knows them again.
    """

    started_from: dict[str, Any]
    class_frequencies: tuple[float, ...]
    found: dict[str, str]


def read_origin(folder: Path) -> Origin:
    """The origin of a run that is being resumed."""
    content = json.loads((folder / "run.json").read_text())
    shares = tuple(content.get("class_frequencies") or ())
    return Origin(content.get("started_from") or {}, shares, content.get("found") or {})


def refuse_changes(folder: Path, found: dict[str, str]) -> None:
    """Refuse to resume on other classes, pictures or another teacher than the run began with."""
    for what, before in read_origin(folder).found.items():
        if found.get(what) != before:
            raise FeathersegError(
                f"{folder}: {what} changed since the run began",
                expected=before,
                got=found.get(what, "none"),
                remedy="put back what it began with, or use another out",
            )


def refuse_outrun(folder: Path, step: int) -> None:
    """Refuse to go on from a step that another process has left behind since the state was read."""
    newest = newest_progress(folder)
    if newest is not None and newest.step != step:
        raise FeathersegError(
            f"{folder}: another process has trained in it up to step {newest.step}", remedy="start it again to resume"
        )


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a run directory against a second process that trains in it; nothing is held where the system cannot."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FeathersegError(
                f"{folder}: another process trains in it", remedy="wait, or use another out"
            ) from error
        except OSError:  # a file system without locks, as some network drives
            pass
        yield  # the file stays: a second one of its name could be held beside it


def claim(folder: Path, run: Run, origin: Origin) -> None:
    """Make the run directory and write run.json, unless it is there; drafts that a kill left behind are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if is_draft(path) and path.name != LOCK:
            path.unlink(missing_ok=True)
    if not (folder / "run.json").exists():
        text = json.dumps({"run": run.to_json(), "machine": machine(), **origin._asdict()}, indent=2)
        write_atomically(folder / "run.json", lambda file: file.write(text.encode()))


def is_draft(path: Path) -> bool:
    """Whether the file is what an interrupted atomic write leaves, or a lock."""
    return path.name == LOCK or (path.name.startswith(".") and path.suffix == ".tmp")


def read_run(folder: Path) -> Run:
    """The run of a run directory."""
    path = folder / "run.json"
    try:
        return Run.from_json(json.loads(path.read_text())["run"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FeathersegError(f"{path}: no readable run ({error})", remedy="use another out") from error


@lru_cache(maxsize=1)
def machine() -> dict[str, Any]:
    """OS, processor, threads, GPU, Python and library versions, commit."""
    return {**machine_facts(PACKAGES), "threads": torch.get_num_threads()}


def diverged(what: str, run: Run, folder: Path) -> FeathersegError:
    """The error of a run whose numbers have left all bounds."""
    last = folder / "last.safetensors"
    return FeathersegError(
        what,
        remedy="start anew in another out with a lower optim.lr"
        + ("" if run.precision == "fp32" else " or precision=fp32")
        + (f"; its last weights serve by init={last}" if last.is_file() else ""),
    )


class MetricsFile:
    """metrics.csv, one row per epoch; opened for a resumed run it is cut back to the epochs that count."""

    def __init__(self, folder: Path, *, epochs_done: int, writes: bool = True) -> None:
        self.path = folder / "metrics.csv"
        self.writes = writes
        rows = read_rows(self.path) if self.path.is_file() else []
        self.rows = [row for row in rows if int(row["epoch"]) <= epochs_done]
        self.write()

    def add(self, progress: Progress, rate: float, loss: float, scores: Scores | None) -> None:
        """Append the row of the epoch just done, with its last rate; a value that was not measured is left empty."""
        measured = (scores.miou, scores.pixel_accuracy, scores.class_accuracy, scores.fwiou) if scores else (None,) * 4
        values = (progress.epoch, progress.step, rate, loss, *measured, progress.seconds)
        self.rows.append({name: format_number(value) for name, value in zip(COLUMNS, values, strict=True)})
        self.write()

    def write(self) -> None:
        """Write the whole file anew, atomically; of several processes one does."""
        if not self.writes:
            return
        lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in self.rows)]
        text = "\n".join(lines) + "\n"
        write_atomically(self.path, lambda file: file.write(text.encode()))


def format_number(value: float | int | None) -> str:
    """Empty for None; integers as they are; six significant digits."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv; another program's idea of one is refused."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        names, *lines = list(csv.reader(file)) or [[]]
    rows = [dict(zip(names, line, strict=False)) for line in lines]
    if tuple(names) != COLUMNS or not all(len(row) == len(COLUMNS) and row["epoch"].isdigit() for row in rows):
        raise FeathersegError(
            f"{path}: not as training wrote it",
            expected=",".join(COLUMNS),
            got=",".join(names),
            remedy="put it back, or delete it: training goes on from its state, its curves from the next epoch",
        )
    return rows


def read_progress(folder: Path | str) -> dict[str, Any]:
    """The last row of metrics.csv and the best score, as JSON values."""
    rows = read_rows(Path(folder) / "metrics.csv")
    scored = [float(row["val_miou"]) for row in rows if row["val_miou"]]
    last = {key: float(value) if value else None for key, value in rows[-1].items()} if rows else {}
    return {"epochs": int(last.get("epoch") or 0), "best_miou": max(scored, default=None), "last": last}
