"""What a run of the benchmark is told: candidates as one types them, and its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featherseg.benchmark.tails import TAILS
from featherseg.benchmark.timing import Race
from featherseg.runtime.engines import BACKENDS
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.machine import usable_cores

MODES = ("eager", "channels_last", "compiled", "cudagraph")
ASKED = ("fp32", "bf16", "int8")
DEVICES = ("cpu", "cuda")
NUM_CLASSES = 19

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run of the benchmark is told.

    Attributes:
        candidates: as one types them, see `Candidate`.
        sizes: (height, width) of the network's input.
        backends: "auto" takes the candidate's first installed one, and onnxruntime for a network by name.
        precisions, modes: of networks by name, as far as their backend has them; empty: fp32, eager.
        threads: numbers of threads; all cores by default.
        batches: pictures at a time; more than one in torch only.
        device: cpu, or cuda.
        num_classes: of networks by name; None: `NUM_CLASSES`.
        picture: a file that is decoded and resized within each call; None: a street, in memory, of the network's size.
        memory: whether the peak memory is measured, each case in a process of its own.
        layers: whether each layer of the exported files is timed, too, after the race.
    """

    candidates: tuple[str, ...]
    sizes: tuple[Size, ...]
    backends: tuple[str, ...] = ("auto",)
    precisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    threads: tuple[int, ...] = field(default_factory=lambda: (usable_cores(),))
    batches: tuple[int, ...] = (1,)
    device: str = "cpu"
    num_classes: int | None = None
    picture: Path | None = None
    memory: bool = False
    layers: bool = False
    race: Race = field(default_factory=Race)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """``WHAT[,tail=TAIL][,FIELD=VALUE...]``.

    Attributes:
        text: as typed.
        what: a name of weights, a path, or the name of a network.
        tail: how its labels are made.
        fields: of a network by name.
    """

    text: str
    what: str
    tail: str
    fields: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """What one types; a path may contain commas where a file is called so."""
        if Path(text).expanduser().exists():
            return cls(text=text, what=text, tail="exact", fields={})
        what, *words = text.split(",")
        fields: dict[str, Any] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not (key and equals and value):
                raise FeathersegError(
                    f"candidate {text!r}: {word!r}", expected="key=value", remedy="for instance affnet,tail=plain"
                )
            fields[key] = scalar(value)
        tail = str(fields.pop("tail", "exact"))
        refuse_unknown(f"candidate {text!r}: tail", tail, TAILS)
        return cls(text=text, what=what, tail=tail, fields=fields)


def scalar(text: str) -> Any:
    """``8`` -> 8, ``true`` -> True; other words stay words."""
    try:
        value = json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float)) else text


def check(plan: Plan) -> None:
    """Refuse values that no run can have."""
    for what, values, menu in (
        ("device", (plan.device,), DEVICES),
        ("backend", plan.backends, ("auto", *BACKENDS)),
        ("mode", plan.modes, MODES),
        ("precision", plan.precisions, ASKED),
    ):
        for value in values:
            refuse_unknown(what, value, menu)
    for what, numbers in (("threads", plan.threads), ("batch", plan.batches)):
        refuse_below_one(what, numbers)


def refuse_below_one(what: str, numbers: Sequence[int]) -> None:
    """Raise unless all are 1 or more."""
    for number in numbers:
        if number < 1:
            raise FeathersegError(what, expected="1 or more", got=number)
