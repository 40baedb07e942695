"""Starting from a trained checkpoint: every tensor that fits is taken, and what could not be kept is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from featherseg.models.base import SegNetwork
from featherseg.models.checkpoint import read_checkpoint
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.weights import find


class Start(NamedTuple):
    """What a run began with: lines that say what was kept, and the card of the checkpoint."""

    lines: list[str]
    card: dict[str, Any]


def start_from(source: str, network: SegNetwork, classes: Classes) -> Start:
    """Load the weights of `source` (a name, a run directory or a path) into `network`.

    A tensor whose shape differs only in its first dimension, the old class count against the new one, is a classifier:
    its rows are matched by class name. Everything else must fit.
    """
    path = checkpoint_of(source)
    weights, _, artefact = read_checkpoint(path)
    old = artefact.classes
    own = network.state_dict()
    shared = [name for name in classes.names if name in old.names]
    rows = [(classes.names.index(name), old.names.index(name)) for name in shared]
    kept = 0
    for name, value in own.items():
        if name not in weights:
            continue
        given = weights[name]
        if is_classifier(value, given, len(classes), len(old)):
            for row, old_row in rows:
                value[row] = given[old_row]
            kept += 1
        elif given.shape == value.shape:
            value.copy_(given)
            kept += 1
    if kept < len(own) // 2:
        raise FeathersegError(
            f"init={source}: only {kept} of {len(own)} tensors fit this network", remedy="start from the same model"
        )
    network.load_state_dict(own)
    fresh = [name for name in classes.names if name not in shared]
    lines = [f"init={source}: {kept} of {len(own)} tensors taken"]
    if classes.names != old.names:
        lines.append(f"classifier rows kept by name: {', '.join(shared) or 'none'}; new: {', '.join(fresh) or 'none'}")
    return Start(lines, artefact.card)


def checkpoint_of(source: str) -> Path:
    """The checkpoint file of a path, a run directory or a name."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path / "best.safetensors"
    return path if path.exists() else find(source, (".safetensors",))


def is_classifier(value: Tensor, given: Tensor, classes: int, old_classes: int) -> bool:
    """Whether the first dimension counts classes in both."""
    return (
        value.ndim == given.ndim
        and value.ndim > 0
        and (value.shape[0], given.shape[0]) == (classes, old_classes)
        and value.shape[1:] == given.shape[1:]
    )
