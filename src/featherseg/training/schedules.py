"""Learning rates: `SCHEDULES[name](...)(step) -> learning rate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """The learning rate as a function of the step.

    Attributes:
        lr: the base learning rate.
        steps: optimiser steps of the whole run.
        warmup_steps: steps over which the rate rises linearly to its scheduled value.
    """

    lr: float
    steps: int
    warmup_steps: int = 0

    def __call__(self, step: int) -> float:
        """The rate of step 0 .. steps-1."""
        rise = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return rise * self.scheduled(step)

    @abstractmethod
    def scheduled(self, step: int) -> float:
        """The rate without the warm-up."""


@dataclass(frozen=True, kw_only=True)
class Poly(Schedule):
    """lr * (1 - step / steps) ** power, per step (DeepLab; the papers' power is 0.9)."""

    power: float = 0.9

    def scheduled(self, step: int) -> float:
        """The rate without the warm-up."""
        return float(self.lr * max(0.0, 1 - step / self.steps) ** self.power)


SCHEDULES: dict[str, type[Schedule]] = {"poly": Poly}
