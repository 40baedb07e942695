"""Scores for people: a text table, and a folder with scores.json, report.md, a chart and the worst pictures."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from featherseg.data import SegData
from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.measure import Measure, percent
from featherseg.metrics import Scores
from featherseg.runtime.classes import Classes
from featherseg.runtime.pixels import colourise, overlay, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 5


def scores_text(scores: Scores, data: SegData, measures: Sequence[Measure] = ()) -> str:
    """The scores as aligned lines."""
    lines = [
        f"{len(data)} pictures of {data.root} ({data.name}, {data.split})",
        f"  mIoU             {percent(scores.miou):>6} %",
        f"  pixel accuracy   {percent(scores.pixel_accuracy):>6} %",
        f"  class accuracy   {percent(scores.class_accuracy):>6} %",
        f"  fwIoU            {percent(scores.fwiou):>6} %",
        *(["", *(measure.text() for measure in measures)] if measures else []),
        "",
        *class_table(scores, measures),
    ]
    if scores.absent:
        lines.append(
            f"\nleft out of the means, since neither truth nor prediction holds them: {', '.join(scores.absent)}"
        )
    return "\n".join(lines)


def class_table(scores: Scores, measures: Sequence[Measure] = ()) -> list[str]:
    """A line for each class, with the columns of the measures beside IoU and accuracy."""
    columns = {"IoU": scores.iou, "accuracy": scores.recall}
    for measure in measures:
        columns |= measure.columns()
    width = max(len(name) for name in ("class", *scores.classes.names))
    return [
        f"  {'class':<{width}}" + "".join(f"  {title:>{max(6, len(title))}}" for title in columns),
        *(
            f"  {name:<{width}}"
            + "".join(f"  {percent(values[index]):>{max(6, len(title))}}" for title, values in columns.items())
            for index, name in enumerate(scores.classes.names)
        ),
    ]


def all_json(scores: Scores, measures: Sequence[Measure] = ()) -> dict[str, Any]:
    """The scores, the confusion matrix and every measure under its name."""
    return {
        **scores.to_json(),
        **{measure.name: measure.to_json() for measure in measures},
        "confusion": scores.confusion.tolist(),
    }


class Worst:
    """Keeps the pictures that go worst; handed to `evaluate` as `observe`.

    Attributes:
        pictures: (pixel accuracy, the picture), the worst first; a picture without a labelled pixel has no accuracy.
    """

    def __init__(self, count: int = WORST) -> None:
        self.count = count
        self.pictures: list[tuple[float, Judged]] = []

    def __call__(self, judged: Judged) -> None:
        """Keep the picture while it is among the worst."""
        labelled = judged.confusion.sum()
        if labelled:
            accuracy = float(np.trace(judged.confusion) / labelled)
            self.pictures = sorted([*self.pictures, (accuracy, judged)], key=lambda item: item[0])[: self.count]


def write_report(
    folder: Path,
    data: SegData,
    scores: Scores,
    worst: Worst,
    *,
    title: str,
    measures: Sequence[Measure] = (),
    setting: str = "",
) -> None:
    """Write scores.json, report.md, classes.png and worst-N.png (photo | truth | prediction).

    Each is written whole or not at all; the chart needs matplotlib and is left out without it. `setting` says in a line
    how it was measured, where that was not the network's own way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(all_json(scores, measures), indent=2)
    write_atomically(folder / "scores.json", lambda file: file.write(content.encode()))
    lines = [
        f"# {title}",
        "",
        *([setting, ""] if setting else []),
        "```",
        scores_text(scores, data, measures),
        "```",
        "",
    ]
    if importlib.util.find_spec("matplotlib") is not None:
        figure = chart(scores, title)
        write_atomically(folder / "classes.png", lambda file: figure.savefig(file, format="png"))
        lines += ["![IoU of each class](classes.png)", ""]
    lines += ["## The pictures that went worst", ""]
    for place, (accuracy, judged) in enumerate(worst.pictures, start=1):
        path = folder / f"worst-{place}.png"
        panel = panel_of(judged, data.classes)
        write_atomically(path, lambda file, panel=panel: panel.save(file, "PNG"))  # type: ignore[misc]
        lines += [
            f"{judged.sample.name}: {percent(accuracy)} % of the pixels right (photo, truth, prediction)",
            f"![]({path.name})",
            "",
        ]
    text = "\n".join(lines)
    write_atomically(folder / "report.md", lambda file: file.write(text.encode()))


def chart(scores: Scores, title: str) -> Figure:
    """IoU of each class as bars in the classes' colours, with the mean as a line; an absent class has no bar."""
    from matplotlib.figure import Figure

    names = scores.classes.names
    figure = Figure(figsize=(7, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    values = 100 * np.nan_to_num(scores.iou)
    colours = [tuple(part / 255 for part in colour) for colour in scores.classes.palette]
    bars = axes.barh(range(len(names)), values, color=colours, edgecolor="black", linewidth=0.5)
    axes.bar_label(bars, [percent(iou) for iou in scores.iou], padding=3, fontsize=8)
    if not np.isnan(scores.miou):
        axes.axvline(100 * scores.miou, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 110)
    axes.set_xlabel(f"IoU in %, mean {percent(scores.miou)}")
    axes.set_title(title, fontsize=9)
    return figure


def panel_of(judged: Judged, classes: Classes) -> Image.Image:
    """Photo, truth and prediction side by side."""
    image, target, _ = judged.sample
    predicted = np.asarray(overlay(image, judged.mask, classes))
    return Image.fromarray(np.hstack([image, colourise(target, classes), predicted]))
