"""The card of published weights as Markdown, for people; the same values lie inside the file, or in NAME.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from featherseg.export.card import network_text, training_lines, versions_text
from featherseg.runtime.card import PUBLISHED

Card = dict[str, Any]


def published_text(card: Card) -> str:
    """The text of NAME.md."""
    return "\n".join(published_lines(card)) + "\n"


def published_lines(card: Card) -> Iterator[str]:
    """Picture, table of facts, table of classes, the command, the data's terms."""
    where, scores = next(iter(card["scores"].items()))
    yield from (PUBLISHED, f"# {card['name']}", "")
    shown = ", ".join(card["picture"]["columns"])
    yield from (f"![{shown}: {where} pictures {', '.join(card['picture']['of'])}]({card['picture']['file']})", "")
    yield from ("| | |", "|---|---|")
    yield from (f"| {what} | {cell(value)} |" for what, value in facts(card, where, scores).items() if value)
    yield from ("", "| class | IoU % | accuracy % |", "|---|---|---|")
    for name, values in scores["per_class"].items():
        yield f"| {cell(name)} | {percent(values['iou'])} | {percent(values['accuracy'])} |"
    again = "The same training again:"
    if "started_from" in card:
        yield from training_lines(card)
        again = "The last of these trainings again; it began with the weights of the one before, which are not shipped:"
    yield from ("", again, "", f"    {card['command'] or 'its recipe is on no menu any more'}", "")
    yield f"Terms of the data, which bind what was learned from them: {card['data']['terms']}."


def facts(card: Card, where: str, scores: Card) -> dict[str, Any]:
    """Title -> value; what is empty is left out."""
    data, machine = card["data"], card["machine"]
    height, width = card["input_size"]
    low, high = scores["interval"]
    return {
        "network": network_text(card),
        f"mIoU on {data['format']} {where}": f"{percent(scores['miou'])} % ({percent(low)} to {percent(high)}: 95 % "
        f"interval over the {scores['pictures']} pictures, by bootstrap)",
        "seeds": seeds_text(card["seeds"], card["seed"]),
        "class accuracy": f"{percent(scores['class_accuracy'])} %",
        "pixel accuracy": f"{percent(scores['pixel_accuracy'])} %",
        "fwIoU": f"{percent(scores['fwiou'])} %",
        "size": f"{card['params']:,} parameters, {card['macs'] / 1e9:.3f} GMACs at {height}x{width}",
        "file": file_text(card),
        "learned from": f"{data['format']} {data['train']}; chosen by {data['val']}",
        "recipe": f"{card['recipe']}, seed {card['seed']}",
        "epochs": f"{card['epochs_done']} of {card['epochs_asked']}; the weights are those of epoch {card['epoch']}",
        "began with": card["start"] if card["start"] != "random" else "random weights",
        "trained on": hardware_text(card),
        "versions": f"{versions_text(machine)}, commit {machine.get('commit') or 'unknown'}",
    }


def seeds_text(seeds: Card, shipped: int) -> str:
    """Each seed's score on val, the mean and the spread."""
    if len(seeds["runs"]) == 1:
        return "one; the interval over the pictures stands as the spread, that of another seed was not measured"
    each = ", ".join(f"{percent(run['miou'])} ({run['seed']})" for run in seeds["runs"])
    return (
        f"{percent(seeds['mean'])} ± {percent(seeds['std'])} % on val, mean and sample standard deviation of "
        f"{len(seeds['runs'])} seeds: {each}; this is seed {shipped}, the best of them there"
    )


def file_text(card: Card) -> str:
    """Length and storage, and what the storage costs."""
    if card["bytes"] is None:
        scored = "as trained, in fp32" if card["storage"] is None else f"as it was shipped before, in {card['storage']}"
        return f"the weights are not shipped; the scores are of the network {scored}"
    cost = f"{-card['storage_costs'][card['storage']]:+.2f}".replace("-0.00", "+0.00")
    return (
        f"{card['name']}.safetensors, {card['bytes'] / 1e6:.2f} MB, {card['storage']}: mIoU {cost} points beside fp32; "
        "the scores are of this file"
    )


def hardware_text(card: Card) -> str:
    """Processor or GPU, threads and hours."""
    threads = card["threads"]
    parts = (card["hardware"], f"{threads} threads" if threads else "", f"{card['hours']:.2f} hours")
    return ", ".join(part for part in parts if part)


def percent(value: float | None) -> str:
    """A fraction as per cent, to two places; "-" for none."""
    return "-" if value is None else f"{100 * value:.2f}"


def cell(value: object) -> str:
    """A text that does not end its cell of a table."""
    return str(value).replace("|", "\\|")
