"""Starting from a trained checkpoint: every tensor that fits is taken, and what could not be kept is said."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from featherseg.hub import locate
from featherseg.models import SegNetwork, create_model
from featherseg.models.checkpoint import read_checkpoint
from featherseg.runtime.artefact import Preprocessing
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.training.parts import Part

NAMED = 6  # layers that are begun anew, named one by one


class Start(NamedTuple):
    """What a run began with: lines that say what was kept, and the card of the checkpoint."""

    lines: list[str]
    card: dict[str, Any]


def start_from(
    source: str, network: SegNetwork, model: Part, classes: Classes, preprocessing: Preprocessing | None = None
) -> Start:
    """Load the weights of `source` (a name, a run directory or a path) into `network`, which `model` describes.

    The rows of a classifier are matched by class name. Other tensors are taken where name and shape fit; where fewer
    than half do, the checkpoint is of another network and is refused. A checkpoint that saw its pictures through other
    means and deviations than `preprocessing` is told, with the keys that would keep them.
    """
    weights, _, artefact = read_checkpoint(locate(source, "torch"))
    old, own = artefact.classes, network.state_dict()
    rows_per_class = classifiers(model, own, len(classes))
    shared = [name for name in classes.names if name in old.names]
    new_ids, old_ids = ([names.index(name) for name in shared] for names in (classes.names, old.names))
    kept: list[str] = []
    for name, value in own.items():
        given = weights.get(name)
        if given is None or given.shape[1:] != value.shape[1:] or given.ndim != value.ndim:
            continue
        rows = rows_per_class.get(name)
        if rows is None and given.shape == value.shape:
            value.copy_(given)
            kept.append(name)
        elif rows is not None and len(given) == rows * len(old) and shared:
            by_class = value.view(len(classes), rows, *value.shape[1:])
            by_class[new_ids] = given.to(value.dtype).view(len(old), rows, *value.shape[1:])[old_ids]
            kept.append(name)
    if len(kept) < len(own) / 2:
        raise FeathersegError(
            f"init={source}: only {len(kept)} of {len(own)} tensors fit this network",
            remedy="start from the same model",
        )
    network.load_state_dict(own)
    lines = [f"init={source}: {len(kept)} of {len(own)} tensors taken"]
    left = list(dict.fromkeys(name.rpartition(".")[0] for name in own if name not in kept))
    if left:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        lines.append(f"begun anew: {', '.join(left[:NAMED])}{more}")
    if preprocessing is not None and artefact.preprocessing != preprocessing:
        mean, std = (",".join(map(str, values)) for values in (artefact.preprocessing.mean, artefact.preprocessing.std))
        lines.append(
            "it saw its pictures through other means and deviations; to keep them: "
            f"preprocessing.mean={mean} preprocessing.std={std}"
        )
    if classes.names != old.names:
        fresh = [name for name in classes.names if name not in shared]
        lines.append(f"classifier rows kept by name: {', '.join(shared) or 'none'}; new: {', '.join(fresh) or 'none'}")
    return Start(lines, artefact.card)


def classifiers(model: Part, own: dict[str, Tensor], classes: int) -> dict[str, int]:
    """The tensors whose rows belong to classes -> rows per class: those that grow when the network gets one more."""
    fields = {**model.fields, **({"pretrained": "none"} if "pretrained" in model.fields else {})}
    with torch.device("meta"):
        larger = create_model(model.name, num_classes=classes + 1, **fields).state_dict()
    return {name: len(value) // classes for name, value in own.items() if value.shape != larger[name].shape}
