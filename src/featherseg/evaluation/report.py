"""Scores for people: a text table, and a folder with scores.json, report.md and the pictures that went worst."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from featherseg.data import SegData
from featherseg.evaluation.evaluate import Judged
from featherseg.metrics import Scores
from featherseg.runtime.classes import Classes
from featherseg.runtime.pixels import colourise, overlay, write_atomically

WORST = 5


def percent(value: float | None) -> str:
    """A fraction as per cent with two places; "-" for none."""
    return "-" if value is None or np.isnan(value) else f"{100 * value:.2f}"


def scores_text(scores: Scores, data: SegData) -> str:
    """The scores as aligned lines."""
    width = max(len(name) for name in scores.classes.names)
    per_class = [
        f"  {name:<{width}}  {percent(iou):>6}  {percent(recall):>6}"
        for name, iou, recall in zip(scores.classes.names, scores.iou, scores.recall, strict=True)
    ]
    lines = [
        f"{len(data)} pictures of {data.root} ({data.name}, {data.split})",
        f"  mIoU             {percent(scores.miou):>6} %",
        f"  pixel accuracy   {percent(scores.pixel_accuracy):>6} %",
        f"  class accuracy   {percent(scores.class_accuracy):>6} %",
        f"  fwIoU            {percent(scores.fwiou):>6} %",
        "",
        f"  {'class':<{width}}     IoU  accuracy",
        *per_class,
    ]
    if scores.absent:
        lines.append(
            f"\nleft out of the means, since neither truth nor prediction holds them: {', '.join(scores.absent)}"
        )
    return "\n".join(lines)


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


def write_report(folder: Path, data: SegData, scores: Scores, worst: Worst, *, title: str) -> None:
    """Write scores.json, report.md and worst-N.png (photo | truth | prediction), each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**scores.to_json(), "confusion": scores.confusion.tolist()}, indent=2)
    write_atomically(folder / "scores.json", lambda file: file.write(content.encode()))
    lines = [f"# {title}", "", "```", scores_text(scores, data), "```", "", "## The pictures that went worst", ""]
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


def panel_of(judged: Judged, classes: Classes) -> Image.Image:
    """Photo, truth and prediction side by side."""
    image, target, _ = judged.sample
    predicted = np.asarray(overlay(image, judged.mask, classes))
    return Image.fromarray(np.hstack([image, colourise(target, classes), predicted]))
