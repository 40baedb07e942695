"""``featherseg ablate TABLE --train``: train a table's rows one after the other, score them, print them."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featherseg.hub import load
from featherseg.recipes.tables import Table
from featherseg.recipes.tables.counts import count_row
from featherseg.recipes.tables.row import Row
from featherseg.recipes.tables.training import Trained, card_of, compared, outcome, run_of, shares_of
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import write_atomically
from featherseg.training import Run, train

LATENCY_ROUNDS = 7


def train_table(table: Table, words: Sequence[str], *, rows: Sequence[str], collect: bool, as_json: bool) -> int:
    """Train the chosen rows that are not finished, then print and write the whole table; returns the exit code."""
    out = Path(next((word.partition("=")[2] for word in words if word.startswith("out=")), "runs/ablate"))
    keys = [word for word in words if not word.startswith("out=")]
    chosen = choose(table, rows)
    runs = [run_of(row, keys, out) for row in table.rows]
    if not any(runs):
        raise FeathersegError(f"{table.name}: none of its rows is a network of ours", remedy="featherseg ablate --list")
    for row, run in zip(table.rows, runs, strict=True):
        if run is not None and row in chosen and not collect:
            print(f"{table.name}, {row.name}", file=sys.stderr, flush=True)
            train(run)
    shares = shares_of(table, runs)
    trained = [outcome(run, shares) for run in runs]
    latencies = time_rows(trained)
    data = {
        "table": table.name,
        "title": table.title,
        "paper": table.paper,
        "rows": [described(table, *item) for item in zip(table.rows, trained, latencies, strict=True)],
    }
    out.mkdir(parents=True, exist_ok=True)
    files = {".json": json.dumps(data, indent=2) + "\n", ".md": markdown(table, data) + "\n"}
    for suffix, text in files.items():
        write_atomically(out / f"{table.name}{suffix}", lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    print(json.dumps(data, indent=2) if as_json else markdown(table, data))
    return 0


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
        "columns": compared(table, row, trained),
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
    """trained, under way, not run, or that there is no network of ours."""
    if trained.run is None:
        return "no network of ours"
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
    """The table as Markdown: the paper's figure, ours, the difference; then how it was made."""
    cells = {column: figures_of(column, data["rows"]) for column in data["rows"][0]["columns"]}
    plain = () if cells else tuple(name for name in ("miou", "class_accuracy") if any_has(data["rows"], name))
    heads = [head for parts in cells.values() for head in parts]
    heads += [f"{PLAIN[name]}: ours" for name in plain]
    lines = [
        f"# {table.name}: {table.title}",
        "",
        "| row | " + " | ".join([*heads, "params", "MACs (G)", "latency (ms)", "status"]) + " |",
        "|---" * (len(heads) + 5) + "|",
    ]
    for place, row in enumerate(data["rows"]):
        mine = [values[place] for parts in cells.values() for values in parts.values()]
        mine += [text_of(100 * row["scores"][name]) if name in row["scores"] else "" for name in plain]
        macs = f"{row['macs'] / 1e9:.3f}" if row["macs"] else ""
        mine += [f"{row['params']:,}" if row["params"] else "", macs, text_of(row["latency_ms"]), row["status"]]
        lines.append("| " + " | ".join([row["row"], *mine]) + " |")
    return "\n".join([*lines, "", *conditions(table, data)])


PLAIN = {"miou": "mIoU (%)", "class_accuracy": "mPA (%)"}


def any_has(rows: Sequence[dict[str, Any]], measure: str) -> bool:
    """Whether any row was scored by this measure."""
    return any(measure in row["scores"] for row in rows)


def figures_of(column: str, rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """A column's headings -> its cells: the paper's, ours, the difference; ours alone where the paper prints none."""
    parts = {"theirs": f"{column}: paper", "ours": f"{column}: ours", "difference": "difference"}
    printed = any(row["columns"][column]["theirs"] is not None for row in rows)
    kept = parts if printed else {"ours": f"{column}: ours"}
    return {
        head: [text_of(row["columns"][column][part], signed=part == "difference") for row in rows]
        for part, head in kept.items()
    }


def text_of(value: object, *, signed: bool = False) -> str:
    """A figure as text; empty for none."""
    if not isinstance(value, (int, float)):
        return str(value or "")
    return f"{value:+.2f}" if signed else f"{value:.2f}"


def conditions(table: Table, data: dict[str, Any]) -> list[str]:
    """Under what conditions ours were made, read off the cards; they are the paper's only where it says so."""
    cards = [row["card"] for row in data["rows"] if row["card"]]
    if not cards:
        return ["No row was run."]
    runs = [card["run"] for card in cards]

    def same(values: Sequence[object]) -> str:
        return ", ".join(str(value) for value in dict.fromkeys(map(str, values)))

    machine = cards[0]["machine"]
    lines = [
        f"- ours: {same([card['data']['format'] for card in cards])}, learned from "
        f"{same([card['data']['train'] for card in cards])}, scored on {same([card['data']['val'] for card in cards])}",
        f"- epochs {same([run['epochs'] for run in runs])}, seed {same([run['seed'] for run in runs])}, batch "
        f"{same([run['batch_size'] for run in runs])}, crop {same([run['augment']['crop_size'] for run in runs])}, "
        f"scored at {same([run['input_rule']['size'] for run in runs])}; weights of the best epoch on val",
        f"- {machine['cpu']}, GPU {machine['gpu'] or 'none'}, torch {machine['versions']['torch']}, commit "
        f"{same([card['machine']['commit'] for card in cards])}",
        f"- params of the training form and MACs with {table.num_classes} classes at {'x'.join(map(str, table.size))}; "
        "latency with torch, picture in memory to mask, at the scoring size, on the machine that printed this",
    ]
    return lines + [f"- {note}" for note in table.notes]
