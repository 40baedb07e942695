"""The parts of a run in which batch size, base rate and frozen layers stay the same: one, or frozen and thawed."""

from __future__ import annotations

from dataclasses import dataclass

from featherseg.models import SegNetwork
from featherseg.runtime.errors import FeathersegError
from featherseg.training.run import Run
from featherseg.training.schedules import SCHEDULES, Schedule

REFERENCE_BATCH = 16
SMALLEST_LR, LARGEST_LR = 5e-4, 0.1
"""What `lr_scaling="batch16"` clamps a rate to (paper 003's code family)."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs `first` to `end` (exclusive) of a run.

    Attributes:
        first: the first epoch, from 0.
        end: the epoch after the last.
        batch_size: pictures an optimiser step, over all processes.
        lr: the base learning rate of this phase's schedule.
        frozen: whether the encoder's weights stay as they are.
    """

    first: int
    end: int
    batch_size: int
    lr: float
    frozen: bool

    def schedule(self, run: Run, steps_per_epoch: int) -> Schedule:
        """The rate over steps counted from the run's first epoch, or from the phase's where the schedule restarts."""
        epochs = self.end - self.first if run.freeze.restart else run.epochs
        return SCHEDULES[run.schedule.name](
            lr=self.lr,
            steps=epochs * steps_per_epoch,
            warmup_steps=round(run.warmup_epochs * steps_per_epoch),
            hold=steps_per_epoch if run.lr_every == "epoch" else 1,
            **run.schedule.fields,
        )

    def place(self, run: Run, epoch: int, batch: int, steps_per_epoch: int) -> int:
        """The schedule's step of this batch of this epoch."""
        return (epoch - (self.first if run.freeze.restart else 0)) * steps_per_epoch + batch


def phases_of(run: Run) -> tuple[Phase, ...]:
    """The run's phases in order."""
    base, freeze = float(run.optim.fields["lr"]), run.freeze
    lr = scaled(run, base, run.batch_size)
    thawed = Phase(first=freeze.epochs, end=run.epochs, batch_size=run.batch_size, lr=lr, frozen=False)
    if not freeze.epochs:
        return (thawed,)
    batch_size = freeze.batch_size or run.batch_size
    lr = scaled(run, freeze.lr or base, batch_size)
    return Phase(first=0, end=freeze.epochs, batch_size=batch_size, lr=lr, frozen=True), thawed


def scaled(run: Run, lr: float, batch_size: int) -> float:
    """The base rate for this batch size: as it is, or times batch / 16 and clamped."""
    if run.lr_scaling == "none":
        return lr
    return min(LARGEST_LR, max(SMALLEST_LR, lr * batch_size / REFERENCE_BATCH))


def set_frozen(network: SegNetwork, frozen: bool) -> None:
    """Freeze or thaw the encoder's weights; its batch-norm statistics go on following the pictures, as in paper 003."""
    encoder = getattr(network, "encoder", None)
    if encoder is None:
        if frozen:
            raise FeathersegError(
                "freeze.epochs",
                expected="a network on a backbone",
                got=type(network).__name__,
                remedy="freeze.epochs=0",
            )
        return
    for parameter in encoder.parameters():
        parameter.requires_grad_(not frozen)


def parameter_groups(network: SegNetwork, encoder_lr: float) -> list[dict[str, object]]:
    """The optimiser's groups, the encoder's and the rest's, each with the "scale" that the rate is multiplied by."""
    encoder = getattr(network, "encoder", None)
    if encoder is None or encoder_lr == 1:
        return [{"params": list(network.parameters()), "scale": 1.0}]
    inside = {id(parameter) for parameter in encoder.parameters()}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    return [{"params": list(encoder.parameters()), "scale": encoder_lr}, {"params": rest, "scale": 1.0}]
