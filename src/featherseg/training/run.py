"""A run as one complete, frozen value: written to run.json before the first step, and enough to rebuild everything."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

import torch

from featherseg.data import FORMATS
from featherseg.data.augment import Augment
from featherseg.losses import LOSSES
from featherseg.models import MODELS
from featherseg.runtime.artefact import InputRule, Preprocessing
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.training.schedules import SCHEDULES

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Part:
    """A choice from a menu with its fields: a model, a loss, a schedule, an optimiser."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

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
        cache: keep decoded pictures in memory.
    """

    format: str = "auto"
    root: str = ""
    train: str = "train"
    val: str = "val"
    cache: bool = True


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that one training is.

    Attributes:
        recipe: the name it was made by.
        model: network and fields.
        data: the labelled pictures.
        augment: what training does to a picture.
        loss: loss and fields; class frequencies are counted from the data where the loss wants them.
        optim: optimiser and fields (lr, weight_decay, momentum ...).
        schedule: learning rate over the steps, and fields; warmup_epochs is turned into steps.
        preprocessing: mean and std of the input.
        input_rule: the size pictures are scored at.
        epochs: passes over the training split.
        batch_size: pictures a step.
        aux_weight: weight of each auxiliary head's loss.
        ema: decay of the averaged weights; 0 for none.
        precision: "fp32" or "bf16" (autocast).
        channels_last: memory layout of the network and its input.
        val_every: epochs between validations; the last epoch always validates.
        workers: processes that prepare batches.
        seed: of weights, order and augmentation.
        deterministic: ask torch for deterministic kernels.
        device: "auto", "cpu", "cuda" or "mps".
        init: a checkpoint to start from.
        out: the run directory.
    """

    recipe: str
    model: Part
    data: DataSpec
    augment: Augment
    loss: Part
    optim: Part
    schedule: Part
    preprocessing: Preprocessing = Preprocessing()
    input_rule: InputRule = InputRule()
    epochs: int = 100
    batch_size: int = 8
    warmup_epochs: float = 0.0
    aux_weight: float = 0.4
    ema: float = 0.999
    precision: str = "fp32"
    channels_last: bool = True
    val_every: int = 1
    workers: int = 1
    seed: int = 0
    deterministic: bool = False
    device: str = "auto"
    init: str = ""
    out: str = ""

    def __post_init__(self) -> None:
        refuse_unknown("model", self.model.name, MODELS)
        MODELS[self.model.name].of(dict(self.model.fields))
        check_fields("loss", self.loss, LOSSES)
        check_fields("schedule", self.schedule, SCHEDULES, hidden=("lr", "steps", "warmup_steps"))
        check_optimiser(self.optim)
        refuse_unknown("data.format", self.data.format, ("auto", *FORMATS))
        refuse_unknown("precision", self.precision, PRECISIONS)
        for name, least in (("epochs", 1), ("batch_size", 1), ("val_every", 1), ("workers", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise FeathersegError(name, expected=f"{least} or more", got=getattr(self, name))
        if not 0 <= self.warmup_epochs < math.inf:
            raise FeathersegError("warmup_epochs", expected="0 or more", got=self.warmup_epochs)
        if not len(self.preprocessing.mean) == len(self.preprocessing.std) == 3 or min(self.preprocessing.std) <= 0:
            raise FeathersegError(
                "preprocessing", expected="three means and three positive std", got=self.preprocessing
            )
        if not 0 <= self.ema < 1:
            raise FeathersegError("ema", expected="a decay in 0 <= ema < 1", got=self.ema)

    def to_json(self) -> dict[str, Any]:
        """The run as JSON values."""
        value = {}
        for item in dataclasses.fields(self):
            part = getattr(self, item.name)
            if isinstance(part, Part):
                part = part.to_json()
            elif dataclasses.is_dataclass(part) and not isinstance(part, type):
                part = dataclasses.asdict(part)
            value[item.name] = part
        return json.loads(json.dumps(value))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Run:
        """The inverse of `to_json`."""
        hints = get_type_hints(cls)
        fields: dict[str, Any] = {}
        for name, item in value.items():
            refuse_unknown("run", name, hints)
            hint = hints[name]
            if hint is Part:
                fields[name] = Part.from_json(item)
            elif dataclasses.is_dataclass(hint):
                values = {key: tuple(v) if isinstance(v, list) else v for key, v in item.items()}
                fields[name] = hint(**values)  # type: ignore[operator]
            else:
                fields[name] = item
        return cls(**fields)


def check_fields(what: str, part: Part, menu: Mapping[str, type], *, hidden: Sequence[str] = ()) -> None:
    """Refuse an unknown name, a field that the named entry lacks or that the run fills in itself, a value of no use."""
    refuse_unknown(what, part.name, menu)
    hints = get_type_hints(menu[part.name])
    own = [item.name for item in dataclasses.fields(menu[part.name]) if item.name not in hidden]
    for name, value in part.fields.items():
        refuse_unknown(f"{what} field", name, own)
        values = value if isinstance(value, (list, tuple)) and hints[name] not in (int, float, bool, str) else [value]
        numeric = hints[name] not in (bool, str)
        if numeric and not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in values):
            raise FeathersegError(f"{what}.{name}", expected="a number", got=repr(value))


def check_optimiser(part: Part) -> None:
    """Refuse an unknown optimiser, and fields that it does not take; torch itself is the judge of their values."""
    refuse_unknown("optim", part.name, OPTIMISERS)
    taken = [name for name in inspect.signature(OPTIMISERS[part.name]).parameters if name != "params"]
    for name in ("lr", *part.fields):
        refuse_unknown("optim field", name, taken)
    if not isinstance(part.fields.get("lr"), (int, float)):
        raise FeathersegError("optim.lr", expected="a number", got=repr(part.fields.get("lr")))
    try:
        OPTIMISERS[part.name]([torch.zeros(1, requires_grad=True)], **part.fields)
    except (TypeError, ValueError) as error:
        raise FeathersegError(f"optim {part.name}: {error}") from error


def with_overrides(run: Run, words: Sequence[str]) -> Run:
    """A checked copy of the run with each ``key=value`` set: epochs=20, data.root=DIR, model.fusion=ewa, loss=wcel."""
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise FeathersegError(f"{word!r}", expected="key=value", remedy="for instance epochs=20 data.root=DIR")
        run = with_value(run, key, text)
    return run


def with_value(run: Run, key: str, text: str) -> Run:
    """A checked copy of the run with one key set from its text."""
    head, _, tail = key.partition(".")
    hints = get_type_hints(Run)
    refuse_unknown("key", head, [name for name in hints if name != "recipe"])
    old = getattr(run, head)
    if isinstance(old, Part):
        new: Any = Part(old.name, {**old.fields, tail: parse(text)}) if tail else Part(text)
        if head == "optim" and not tail:
            new = Part(text, old.fields)
    elif dataclasses.is_dataclass(old) and not isinstance(old, type):
        names = [item.name for item in dataclasses.fields(old)]
        refuse_unknown("key", key, [f"{head}.{name}" for name in names])
        value = parse_as(getattr(old, tail), text, key)
        try:
            new = replace(old, **{tail: value})
        except FeathersegError:
            raise
        except (TypeError, ValueError) as error:
            raise FeathersegError(f"{key}={text}", expected=f"a value like {getattr(old, tail)}") from error
    else:
        if tail:
            raise FeathersegError(f"key {key!r}", expected=f"{head}=VALUE", remedy=f"{head} has no parts")
        new = parse_as(old, text, key)
    try:
        return replace(run, **{head: new})
    except FeathersegError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FeathersegError(f"{key}={text}", expected=f"a value like {old!r}", got=str(error)) from error


def parse(text: str) -> Any:
    """JSON where it is JSON, else the text itself: 3, 0.5, true, null, [1, 2], word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        lowered = text.lower()
        return {"true": True, "false": False, "none": "none"}.get(lowered, text)


def parse_as(old: Any, text: str, key: str) -> Any:
    """The text as a value of the type of `old`; sizes may be written HxW and lists a,b."""
    if isinstance(old, bool):
        value = parse(text)
        if not isinstance(value, bool):
            raise FeathersegError(key, expected="true or false", got=repr(text))
        return value
    if isinstance(old, str):
        return text
    try:
        if isinstance(old, int):
            return int(text)
        if isinstance(old, float):
            return float(text)
        if text.lower() in ("own", "none"):
            return None
        numbers = [float(part) for part in text.strip("[]()").replace("x", ",").split(",")]
    except ValueError as error:
        kind = {int: "a whole number", float: "a number"}.get(type(old), "numbers like 360x480 or 0.5,2")
        raise FeathersegError(key, expected=kind, got=repr(text)) from error
    return tuple(int(number) if number.is_integer() else number for number in numbers)
