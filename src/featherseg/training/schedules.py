"""Learning rates: `SCHEDULES[name](...)(step) -> learning rate`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from featherseg.runtime.errors import FeathersegError


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """The learning rate as a function of the step.

    Attributes:
        lr: the base learning rate.
        steps: optimiser steps of the whole schedule.
        warmup_steps: steps over which the rate rises linearly to its scheduled value.
        hold: steps that share one rate, those of an epoch for instance: the scheduled rate of the first of them; the
            rise goes in equal parts of so many steps, and none is left at a rate near 0.
    """

    lr: float
    steps: int
    warmup_steps: int = 0
    hold: int = 1

    def __call__(self, step: int) -> float:
        """The rate of step 0 .. steps-1."""
        held = step - step % self.hold
        rise = min(1.0, (held + self.hold) / (self.warmup_steps + self.hold))
        return rise * self.lr * self.factor(min(1.0, held / self.steps))

    @abstractmethod
    def factor(self, done: float) -> float:
        """The rate over the base rate, without the warm-up, when this share 0..1 of the steps is done."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The base rate throughout."""

    def factor(self, done: float) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Poly(Schedule):
    """lr * (1 - step / steps) ** power (DeepLab; the papers' power is 0.9)."""

    power: float = 0.9

    def __post_init__(self) -> None:
        if self.power < 0:
            raise FeathersegError("schedule.power", expected="0 or more", got=self.power)

    def factor(self, done: float) -> float:
        """(1 - done) ** power."""
        return float((1 - done) ** self.power)


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Falls by equal factors in equal parts of the run, from the base rate to `final` times it (paper 003).

    Attributes:
        levels: how many rates there are; 10 over 100 epochs changes every ten.
        final: the last rate over the base rate.
    """

    levels: int = 10
    final: float = 0.01

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise FeathersegError("schedule.levels", expected="2 or more", got=self.levels)
        if not 0 < self.final <= 1:
            raise FeathersegError("schedule.final", expected="more than 0, at most 1", got=self.final)

    def factor(self, done: float) -> float:
        """final ** (level / (levels - 1))."""
        level = min(self.levels - 1, math.floor(done * self.levels + 1e-9))
        return float(self.final ** (level / (self.levels - 1)))


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Quadratic warm-up, half a cosine, and a tail at the final rate (paper 003's code family).

    Attributes:
        warmup: share of the run that warms up.
        start: the first rate over the base rate, where there is a warm-up.
        tail: share of the run that stays at the final rate.
        final: the final rate over the base rate.
    """

    warmup: float = 0.03
    start: float = 0.1
    tail: float = 0.15
    final: float = 0.01

    def __post_init__(self) -> None:
        if min(self.warmup, self.tail) < 0 or self.warmup + self.tail >= 1:
            shares = "shares of 0 or more, together below 1"
            raise FeathersegError("schedule.warmup and .tail", expected=shares, got=f"{self.warmup} and {self.tail}")
        for name in ("start", "final"):
            if not 0 <= getattr(self, name) <= 1:
                raise FeathersegError(f"schedule.{name}", expected="0..1", got=getattr(self, name))

    def factor(self, done: float) -> float:
        """start + (1 - start) * (done / warmup)**2, then final + (1 - final) * (1 + cos) / 2, then final."""
        if done < self.warmup:
            return self.start + (1 - self.start) * (done / self.warmup) ** 2
        if done >= 1 - self.tail:
            return self.final
        turned = (done - self.warmup) / (1 - self.warmup - self.tail)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * turned)) / 2


SCHEDULES: dict[str, type[Schedule]] = {"poly": Poly, "step": Step, "cos": Cosine, "constant": Constant}
