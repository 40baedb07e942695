"""A run as one complete, frozen value: written to run.json before the first step, and enough to rebuild everything."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, get_args, get_origin, get_type_hints

import torch

from featherseg.data import FORMATS
from featherseg.data.augment import Augment
from featherseg.losses import LOSSES
from featherseg.models import MODELS
from featherseg.runtime.artefact import InputRule, Preprocessing
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.training.parts import DataSpec, Distill, Freeze, Part
from featherseg.training.schedules import SCHEDULES

OPTIMISERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
MENUS: dict[str, Mapping[str, type]] = {
    "model": MODELS,
    "loss": LOSSES,
    "optim": OPTIMISERS,
    "schedule": SCHEDULES,
}
"""What the parts of a run are chosen from."""

FILLED_IN = {
    "schedule": ("lr", "steps", "warmup_steps", "hold"),
    "optim": ("params", "maximize", "capturable", "differentiable"),
}
"""Fields that training itself sets, or has no use for."""

PRECISIONS = ("fp32", "bf16", "fp16")
LR_SCALINGS = ("none", "batch16")
LR_EVERY = ("step", "epoch")
LARGEST_SEED = 2**63 - 1  # torch takes no larger one


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
        distill: a trained network to learn from beside the labels.
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
    distill: Distill = Distill()
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
        for what, part in (("loss", self.loss), ("schedule", self.schedule), ("optim", self.optim)):
            check_fields(what, part)
        LOSSES[self.loss.name](**self.loss.fields)
        SCHEDULES[self.schedule.name](lr=1.0, steps=100, **self.schedule.fields)
        check_optimiser(self.optim)
        refuse_unknown("data.format", self.data.format, ("auto", *FORMATS))
        refuse_unknown("precision", self.precision, PRECISIONS)
        refuse_unknown("lr_scaling", self.lr_scaling, LR_SCALINGS)
        refuse_unknown("lr_every", self.lr_every, LR_EVERY)
        for name in ("epochs", "batch_size", "accumulate", "val_every"):
            require_least(name, getattr(self, name), 1)
        for name in ("workers", "seed", "patience", "samples", "encoder_lr", "aux_weight", "warmup_epochs"):
            require_least(name, getattr(self, name), 0)
        for name in ("epochs", "batch_size", "lr"):
            require_least(f"freeze.{name}", getattr(self.freeze, name), 0)
        if self.freeze.epochs >= self.epochs:
            expected, remedy = f"fewer than epochs={self.epochs}", f"for instance freeze.epochs={self.epochs // 2}"
            raise FeathersegError("freeze.epochs", expected=expected, got=self.freeze.epochs, remedy=remedy)
        if self.seed > LARGEST_SEED:
            raise FeathersegError("seed", expected=f"0 to {LARGEST_SEED}", got=self.seed)
        mean, std = self.preprocessing.mean, self.preprocessing.std
        if not (len(mean) == len(std) == 3 and all(map(math.isfinite, (*mean, *std))) and min(std) > 0):
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
    """Refuse a number below the least that makes sense, and what is none."""
    if not least <= value < math.inf:
        raise FeathersegError(name, expected=f"{least} or more", got=value)


def fields_of(what: str, name: str) -> dict[str, Any]:
    """The fields that a run may set of an entry of a menu -> their types."""
    entry: Any = MENUS[what][name]
    if what == "optim":
        hints = {key: kind_of(item.default) for key, item in inspect.signature(entry).parameters.items()}
    else:
        types = get_type_hints(entry)
        hints = {item.name: types[item.name] for item in dataclasses.fields(entry)}
    return {key: hint for key, hint in hints.items() if key not in FILLED_IN.get(what, ())}


def kind_of(default: object) -> Any:
    """The type of an optimiser's field by its default; its numbers may all have a fraction."""
    if isinstance(default, bool):
        return bool
    if isinstance(default, tuple):
        return GenericAlias(tuple, (float,) * len(default))
    return float if isinstance(default, (int, float)) else Any


def check_fields(what: str, part: Part) -> None:
    """Refuse an unknown name, a field that the named entry lacks or that training sets itself, what is no number."""
    refuse_unknown(what, part.name, MENUS[what])
    hints = fields_of(what, part.name)
    for name, value in part.fields.items():
        refuse_unknown(f"{what} field", name, hints)
        hint, key = hints[name], f"{what}.{name}"
        if get_origin(hint) is tuple:
            count = 0 if Ellipsis in get_args(hint) else len(get_args(hint))
            listed = isinstance(value, tuple) and len(value) == (count or len(value))
            if not listed or not all(is_number(item) for item in value):
                raise FeathersegError(key, expected=f"{count or 'some'} numbers like 0.9,0.99", got=repr(value))
        elif hint is int and not (is_number(value) and value == int(value)):
            raise FeathersegError(key, expected="a whole number", got=repr(value))
        elif hint is float and not is_number(value):
            raise FeathersegError(key, expected="a number", got=repr(value))


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_optimiser(part: Part) -> None:
    """Refuse an optimiser without lr, or with values of no use; of these torch itself is the judge."""
    if not is_number(part.fields.get("lr")):
        raise FeathersegError("optim.lr", expected="a number", got=repr(part.fields.get("lr")))
    try:
        OPTIMISERS[part.name]([torch.zeros(1, requires_grad=True)], **part.fields)
    except (TypeError, ValueError, RuntimeError) as error:
        raise FeathersegError(f"optim {part.name}: {error}") from error
