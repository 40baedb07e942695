"""The run card as Markdown, for people; the same values lie inside the file as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featherseg.runtime.card import MARK, PUBLISHED, begins, hardware, is_card
from featherseg.runtime.pixels import write_atomically


def card_path(path: Path) -> Path:
    """NAME.md beside the file NAME.onnx; NAME.onnx.md where NAME.md is the card of published weights."""
    card = path.with_suffix(".md")
    return path.with_name(f"{path.name}.md") if begins(card, PUBLISHED) else card


def is_foreign(path: Path) -> bool:
    """Whether something lies there that is no card of ours."""
    return path.exists() and not is_card(path)


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Write the card of the file at `path`."""
    text = "\n".join(card_lines(path, card)) + "\n"
    write_atomically(card_path(path), lambda file: file.write(text.encode()))


def card_lines(path: Path, card: dict[str, Any]) -> Iterator[str]:
    """The card's lines; what a card lacks is left out."""
    data, export = card.get("data", {}), card.get("export", {})
    machine = card.get("machine", {})
    facts = {
        "network": network_text(card) if "model" in card else None,
        "size": f"{card['params']:,} parameters" if "params" in card else None,
        "learned from": f"{data['format']} {data['train']}" if {"format", "train"} <= data.keys() else None,
        "chosen by": f"{data['format']} {data['val']}" if {"format", "val"} <= data.keys() else None,
        "terms": data.get("terms"),
        "recipe": card.get("recipe"),
        "seed": card.get("seed"),
        "trained on": hardware(machine) if machine else None,
        "versions": versions_text(machine),
        "commit": machine.get("commit"),
        "file": f"{path.name}, {path.stat().st_size / 1e6:.2f} MB"
        + (f", weights {export['precision']}" if "precision" in export else ""),
        "bias": ", ".join(f"{name} {value:+g}" for name, value in export.get("bias", {}).items()),
        "agreement": agreement_text(export) if export else None,
    }
    yield MARK
    yield f"# {card.get('name', path.stem)}"
    yield ""
    yield from (f"- {what}: {value}" for what, value in facts.items() if value not in (None, ""))
    yield from training_lines(card)
    own = card.get("scores")
    whose = "of this file" if own else "of the network that it was exported from"
    for where, scores in (own or card.get("network_scores", {})).items():
        pictures = f" ({scores['pictures']} pictures)" if "pictures" in scores else ""
        yield from ("", f"## Scores on {where}{pictures}, {whose}", "", "| measure | % |", "|---|---|")
        measures = {"mIoU": "miou", "pixel accuracy": "pixel_accuracy", "class accuracy": "class_accuracy"}
        yield from (f"| {name} | {percent(scores[key])} |" for name, key in {**measures, "fwIoU": "fwiou"}.items())
        yield from ("", "| class | IoU % |", "|---|---|")
        yield from (f"| {name} | {percent(iou)} |" for name, iou in scores["iou"].items())


def training_lines(card: dict[str, Any]) -> Iterator[str]:
    """A table of how it was trained: a row per run, each started from the weights of the one above."""
    runs = [card]
    while "started_from" in runs[0]:
        runs.insert(0, runs[0]["started_from"])
    if not all("run" in stage for stage in runs):
        return
    heads = ("epochs", "loss", "teacher", "learning rate", "batch", "crop", "scale", "EMA", "val mIoU %", "hours")
    yield from ("", "## Training", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|")
    for stage in runs:
        run, augment = stage["run"], stage["run"]["augment"]
        scored = stage.get("network_scores", stage.get("scores", {}))  # a file's own stand further down
        scores: dict[str, Any] = next(iter(scored.values()), {})
        cells = (
            stage["epochs"],
            fields_text(run["loss"]),
            teacher_text(stage),
            f"{run['optim']['name']} {run['optim']['lr']}, {run['schedule']['name']}",
            run["batch_size"],
            "x".join(str(side) for side in augment["crop_size"]),
            " to ".join(str(factor) for factor in augment["scale"]),
            run["ema"],
            percent(scores.get("miou")),
            f"{stage['training_seconds'] / 3600:.1f}",
        )
        yield f"| {' | '.join(str(cell) for cell in cells)} |"


def teacher_text(stage: dict[str, Any]) -> str:
    """Whom a run learned from, with the score of that network; "-" for nobody."""
    name = Path(stage["run"].get("distill", {}).get("teacher") or "-").stem
    facts = stage.get("teacher", {})
    return f"{facts['name']} ({percent(facts['miou'])} %)" if facts.get("miou") is not None else name


def agreement_text(export: dict[str, Any]) -> str:
    """How far the file says the same as the network, and plainly where it does not."""
    equal = f"{100 * export['equal_pixels']:.3f} % equal pixels with the network"
    return equal if export["agrees"] else f"{equal}; it DOES NOT AGREE with it, and was kept by --force"


def network_text(card: dict[str, Any]) -> str:
    """Name, fields, and, where the card says it, the paper."""
    paper = f"paper {card['paper']}, " if card.get("paper") else ""
    return fields_text(card["model"]) + (f" ({paper}{card['title']})" if "title" in card else "")


def versions_text(machine: dict[str, Any]) -> str:
    """Python and libraries of the training; empty where nothing says it."""
    numbers = {"Python": machine.get("python"), **(machine.get("versions") or {})}
    return ", ".join(f"{name} {number}" for name, number in numbers.items() if number)


def fields_text(part: dict[str, Any]) -> str:
    """A model and its fields as words."""
    fields = ", ".join(f"{name}={value}" for name, value in part.items() if name != "name")
    return f"{part.get('name')} {fields}".strip()


def percent(value: float | None) -> str:
    """A fraction as per cent, to one place (a card's six do not round safely to two); "-" for none."""
    return "-" if value is None else f"{100 * value:.1f}"
