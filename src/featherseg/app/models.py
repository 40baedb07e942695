"""List the networks, what they cost, and the trained weights at hand.

Parameters and MACs (multiply-accumulates) are those of the deployed network with its defaults, counted at the class
count and input size shown; featherseg ablate counts the variants.

examples:
  featherseg models            a table
  featherseg models --json     the same as data
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.errors import FeathersegError

HEADS = ("name", "paper", "parameters", "GMACs", "counted at", "weights")
ALIGN = "<<>><<"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of text")


def run(args: argparse.Namespace) -> int:
    """Print the table; returns the exit code."""
    networks = listed()
    print(json.dumps(networks, indent=2) if args.json else table_text(networks))
    return 0


def listed() -> list[dict[str, Any]]:
    """Every network as data; the figures come from a table beside this file, so that torch is not needed."""
    networks: list[dict[str, Any]] = json.loads((files("featherseg.app") / "models.json").read_text("utf-8"))
    trained = trained_weights([network["name"] for network in networks])
    return [{**network, "weights": trained[network["name"]]} for network in networks]


def table_text(networks: list[dict[str, Any]]) -> str:
    """Every network as an aligned line; further weights of one network stand below the first."""
    rows = [HEADS]
    for network in networks:
        height, width = network["size"]
        first, *others = [weights_text(item) for item in network["weights"]] or ["-"]
        rows.append(
            (
                network["name"],
                network["paper"] or "-",
                f"{network['params']:,}",
                f"{network['macs'] / 1e9:.2f}",
                f"{network['num_classes']} classes, {height}x{width}",
                first,
            )
        )
        rows += [("", "", "", "", "", other) for other in others]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, ALIGN, widths, strict=True)).rstrip()
        for row in rows
    )


def weights_text(weights: dict[str, Any]) -> str:
    """Name, data and score: ``affnet-camvid (camvid, mIoU 67.1 %)``."""
    score = f"mIoU {100 * weights['miou']:.1f} %" if weights["miou"] is not None else ""
    said = ", ".join(part for part in (weights["data"], score) if part)
    return f"{weights['name']} ({said})" if said else f"{weights['name']}"


def trained_weights(models: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Network -> its trained weights, {"name", "data", "miou"}; what a file does not tell is None."""
    from featherseg.runtime.weights import available

    trained: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
    for name, paths in available().items():
        card = first_card(paths)
        model = model_of(name, card, models)
        if model is not None:
            trained[model].append({"name": name, "data": data_of(card), "miou": miou_of(card)})
    return trained


def model_of(name: str, card: dict[str, Any], models: list[str]) -> str | None:
    """The network that a card names; without a card the one that begins the name (`affnet-camvid`)."""
    said = card.get("model")
    said = said.get("name") if isinstance(said, dict) else said
    return said if said in models else next((model for model in models if name.startswith(f"{model}-")), None)


def data_of(card: dict[str, Any]) -> str | None:
    """The format of the data it was trained on."""
    data = card.get("data")
    data = data.get("format") if isinstance(data, dict) else data
    return data if isinstance(data, str) else None


def miou_of(card: dict[str, Any]) -> float | None:
    """The mIoU, a fraction, on the first split that was scored."""
    scores = card.get("scores")
    for split in [card, *(scores.values() if isinstance(scores, dict) else ())]:
        if isinstance(split, dict) and isinstance(split.get("miou"), int | float):
            return float(split["miou"])
    return None


def first_card(paths: list[Path]) -> dict[str, Any]:
    """The card of the first file that has one; a file that cannot be read is no reason to list nothing."""
    for path in paths:
        reader = READERS.get(path.suffix)
        try:
            card = reader(path) if reader else {}
        except (FeathersegError, OSError, ValueError):
            card = {}
        if card:
            return card
    return {}


def onnx_card(path: Path) -> dict[str, Any]:
    """The card inside an exported file."""
    from featherseg.runtime.engines import OnnxEngine

    return OnnxEngine(path, device="cpu", threads=1).artefact.card


def checkpoint_card(path: Path) -> dict[str, Any]:
    """The card inside a checkpoint, read from the JSON at its beginning: 8 bytes of length, then the header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return {}
        header = json.loads(file.read(length))
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    return Artefact.from_text(text, source=str(path)).card if text else {}


def openvino_card(path: Path) -> dict[str, Any]:
    """The card inside an exported .xml file, which its last element holds; OpenVINO is not needed for that."""
    try:
        entry = ElementTree.parse(path).find(f"rt_info/{METADATA_KEY}")
    except ElementTree.ParseError:
        return {}
    return {} if entry is None else Artefact.from_text(entry.get("value", ""), source=str(path)).card


READERS = {".onnx": onnx_card, ".xml": openvino_card, ".safetensors": checkpoint_card}
