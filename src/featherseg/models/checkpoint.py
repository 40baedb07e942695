"""A trained network as one file that describes itself: safetensors, never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from featherseg.models import create_model, without_pretrained
from featherseg.models.base import SegNetwork
from featherseg.models.storage import pack, unpack
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import write_atomically

MODEL_KEY = "model"


def save_checkpoint(
    path: Path, weights: Mapping[str, Tensor], model: dict[str, Any], artefact: Artefact, *, storage: str = "fp32"
) -> None:
    """Write weights, the model ({"name": ..., field: value}) and the artefact; the file appears whole or not at all.

    `storage` says in how many bits: "fp32", "fp16" or "int8", see `featherseg.models.storage`.
    """
    metadata = {METADATA_KEY: artefact.to_text(), MODEL_KEY: json.dumps(model)}
    content = save(pack(weights, storage), metadata=metadata)
    write_atomically(path, lambda file: file.write(content))


def replace_card(path: Path, card: dict[str, Any]) -> None:
    """Give a checkpoint another run card; the tensors stay as they lie in the file."""
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    artefact = Artefact.from_text(metadata[METADATA_KEY], source=str(path))
    content = save(tensors, metadata={**metadata, METADATA_KEY: replace(artefact, card=card).to_text()})
    del tensors  # they lie in the file that is replaced now, which not every system allows
    write_atomically(path, lambda file: file.write(content))


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any], Artefact]:
    """Weights, model and artefact of a checkpoint; a foreign or broken file is refused by name.

    The weights are float32, however the file stores them.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise FeathersegError(
            f"{path}: no readable checkpoint ({error})",
            expected="a .safetensors file that training or publish wrote; exported files are no checkpoints",
            remedy="give a run directory, or best.safetensors or last.safetensors of a run",
        ) from error
    if METADATA_KEY not in metadata or MODEL_KEY not in metadata:
        raise FeathersegError(
            f"{path}: not a checkpoint of featherseg",
            expected=f"the metadata {METADATA_KEY!r} and {MODEL_KEY!r}",
            got=", ".join(metadata) or "none",
            remedy="give best.safetensors or last.safetensors of a run",
        )
    artefact = Artefact.from_text(metadata[METADATA_KEY], source=str(path))
    weights = unpack(tensors, source=str(path))
    return weights, model_of(metadata[MODEL_KEY], source=str(path)), artefact


def model_of(text: str, *, source: str) -> dict[str, Any]:
    """The model that a checkpoint's metadata names: {"name": ..., field: value}."""
    try:
        model = json.loads(text)
    except json.JSONDecodeError:
        model = None
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        raise FeathersegError(
            f"{source}: its {MODEL_KEY!r} metadata cannot be read",
            expected='{"name": ..., field: value}',
            got=text[:80] or "nothing",
            remedy="the file was changed or cut off; copy it again or take another checkpoint",
        )
    return model


def load_checkpoint(path: Path | str) -> tuple[SegNetwork, Artefact]:
    """The network of a checkpoint with its weights, and its artefact."""
    weights, model, artefact = read_checkpoint(path)
    return rebuilt(weights, model, artefact, source=str(path)), artefact


def rebuilt(weights: Mapping[str, Tensor], model: dict[str, Any], artefact: Artefact, *, source: str) -> SegNetwork:
    """The network that `read_checkpoint` found, with its weights."""
    fields = without_pretrained({key: value for key, value in model.items() if key != "name"})
    network = create_model(model["name"], num_classes=len(artefact.classes), **fields)
    load_weights(network, weights, source=source)
    return network


def load_weights(network: SegNetwork, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Load strictly; the first name or shape that does not fit is named."""
    own = network.state_dict()
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or foreign:
        raise FeathersegError(
            f"{source}: its weights are not this network's",
            got=f"{len(missing)} missing (first {missing[:1]}), {len(foreign)} foreign (first {foreign[:1]})",
        )
    for name, value in own.items():
        if value.shape != weights[name].shape:
            raise FeathersegError(
                f"{source}: {name}", expected=f"shape {tuple(value.shape)}", got=tuple(weights[name].shape),
                remedy="the class count or a field of the model differs",
            )  # fmt: skip
    network.load_state_dict(weights)
