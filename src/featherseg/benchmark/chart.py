"""Accuracy against latency, as one picture; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from featherseg.benchmark.tables import SETTINGS
from featherseg.runtime.pixels import write_atomically

Row = dict[str, Any]

COLOURS = (
    "tab:blue",
    "tab:red",
    "tab:green",
    "tab:purple",
    "tab:brown",
    "tab:gray",
    "black",
    "teal",
    "crimson",
    "navy",
)
MARKERS = {"onnxruntime": "o", "openvino": "s", "torch": "^"}


def placed(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows that have a place in the picture, and why the others have none."""
    points: list[Row] = []
    absent: dict[str, list[str]] = {}  # reason -> names
    for row in rows:
        if row["miou"] is None:
            absent.setdefault("no score on its card", []).append(row["name"])
        elif row["scored_elsewhere"]:
            size = "the pictures' own sizes" if row["scored_at"] is None else "x".join(map(str, row["scored_at"]))
            absent.setdefault(f"its score was measured at {size}", []).append(row["name"])
        else:
            points.append(row)
    return points, [f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in absent.items()]


def write_chart(points: Sequence[Row], path: Path) -> None:
    """Write the picture of rows that have a place in it: numbered points, and what they are below them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4 + 0.2 * len(points)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (row, label) in enumerate(zip(points, labels(points), strict=True), 1):
        place = row["ms"]["total"]["p50"], 100 * row["miou"]
        axes.plot(*place, MARKERS[row["backend"]], color=COLOURS[number % len(COLOURS)], markersize=12, alpha=0.85,
                  label=f"{number}  {label}")  # fmt: skip
        axes.annotate(str(number), place, color="white", fontsize=7, fontweight="bold", ha="center", va="center")
    axes.set_xlabel("end to end, median ms")
    axes.set_ylabel("mIoU %")
    axes.set_xlim(0, 1.1 * max(row["ms"]["total"]["p50"] for row in points))
    axes.margins(y=0.2)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower left", fontsize=8, frameon=False)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=150)
    write_atomically(path, lambda target: target.write(file.getvalue()))


def labels(points: Sequence[Row]) -> list[str]:
    """The candidate, and those of its settings that are not the same for all."""
    cells = [cell for _, cell in SETTINGS if len({cell(row) for row in points}) > 1]
    return [", ".join([row["name"], *(cell(row) for cell in cells)]) for row in points]
