"""What a run is put together from: choices from menus, the data, a frozen phase, a teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featherseg.runtime.errors import FeathersegError


@dataclass(frozen=True)
class Part:
    """A choice from a menu with its fields: a model, a loss, a schedule, an optimiser. Lists are kept as tuples."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fields = {key: tuple(item) if isinstance(item, list) else item for key, item in self.fields.items()}
        object.__setattr__(self, "fields", fields)

    def to_json(self) -> dict[str, Any]:
        """{"name": ..., field: value ...}."""
        return {"name": self.name, **self.fields}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Part:
        """The inverse of `to_json`."""
        return cls(value["name"], {key: item for key, item in value.items() if key != "name"})


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where the labelled pictures are.

    Attributes:
        format: one of `featherseg.data.FORMATS`, or "auto".
        root: the data set's folder.
        train: the split that is learned from.
        val: the split that choices are made on.
        classes: the classes to learn, in the order of their ids; every other one is ignored. Empty for all.
        cache: keep decoded pictures in memory.
    """

    format: str = "auto"
    root: str = ""
    train: str = "train"
    val: str = "val"
    classes: tuple[str, ...] = ()
    cache: bool = True


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """A first phase in which the encoder's weights stay as they are (paper 003).

    Attributes:
        epochs: how long it lasts, less than the run; 0 for never.
        batch_size: pictures a step meanwhile; 0 for the run's.
        lr: base learning rate meanwhile; 0 for the run's.
        restart: whether the schedule begins anew when thawed, instead of going on with the run's epochs.
    """

    epochs: int = 0
    batch_size: int = 0
    lr: float = 0.0
    restart: bool = False


@dataclass(frozen=True, kw_only=True)
class Distill:
    """A trained network to learn from beside the labels (Hinton et al. 2015).

    Attributes:
        teacher: its name, run directory, path or hub id, with the classes of the data; empty for none.
        weight: what its divergence counts beside the loss.
        temperature: what both networks' scores are divided by; above 1 the unlikely classes count more.
    """

    teacher: str = ""
    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise FeathersegError("distill.weight", expected="0 or more", got=self.weight)
        if not 0 < self.temperature < math.inf:
            raise FeathersegError("distill.temperature", expected="above 0", got=self.temperature)
        if not self.teacher and (self.weight, self.temperature) != (1.0, 1.0):
            raise FeathersegError("distill", expected="distill.teacher, whose weight and temperature these are")
