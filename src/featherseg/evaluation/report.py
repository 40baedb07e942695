"""Scores for people: a text table, and a folder with scores.json, report.md and the pictures that went worst."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from featherseg.data import SegData
from featherseg.metrics import Scores, confusion_matrix
from featherseg.runtime.pixels import colourise, overlay, write_atomically
from featherseg.runtime.predictor import Predictor

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


def write_report(folder: Path, predictor: Predictor, data: SegData, scores: Scores, *, title: str) -> None:
    """Write scores.json, report.md and worst-N.png (photo | truth | prediction), each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**scores.to_json(), "confusion": scores.confusion.tolist()}, indent=2)
    write_atomically(folder / "scores.json", lambda file: file.write(content.encode()))
    lines = [f"# {title}", "", "```", scores_text(scores, data), "```", "", "## The pictures that went worst", ""]
    for place, (index, share) in enumerate(worst_pictures(predictor, data), start=1):
        sample = data.read(index)
        mask = predictor(sample.image).mask
        panel = np.hstack(
            [
                sample.image,
                colourise(sample.mask, data.classes),
                np.asarray(overlay(sample.image, mask, data.classes)),
            ]
        )
        picture = Image.fromarray(panel)
        path = folder / f"worst-{place}.png"
        write_atomically(path, lambda file, picture=picture: picture.save(file, "PNG"))  # type: ignore[misc]
        lines += [
            f"{sample.name}: {percent(share)} % of the pixels right (photo, truth, prediction)",
            f"![]({path.name})",
            "",
        ]
    text = "\n".join(lines)
    write_atomically(folder / "report.md", lambda file: file.write(text.encode()))


def worst_pictures(predictor: Predictor, data: SegData) -> list[tuple[int, float]]:
    """Index and pixel accuracy of the pictures with the lowest one."""
    shares = []
    count = len(data.classes)
    for index in range(len(data)):
        sample = data.read(index)
        mask = predictor(sample.image).mask
        confusion = confusion_matrix(mask, sample.mask, count, ignore_index=data.classes.ignore_index)
        if confusion.sum():
            shares.append((index, float(np.trace(confusion) / confusion.sum())))
    return sorted(shares, key=lambda item: item[1])[:WORST]
