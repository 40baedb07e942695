"""``featherseg ablate TABLE --train``: train a table's rows one after the other, score them, print them."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featherseg.data import open_data
from featherseg.hub import load
from featherseg.recipes.tables import Table
from featherseg.recipes.tables.columns import CLASSES, COUNTS, MEASURES, OF_DATA, by_network
from featherseg.recipes.tables.counts import count_row
from featherseg.recipes.tables.row import Row
from featherseg.recipes.tables.training import Trained, card_of, compared, outcome, refuse_other, run_of, shares_of
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import write_atomically
from featherseg.training import Run, train

LATENCY_ROUNDS = 7


def train_table(table: Table, words: Sequence[str], *, rows: Sequence[str], collect: bool, as_json: bool) -> int:
    """Train the chosen rows that are not finished, then print and write the whole table; returns the exit code.

    A row that fails is told on stderr and in the table, the others go on, and the code is 1. With `collect` nothing is
    trained, and nothing that was trained is touched.
    """
    table = by_network(table)
    out = Path(next((word.partition("=")[2] for word in words if word.startswith("out=")), "runs/ablate"))
    keys = [word for word in words if not word.startswith("out=")]
    chosen = choose(table, rows)
    runs = [run_of(row, keys, out) for row in table.rows]
    if not any(runs):
        raise FeathersegError(f"{table.name}: none of its rows is a network of ours", remedy="featherseg ablate --list")
    asked = {row.name: run for row, run in zip(table.rows, runs, strict=True) if run is not None and row in chosen}
    failures = {} if collect else train_rows(table, asked)
    shares = shares_of(table, runs)
    trained = [
        replace(found, failure=failures.get(row.name, found.failure))
        for row, found in zip(table.rows, (outcome(run, shares) for run in runs), strict=True)
    ]
    failed = [found.failure for found in trained if found.failure]
    if collect and failed and not any(found.epochs for found in trained):
        raise FeathersegError(failed[0])  # most likely the keys are not those of the runs
    latencies = time_rows(trained)
    data = {
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "rows": [described(table, *item) for item in zip(table.rows, trained, latencies, strict=True)],
    }
    if out.is_dir():
        files = {".json": json.dumps(data, indent=2) + "\n", ".md": markdown(table, data) + "\n"}
        for suffix, text in files.items():
            write_atomically(out / f"{table.name}{suffix}", lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    print(json.dumps(data, indent=2) if as_json else markdown(table, data))
    return 1 if failed else 0


def train_rows(table: Table, runs: Mapping[str, Run]) -> dict[str, str]:
    """Train row after row; row -> why it failed, for those that did.

    What would fail in every row, or can be known beforehand, is refused before the first.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FeathersegError(
            "ablate --train runs in one process",
            got=f"WORLD_SIZE={os.environ['WORLD_SIZE']}",
            remedy="train the rows singly (featherseg train), or leave torchrun out",
        )
    for data in {run.data for run in runs.values()}:
        for split in (data.train, data.val):
            open_data(data.root, data.format, split, classes=data.classes)
    for run in runs.values():
        refuse_other(run)
    failures = {}
    for name, run in runs.items():
        print(f"{table.name}, {name}", file=sys.stderr, flush=True)
        try:
            train(run)
        except FeathersegError as error:
            failures[name] = str(error)
            print(f"{table.name}, {name}: failed: {error}", file=sys.stderr, flush=True)
    return failures


def choose(table: Table, names: Sequence[str]) -> list[Row]:
    """The rows of these names, or all; an unknown one is refused."""
    known = [row.name for row in table.rows]
    for name in names:
        if name not in known:
            raise FeathersegError(f"--rows {name!r}", expected=f"some of {', '.join(known)}")
    return [row for row in table.rows if not names or row.name in names]


def described(table: Table, row: Row, trained: Trained, latency: float | None) -> dict[str, Any]:
    """A row as data: what it is, what came of it, and the card of its weights."""
    counts = count_row(table, row)
    return {
        "row": row.name,
        "model": row.model,
        "fields": {**row.fields, **row.run},
        "status": status(trained),
        "run": folder_of(trained.run),
        "epochs": trained.epochs,
        "seed": trained.run.seed if trained.run else None,
        "scores": {name: round(value, 6) for name, value in trained.scores.items()},
        "columns": compared(table, row, trained, counts),
        "params": counts.params if counts else None,
        "macs": counts.macs if counts else None,
        "latency_ms": latency,
        "card": card_of(trained),
        "note": row.note,
    }


def folder_of(run: Run | None) -> str | None:
    """The run directory's name."""
    return Path(run.out).name if run else None


def status(trained: Trained) -> str:
    """trained, under way, not run, failed and why, or that there is no network of ours."""
    if trained.run is None:
        return "no network of ours"
    if trained.failure:
        return f"failed: {trained.failure}"
    if trained.finished:
        return "trained"
    return f"under way, {trained.epochs} of {trained.run.epochs} epochs" if trained.epochs else "not run"


