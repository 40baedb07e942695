"""What a step minimises: the loss of a network's output against its target."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from featherseg.losses import LOSSES, Loss, loss_fields
from featherseg.models import SegNetwork, SegOutput
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.training.distributed import World
from featherseg.training.head_loss import head_loss
from featherseg.training.run import Run


def objective(
    output: SegOutput,
    target: Tensor,
    loss: Loss,
    *,
    aux_weight: float,
    align_corners: bool,
    normaliser: Tensor | None = None,
    share: Tensor | float = 1.0,
) -> Tensor:
    """The loss of a network's output: the main scores, plus `aux_weight` times each auxiliary head's.

    Scores are resized to the target here, once; nowhere else in training. The heads follow one another: the large
    scores of one are gone before those of the next come (`head_loss`).

    Args:
        output: what the network gave.
        target: (N,H,W) class ids.
        loss: of scores against a target of the same size.
        aux_weight: weight of each auxiliary head.
        align_corners: how the network's scores are resized.
        normaliser: what the whole batch's pixel losses are divided by, where `target` is a part of the batch.
        share: the part's share of the batch's labelled pictures, which weighs what is a mean over each part.
    """
    of = partial(head_loss, target=target, loss=loss, align_corners=align_corners, normaliser=normaliser, share=share)
    total = of(output.logits, presence=output.presence)
    for logits in output.aux_logits:
        total = total + aux_weight * of(logits)
    return total


def weigh_parts(loss: Loss, targets: Sequence[Tensor], world: World) -> tuple[Tensor, Tensor]:
    """What the whole batch's pixel losses are divided by, and each part's share of its labelled pictures, (parts,)."""
    labelled = torch.stack([loss.labelled(target) for target in targets])
    counts = torch.stack([loss.count(target) for target in targets])
    normaliser, pictures = world.total(torch.stack((counts.sum(), labelled.sum())))
    return normaliser, labelled / pictures.clamp(min=1)


def make_loss(run: Run, network: SegNetwork, classes: Classes, frequencies: tuple[float, ...]) -> Loss:
    """The run's loss; `frequencies` are the classes' shares in the training split, where they were counted."""
    if LOSSES[run.loss.name].needs_presence and getattr(network, "presence", None) is None:
        raise FeathersegError(
            f"loss {run.loss.name!r}",
            expected="a network with a presence head",
            got=run.model.name,
            remedy="affnet has one: model=affnet model.presence=true",
        )
    fields: dict[str, Any] = {"ignore_index": classes.ignore_index, **run.loss.fields}
    for name in ("frequencies", "class_weights"):
        if name not in loss_fields(run.loss.name):
            continue
        values = tuple(fields.get(name) or ()) or (frequencies if name == "frequencies" else ())
        if values and len(values) != len(classes):
            raise FeathersegError(f"loss.{name}", expected=f"{len(classes)} shares", got=len(values))
        fields[name] = values
    return LOSSES[run.loss.name](**fields)


def wants_frequencies(run: Run) -> bool:
    """Whether the loss needs to be told how often each class occurs."""
    return "frequencies" in loss_fields(run.loss.name) and not run.loss.fields.get("frequencies")
