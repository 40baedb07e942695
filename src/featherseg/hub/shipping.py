"""The files of one trained network, checked, and as they may leave the machine that trained it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from featherseg.hub.loading import is_name, networks_in
from featherseg.runtime import weights
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.card import is_card, shippable
from featherseg.runtime.engines import BACKENDS, open_engine, require_installed
from featherseg.runtime.errors import FeathersegError

CHECKPOINT = BACKENDS["torch"].suffix
ALIGNED = 8  # bytes: a checkpoint's header is filled up with spaces to a multiple of them
TRAINED = ("recipe", "seed", "epochs", "training_seconds")
"""What the cards of one network's files have in common."""


class Shipment(NamedTuple):
    """One network.

    Attributes:
        files: ending -> content, the ending as .onnx; a path where the file goes as it is.
        artefact: what the file says of itself that `load` prefers.
        card: the text of NAME.md; empty where none lies there, or one that featherseg did not write.
        names: what the files are called here.
    """

    files: dict[str, Path | bytes]
    artefact: Artefact
    card: str
    names: dict[str, str]


def packed(name_or_path: str | os.PathLike[str]) -> Shipment:
    """The network of a name, a run directory or a file, with everything of the same name beside it.

    Raises:
        FeathersegError: for what is no file of featherseg, and for files of different networks.
    """
    paths = files_of(os.fspath(name_or_path))
    artefacts: dict[str, Artefact] = {}
    files: dict[str, Path | bytes] = dict(paths)
    for backend in BACKENDS.values():
        path = paths.get(backend.suffix)
        if path is not None and backend.suffix == CHECKPOINT:
            files[CHECKPOINT], artefacts[CHECKPOINT] = packed_checkpoint(path)
        elif path is not None:
            artefacts[backend.suffix] = open_engine(path, device="cpu").artefact
    refuse_mixed({paths[suffix]: artefact for suffix, artefact in artefacts.items()})
    card = beside(paths, ".md")
    picture = beside(paths, ".jpg")
    if picture is not None:
        files[".jpg"] = paths[".jpg"] = picture
    return Shipment(
        files,
        artefact=next(iter(artefacts.values())),
        card=card.read_text("utf-8") if card and is_card(card) else "",
        names={suffix: path.name for suffix, path in paths.items()},
    )


def files_of(text: str) -> dict[str, Path]:
    """Ending -> file, those of one network; at least one that can be run."""
    path = Path(text).expanduser()
    if is_name(text):
        weights.find(text)  # names the known ones
        found = weights.available()[text]
    elif path.is_dir():
        found = networks_in(path)
    elif path.suffix in weights.SUFFIXES and path.is_file():
        found = [file for file in map(path.with_suffix, weights.SUFFIXES) if file.is_file()]
    else:
        raise FeathersegError(
            f"{text}: no trained network",
            expected=f"a name, a run directory or a file ending in {', '.join(weights.SUFFIXES)}",
        )
    paths: dict[str, Path] = {}
    for file in found:
        paths.setdefault(file.suffix, file)
    if not paths:
        raise FeathersegError(f"{text}: the folder holds no trained network", remedy="train or export one first")
    if ".xml" in paths:
        paths[".bin"] = paths[".xml"].with_suffix(".bin")  # opening the .xml refuses where it is missing
    return paths


def beside(paths: Mapping[str, Path], ending: str) -> Path | None:
    """The file of the same name with another ending, beside the first that has one."""
    others = (path.with_suffix(ending) for path in paths.values())
    return next((path for path in others if path.is_file()), None)


def refuse_mixed(artefacts: Mapping[Path, Artefact]) -> None:
    """Refuse files of which one is no export of the other."""
    (first, own), *others = artefacts.items()
    for path, artefact in others:
        same = own.classes.names == artefact.classes.names and all(
            own.card.get(key) == artefact.card.get(key) for key in TRAINED
        )
        if not same:
            raise FeathersegError(
                f"{path} and {first} are not of the same training: their cards differ",
                remedy="export the checkpoint again, or give the files names of their own",
            )


def packed_checkpoint(path: Path) -> tuple[Path | bytes, Artefact]:
    """A checkpoint without the paths of this machine on its card; its weights stay as they are stored."""
    require_installed("torch", str(path))
    from featherseg.models.checkpoint import MODEL_KEY, read_checkpoint

    _, model, artefact = read_checkpoint(path)
    card, shipped = shippable(artefact.card), shippable({"model": model})["model"]
    if (card, shipped) == (artefact.card, model):
        return path, artefact
    artefact = replace(artefact, card=card)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")  # the header's length, the header, the weights
    header = json.loads(content[8:start])
    header["__metadata__"] |= {METADATA_KEY: artefact.to_text(), MODEL_KEY: json.dumps(shipped)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNED)
    return len(text).to_bytes(8, "little") + text + content[start:], artefact
