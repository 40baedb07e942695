"""A run as one complete, frozen value: written to run.json before the first step, and enough to rebuild everything."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
PRECISIONS = ("fp32", "bf16", "fp16")
LR_SCALINGS = ("none", "batch16")
LR_EVERY = ("step", "epoch")


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
        epochs: how long it lasts; 0 for never.
        batch_size: pictures a step meanwhile; 0 for the run's.
        lr: base learning rate meanwhile; 0 for the run's.
        restart: whether the schedule begins anew when thawed, instead of going on with the run's epochs.
    """

    epochs: int = 0
    batch_size: int = 0
    lr: float = 0.0
    restart: bool = False


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
        batch_size: pictures an optimiser step, over all processes.
        accumulate: parts that each process takes its share of a batch in, one after the other, to need less memory.
        freeze: a first phase with the encoder's weights as they are.
        warmup_epochs: the rate rises linearly over these.
        lr_scaling: "none", or "batch16": the base rate times batch_size / 16, clamped to 5e-4..0.1 (paper 003).
        lr_every: whether the rate changes every "step" or every "epoch".
        encoder_lr: what the rate is multiplied by for the encoder of a network on a backbone.
        aux_weight: weight of each auxiliary head's loss.
        ema: decay of the averaged weights; 0 for none.
        precision: "fp32", or autocast to "bf16" or "fp16" (with loss scaling).
        channels_last: memory layout of the network and its input.
        compile: run the network through torch.compile.
        sync_bn: under several processes, normalise over the whole batch rather than over each process's part.
        val_every: epochs between validations; the last epoch always validates.
        patience: validations without a new best after which the run ends early; 0 for never.
        samples: validation pictures drawn to samples.png at each validation.
        tensorboard: whether to log for TensorBoard too, where it is installed.
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
    accumulate: int = 1
    freeze: Freeze = Freeze()
    warmup_epochs: float = 0.0
    lr_scaling: str = "none"
    lr_every: str = "step"
    encoder_lr: float = 1.0
    aux_weight: float = 0.4
    ema: float = 0.999
    precision: str = "fp32"
    channels_last: bool = True
    compile: bool = False
    sync_bn: bool = True
    val_every: int = 1
    patience: int = 0
    samples: int = 4
    tensorboard: bool = True
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
        check_fields("schedule", self.schedule, SCHEDULES, hidden=("lr", "steps", "warmup_steps", "hold"))
        check_optimiser(self.optim)
        refuse_unknown("data.format", self.data.format, ("auto", *FORMATS))
        refuse_unknown("precision", self.precision, PRECISIONS)
        refuse_unknown("lr_scaling", self.lr_scaling, LR_SCALINGS)
        refuse_unknown("lr_every", self.lr_every, LR_EVERY)
        for name in ("epochs", "batch_size", "accumulate", "val_every"):
            require_least(name, getattr(self, name), 1)
        for name in ("workers", "seed", "patience", "samples", "encoder_lr"):
            require_least(name, getattr(self, name), 0)
        for name in ("epochs", "batch_size", "lr"):
            require_least(f"freeze.{name}", getattr(self.freeze, name), 0)
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


def require_least(name: str, value: float, least: int) -> None:
    """Refuse a number below the least that makes sense."""
    if value < least:
        raise FeathersegError(name, expected=f"{least} or more", got=value)


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
