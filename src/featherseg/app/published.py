"""The card of published weights: what the run's own card says, and all that somebody else needs to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from featherseg.data import SegData
from featherseg.export.weights import Measured, Stored
from featherseg.hub import CHECKPOINTS
from featherseg.metrics import json_number
from featherseg.models import MODELS, create_model, without_pretrained
from featherseg.models.costs import count_macs, count_parameters
from featherseg.recipes import RECIPES
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.card import base_name, hardware, portable, shippable
from featherseg.training import Run
from featherseg.training.seeds import Outcome, Seed, seeds_json
from featherseg.training.words import words_between

PATHS = ("data.root", "init", "model.pretrained", "distill.teacher")
"""Keys whose value may be a path."""

TERMS = "not stated"
SHORT = {"voc_aug": "voc"}  # a data format -> how names call it, where they differ


def published_card(
    name: str,
    outcome: Outcome,
    seeds: Sequence[Seed],
    data: SegData,
    measured: Measured,
    *,
    stored: Stored | None,
    picture: dict[str, Any],
) -> dict[str, Any]:
    """The card as JSON values, without a path, user or machine name.

    Args:
        name: the network's.
        outcome: what is published.
        seeds: all that are known of its recipe, its own among them.
        data: what it was scored on.
        measured: what the file scores; where no file is written, the network.
        stored: the file; None where only the card is written.
        picture: {"file", "columns", "of"} of the sheet of pictures.
    """
    run, artefact = outcome.run, outcome.artefact
    card = shippable(artefact.card)
    size = artefact.input_rule.size or data.read(0).image.shape[:2]
    machine = {**card.get("machine", {}), **outcome.machine}
    return {
        **card,
        "name": name,
        "paper": MODELS[run.model.name].paper,
        "title": MODELS[run.model.name].title,
        "data": {**card["data"], "terms": card["data"].get("terms") or TERMS},
        "command": command(run),
        **seeds_of(seeds, [json_number(end) for end in measured.interval]),
        "epochs_asked": run.epochs,
        "epochs_done": outcome.epochs_done,
        "epoch": int(str(card["epochs"]).split()[0]),
        "start": start(run),
        "machine": machine,
        "hardware": hardware(machine),
        "threads": machine.get("threads"),
        "hours": round(outcome.seconds / 3600, 4),
        **costs(run, artefact, (int(size[0]), int(size[1]))),
        "storage": stored.storage if stored else None,
        "storage_costs": {kind: round(cost, 4) for kind, cost in stored.costs.items()} if stored else {},
        "bytes": None,  # a file's length is written with the file
        "network_scores": card.get("scores", {}),
        "scores": {where(data, artefact): measured.to_json(len(data))},
        "picture": picture,
    }


def where(data: SegData, artefact: Artefact) -> str:
    """What the scores were measured on: the split, and the data's name where they are not those of the training."""
    own = artefact.card.get("data", {}).get("format")
    return data.split if data.name == own else f"{data.name} {data.split}"


def seeds_of(seeds: Sequence[Seed], interval: Sequence[float | None]) -> dict[str, Any]:
    """Each seed's score, and how far it may lie off: over seeds where there are several, else over the pictures alone.

    Args:
        seeds: all that are known of a recipe.
        interval: the 95 % bootstrap interval of the score over the pictures.
    """
    found = seeds_json(seeds)
    over_seeds = {"of": "seeds", "what": "sample standard deviation of val mIoU", "std": found["std"]}
    over_pictures = {"of": "pictures", "what": "95 % bootstrap interval of mIoU", "interval": list(interval)}
    return {"seeds": found, "spread": over_pictures if found["std"] is None else over_seeds}


def costs(run: Run, artefact: Artefact, size: tuple[int, int]) -> dict[str, Any]:
    """Parameters and multiply-accumulates of the deployed network at the size it sees pictures at."""
    fields = without_pretrained(run.model.fields)
    with torch.device("meta"):
        network = create_model(run.model.name, num_classes=len(artefact.classes), **fields).deployed()
    return {"params": count_parameters(network), "macs": count_macs(network, size), "input_size": list(size)}


def start(run: Run) -> str:
    """What the training began with: "random", the name of a pretrained file or of "imagenet", or that of init."""
    if run.init:
        path = Path(run.init)
        return path.parent.name if path.name in CHECKPOINTS and path.parent.name else base_name(run.init)
    fields = run.model.fields
    pretrained = str(fields.get("pretrained", getattr(MODELS[run.model.name].of(dict(fields)), "pretrained", "none")))
    return "random" if pretrained == "none" else base_name(pretrained)


def command(run: Run) -> str | None:
    """The command line that does the same training again; None for a recipe that is on no menu."""
    if run.recipe not in RECIPES:
        return None
    words = words_between(RECIPES[run.recipe](), run)
    return shlex.join(
        ["featherseg", "train", run.recipe]
        + [f"{key}={portable(value) if key in PATHS else value}" for key, value in words]
    )


def name_of(outcome: Outcome) -> str:
    """MODEL-DATA, with the number of classes where some were chosen: affnet-camvid, affnet-voc7."""
    data, classes = outcome.artefact.card["data"]["format"], outcome.run.data.classes
    return f"{outcome.run.model.name}-{SHORT.get(data, data)}{len(classes) or ''}"


def report_text(report: dict[str, Any]) -> str:
    """The report as lines; the last one is the file, or where it is on the hub."""
    card = report["card"]
    where, scores = next(iter(card["scores"].items()))
    low, high = (100 * end for end in scores["interval"])
    seeds = card["seeds"]
    lines = [f"mIoU on {where}     {100 * scores['miou']:.2f} % (run {100 * report['network_miou']:.2f} %)"]
    lines.append(f"  95 % over pictures  {low:.2f} .. {high:.2f} %")
    if seeds["std"] is not None:
        lines.append(
            f"  seeds               {100 * seeds['mean']:.2f} +- {100 * seeds['std']:.2f} % of {len(seeds['runs'])}"
        )
    lines += [f"  {kind} costs          {cost:+.3f} points" for kind, cost in card["storage_costs"].items()]
    if card["storage"]:
        lines.append(f"  stored as           {card['storage']}, {card['bytes'] / 1e6:.2f} MB")
    return "\n".join([*lines, *report["files"], *([report["hub"]] if report["hub"] else [])])
