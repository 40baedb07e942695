"""The state of a run: all that going on depends on, written so that a kill at any moment loses nothing.

state-STEP.safetensors holds raw weights, averaged weights, optimiser, loss scaler; its header holds one JSON object
with step, epoch, batch, the best score so far and a checksum of the tensors. A file appears under its name only when it
is whole (temporary name, fsync, rename); the last two are kept, and an unreadable newest one falls back to the other.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import write_atomically

HEADER_KEY = "state"
KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        epoch: the epoch that comes next or is under way, from 0.
        batch: batches of that epoch already done.
        best_miou: the best validation score so far; negative before the first.
        best_epoch: the epoch that gave it.
        loss_sum: sum of the losses of that epoch's batches already done.
        seconds: time spent training so far.
        waited: validations since the best one.
        stopped: whether the run ended early, for want of a new best.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best_miou: float = -1.0
    best_epoch: int = -1
    loss_sum: float = 0.0
    seconds: float = 0.0
    waited: int = 0
    stopped: bool = False

    def best_text(self) -> str:
        """The best score and its epoch for a message."""
        return f"best val mIoU {100 * self.best_miou:.2f} % (epoch {self.best_epoch})"


def write_state(folder: Path, progress: Progress, tensors: dict[str, Tensor]) -> Path:
    """Write state-STEP.safetensors, then drop all but the last two."""
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = json.dumps({**asdict(progress), "checksum": checksum(plain)})
    content = save(plain, metadata={HEADER_KEY: header})
    path = folder / f"state-{progress.step:08d}.safetensors"
    write_atomically(path, lambda file: file.write(content))
    for old in states(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def states(folder: Path) -> list[Path]:
    """The state files of a run directory, oldest first."""
    return sorted(folder.glob("state-*.safetensors"))


class Saved(NamedTuple):
    """A state as it was read, and a line for each newer one that could not be."""

    progress: Progress
    tensors: dict[str, Tensor]
    complaints: list[str]


def read_newest_state(folder: Path) -> Saved | None:
    """The newest readable state; None where nothing was ever saved.

    A newer one that cannot be read is passed over, and removed once an older one is found. Where none can be read, or
    the states of a run that has results are gone, the run is refused: beginning anew would overwrite those results.
    """
    damaged: list[Path] = []
    complaints: list[str] = []
    for path in reversed(states(folder)):
        try:
            progress, tensors = read_state(path)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            damaged.append(path)
            complaints.append(f"{path.name} cannot be read ({error}); taking the one before")
            continue
        for other in damaged:
            other.unlink(missing_ok=True)
        return Saved(progress, tensors, complaints)
    if damaged or (folder / "last.safetensors").exists():
        raise FeathersegError(
            f"{folder} holds a run with results but no readable state",
            got="; ".join(complaints) or "no state-STEP.safetensors",
            remedy="use another out, or delete the folder to begin anew",
        )
    return None


def newest_progress(folder: Path) -> Progress | None:
    """Where a run stands by the header of its newest readable state; nothing is checked further, nothing removed."""
    for path in reversed(states(folder)):
        try:
            with safe_open(str(path), framework="pt") as file:
                header = json.loads((file.metadata() or {})[HEADER_KEY])
            return Progress(**{name: value for name, value in header.items() if name != "checksum"})
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            continue
    return None


def read_state(path: Path) -> tuple[Progress, dict[str, Tensor]]:
    """One state file; ValueError where the checksum does not fit."""
    with safe_open(str(path), framework="pt") as file:
        header: dict[str, Any] = json.loads((file.metadata() or {})[HEADER_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if header.pop("checksum") != checksum(tensors):
        raise ValueError("its checksum does not fit its content")
    return Progress(**header), tensors


def checksum(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def pack(groups: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """{"model": {"a": x}} -> {"model/a": x}; every tensor gets storage of its own."""
    return {f"{group}/{name}": value.clone() for group, part in groups.items() for name, value in part.items()}


def unpack(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    """The inverse of `pack` for one group."""
    prefix = f"{group}/"
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments as "PARAMETER/KEY" -> tensor; learning rates come from the schedule."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}/{key}": torch.as_tensor(value)
        for index, moments in state.items()
        for key, value in moments.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the moments back, each laid out in memory as its parameter is: over two layouts a step takes longer."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        parameter = parameters[int(index)]
        alike = value.shape == parameter.shape
        state.setdefault(int(index), {})[key] = torch.empty_like(parameter).copy_(value) if alike else value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
