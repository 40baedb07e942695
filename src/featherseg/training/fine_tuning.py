"""Starting from a trained checkpoint: every tensor that fits is taken, and what could not be kept is said."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from featherseg.hub import locate
from featherseg.models import SegNetwork, create_model, without_pretrained
from featherseg.models.checkpoint import read_checkpoint
from featherseg.runtime.artefact import Preprocessing
from featherseg.runtime.classes import MOST_CLASSES, Classes
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

    What a classifier has of each class is matched by class name. Other tensors are taken where name and shape fit;
    where fewer than half do, the checkpoint is of another network and is refused. A checkpoint that saw its pictures
    through other means and deviations than `preprocessing` is told, with the keys that would keep them.
    """
    weights, _, artefact = read_checkpoint(locate(source, "torch"))
    old, own = artefact.classes, network.state_dict()
    class_axes = classifiers(model, own, len(classes))
    shared = [name for name in classes.names if name in old.names]
    new_ids, old_ids = ([names.index(name) for name in shared] for names in (classes.names, old.names))
    kept: list[str] = []
    for name, value in own.items():
        given, axis = weights.get(name), class_axes.get(name)
        if given is None:
            continue
        if axis is None:
            if given.shape == value.shape:
                value.copy_(given)
                kept.append(name)
            continue
        fitting = list(value.shape)
        fitting[axis] = fitting[axis] // len(classes) * len(old)
        if list(given.shape) == fitting and shared:
            by_class(value, axis, len(classes))[new_ids] = by_class(given.to(value.dtype), axis, len(old))[old_ids]
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
    """The tensors of which one axis belongs to the classes -> that axis: it changes with their number."""
    others = classes - 1 if classes == MOST_CLASSES else classes + 1
    with torch.device("meta"):
        other = create_model(model.name, num_classes=others, **without_pretrained(model.fields)).state_dict()
    return {
        name: axis
        for name, value in own.items()
        for axis, sides in enumerate(zip(value.shape, other[name].shape, strict=True))
        if len(set(sides)) > 1
    }


def by_class(tensor: Tensor, axis: int, classes: int) -> Tensor:
    """A view of a classifier's tensor with the classes as its first axis: a transposed convolution has them second."""
    rows = tensor.movedim(axis, 0)
    return rows.view(classes, -1, *rows.shape[1:])
