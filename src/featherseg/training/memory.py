"""What of a run in memory goes into its state, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from featherseg.training import state as states
from featherseg.training.ema import EMA


def gather(
    network: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, ema: EMA | None
) -> dict[str, Tensor]:
    """Every tensor that changes while a network learns, in groups: model, optimiser, scaler, ema."""
    groups = {
        "model": network.state_dict(),
        "optimiser": states.optimiser_tensors(optimiser),
        "scaler": {name: torch.tensor(value) for name, value in scaler.state_dict().items()},
    }
    if ema is not None:
        groups["ema"] = {**ema.weights, "updates": torch.tensor(ema.updates)}
    return states.pack(groups)


def put_back(
    tensors: dict[str, Tensor],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    ema: EMA | None,
) -> None:
    """The inverse of `gather`."""
    network.load_state_dict(states.unpack(tensors, "model"))
    states.restore_optimiser(optimiser, states.unpack(tensors, "optimiser"))
    scaling = {name: value.item() for name, value in states.unpack(tensors, "scaler").items()}
    if scaling:
        scaler.load_state_dict(scaling)
    if ema is not None:
        averages = states.unpack(tensors, "ema")
        ema.updates = int(averages.pop("updates"))
        for name, value in averages.items():
            ema.weights[name].copy_(value)