def time_rows(trained: Sequence[Trained]) -> list[float | None]:
    """Milliseconds from a picture in memory to its mask, by torch on this machine: medians of rounds in turn."""
    predictors: dict[int, Any] = {}
    size = (360, 480)
    for index, row in enumerate(trained):
        if row.run is not None and row.artefact is not None:
            predictors[index] = load(Path(row.run.out), backend="torch")
            size = row.artefact.input_rule.size or size
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    times: dict[int, list[float]] = {index: [] for index in predictors}
    for _ in range(LATENCY_ROUNDS + 1):  # the first is the warm-up
        for index, predictor in predictors.items():
            began = time.perf_counter()
            predictor(picture)
            times[index].append(1e3 * (time.perf_counter() - began))
    return [round(statistics.median(times[i][1:]), 1) if i in times else None for i in range(len(trained))]


def markdown(table: Table, data: dict[str, Any]) -> str:
    """The table as Markdown: the paper's figure, ours, the difference; then how it was made.

    A table of many columns has its rows as columns.
    """
    rows = data["rows"]
    lines = [["row", *(row["row"] for row in rows)]]
    for column in table.columns:
        lines += [[head, *cells] for head, cells in figures_of(column, rows).items()]
    if not any(measures(column, rows) for column in table.columns):
        scored = [(name, title) for name, title in PLAIN.items() if any(name in row["scores"] for row in rows)]
        lines += [
            [f"{title}: ours", *(text_of(percent(row["scores"].get(name))) for row in rows)] for name, title in scored
        ]
    lines += [
        ["params", *(f"{row['params']:,}" if row["params"] else "" for row in rows)],
        ["MACs (G)", *(f"{row['macs'] / 1e9:.3f}" if row["macs"] else "" for row in rows)],
        ["latency (ms)", *(text_of(row["latency_ms"]) for row in rows)],
        ["status", *(row["status"].replace("|", "\\|") for row in rows)],
    ]
    if len(table.columns) <= WIDE:
        lines = [list(line) for line in zip(*lines, strict=True)]
    heading, *body = (f"| {' | '.join(line)} |" for line in lines)
    rule = "|---" * len(lines[0]) + "|"
    return "\n".join([f"# {table.name}: {table.title}", "", heading, rule, *body, "", *conditions(table, data)])


WIDE = 10  # a table with more of the paper's columns than this has its rows as columns

PLAIN = {"miou": "mIoU (%)", "class_accuracy": "mPA (%)"}


def measures(column: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether the column is a score over all classes that stands beside the paper's."""
    return column in MEASURES or (column in OF_DATA and any(row["columns"][column]["ours"] is not None for row in rows))


def percent(fraction: float | None) -> float | None:
    """A fraction in per cent."""
    return None if fraction is None else 100 * fraction


def figures_of(column: str, rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """A column's headings -> its cells: the paper's, ours, the difference; without the parts that there are not."""
    figures = [row["columns"][column] for row in rows]
    printed = any(each["theirs"] is not None for each in figures)
    found = column in MEASURES or any(each["ours"] is not None for each in figures)
    places = 3 if column in COUNTS else 2
    cells = {}
    if printed:
        scores = column in MEASURES or column in OF_DATA or column in CLASSES
        cells[f"{column}: paper"] = [text_of(each["theirs"]) if scores else plain(each["theirs"]) for each in figures]
    if found:
        cells[f"{column}: ours"] = [text_of(each["ours"], places=places) for each in figures]
    if printed and found:
        cells["difference"] = [text_of(each["difference"], places=places, signed=True) for each in figures]
    return cells


def plain(value: object) -> str:
    """A printed cell as it is; empty for none."""
    return "" if value is None else str(value)


def text_of(value: object, *, places: int = 2, signed: bool = False) -> str:
    """A figure as text; empty for none."""
    if not isinstance(value, (int, float)):
        return str(value or "")
    return f"{value:{'+' if signed else ''}.{places}f}"


def conditions(table: Table, data: dict[str, Any]) -> list[str]:
    """Under what conditions ours were made, read off the cards; they are the paper's only where it says so."""
    cards = [row["card"] for row in data["rows"] if row["card"]]
    if not cards:
        return ["No row was run."]
    runs = [card["run"] for card in cards]

    def same(values: Sequence[object]) -> str:
        return ", ".join(str(value) for value in dict.fromkeys(map(str, values)))

    machine = cards[0]["machine"]
    precisions = [card.get("precision") or "not recorded" for card in cards]  # by cards older than that key
    lines = [
        f"- ours: {same([card['data']['format'] for card in cards])}, learned from "
        f"{same([card['data']['train'] for card in cards])}, scored on {same([card['data']['val'] for card in cards])}",
        f"- epochs {same([run['epochs'] for run in runs])}, seed {same([run['seed'] for run in runs])}, batch "
        f"{same([run['batch_size'] for run in runs])}, crop {same([run['augment']['crop_size'] for run in runs])}, "
        f"scored at {same([run['input_rule']['size'] for run in runs])}; weights of the best epoch on val"
        + (f"; computed in {same(precisions)}" if any("precision" in card for card in cards) else ""),
        f"- {machine['cpu']}, GPU {machine['gpu'] or 'none'}, torch {machine['versions']['torch']}, commit "
        f"{same([card['machine']['commit'] for card in cards])}",
        f"- params of the training form and MACs with {table.num_classes} classes at {'x'.join(map(str, table.size))}; "
        "latency with torch, picture in memory to mask, at the scoring size, on the machine that printed this",
    ]
    return lines + [f"- {note}" for note in table.notes]
