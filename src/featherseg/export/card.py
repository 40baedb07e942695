"""The run card as Markdown, for people; the same values lie inside the file as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featherseg.runtime.pixels import write_atomically


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Write NAME.md beside the file NAME.onnx."""
    text = "\n".join(card_lines(path, card)) + "\n"
    write_atomically(path.with_suffix(".md"), lambda file: file.write(text.encode()))


def card_lines(path: Path, card: dict[str, Any]) -> Iterator[str]:
    """The card's lines; what a card lacks is left out."""
    data, export = card.get("data", {}), card.get("export", {})
    machine = card.get("machine", {})
    hardware = machine.get("gpu") or f"{machine.get('cpu')}, {machine.get('cores')} cores"
    facts = {
        "network": fields_text(card.get("model", {})),
        "learned from": f"{data.get('format')} {data.get('train')}",
        "chosen by": f"{data.get('format')} {data.get('val')}",
        "terms": data.get("terms"),
        "recipe": card.get("recipe"),
        "started from": started_text(card.get("started_from", {})),
        "seed": card.get("seed"),
        "epochs": card.get("epochs"),
        "trained on": hardware,
        "training time": f"{card['training_seconds'] / 3600:.1f} h" if "training_seconds" in card else None,
        "commit": machine.get("commit"),
        "file": f"{path.name}, {path.stat().st_size / 1e6:.2f} MB, weights {export.get('precision')}",
        "agreement": f"{100 * export['equal_pixels']:.3f} % equal pixels with the network" if export else None,
    }
    yield f"# {card.get('name', path.stem)}"
    yield ""
    yield from (f"- {what}: {value}" for what, value in facts.items() if value not in (None, ""))
    for split, scores in card.get("scores", {}).items():
        yield from ("", f"## Scores on {split}, of this file", "", "| measure | % |", "|---|---|")
        measures = {"mIoU": "miou", "pixel accuracy": "pixel_accuracy", "class accuracy": "class_accuracy"}
        yield from (f"| {name} | {percent(scores[key])} |" for name, key in {**measures, "fwIoU": "fwiou"}.items())
        yield from ("", "| class | IoU % |", "|---|---|")
        yield from (f"| {name} | {percent(iou)} |" for name, iou in scores["iou"].items())


def started_text(card: dict[str, Any]) -> str | None:
    """The run that this one began with; its own card lies in the file."""
    if not card:
        return None
    return f"{card.get('recipe')} on {card.get('data', {}).get('format')}, {card.get('epochs')} epochs"


def fields_text(part: dict[str, Any]) -> str:
    """A model and its fields as words."""
    fields = ", ".join(f"{name}={value}" for name, value in part.items() if name != "name")
    return f"{part.get('name')} {fields}".strip()


def percent(value: float | None) -> str:
    """A fraction as per cent; "-" for none."""
    return "-" if value is None else f"{100 * value:.2f}"
