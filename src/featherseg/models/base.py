"""The contract of every network: what it takes, what it gives, how it is configured."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, Self, SupportsIndex, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from featherseg.backbones import require_backbone
from featherseg.nn.blocks import resize, size_of
from featherseg.runtime.classes import MOST_CLASSES
from featherseg.runtime.errors import FeathersegError, refuse_unknown


class SegOutput(NamedTuple):
    """What `SegNetwork.forward` returns, in training and evaluation alike.

    Attributes:
        logits: (N,num_classes,h,w) at the network's own stride.
        aux_logits: scores of the auxiliary heads, each at its own size; empty where the network has none.
        presence: (N,num_classes) logits of which classes occur in the picture, where the network has that head.
    """

    logits: Tensor
    aux_logits: tuple[Tensor, ...] = ()
    presence: Tensor | None = None


class SegNetwork(nn.Module, ABC):
    """A segmentation network; `forward` ends at the classifier, at the network's own stride.

    Attributes:
        num_classes: channels of the logits.
        stride: input pixels per score cell.
        align_corners: how the paper resizes scores to the picture.
        has_image_pooling: whether a branch normalises a 1x1 map, so that a training batch needs two pictures.
    """

    num_classes: int
    stride: int
    align_corners: bool = False
    has_image_pooling: bool = False

    @abstractmethod
    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W), normalised, H and W >= 32 -> `SegOutput`."""

    def logits(self, images: Tensor) -> Tensor:
        """float32 (N,3,H,W), normalised -> (N,num_classes,H,W): the scores at input size."""
        return resize(self(images).logits, size_of(images), align_corners=self.align_corners)

    def deployed(self) -> Self:
        """A copy without what only training uses: auxiliary and presence heads, neither run nor in its state dict."""
        network = copy.deepcopy(self)
        network.drop_training_heads()
        return network

    def drop_training_heads(self) -> None:
        """Take out, in place, what only training uses; a network that has such heads overrides this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """A paper's network as JSON scalars.

    A field of type Literal lists the values of an ablation, the paper's own first. A field `backbone` takes
    what `featherseg.backbones` lists, or `timm:NAME`.
    """

    paper: ClassVar[str]
    title: ClassVar[str]

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal:
                refuse_unknown(f"model.{name}", getattr(self, name), get_args(hint))
            elif name == "backbone":
                require_backbone(getattr(self, name))

    @abstractmethod
    def build(self, num_classes: int) -> SegNetwork:
        """The network, with random weights unless a field says otherwise."""

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @classmethod
    def choices(cls) -> dict[str, tuple[Any, ...]]:
        """Field name -> allowed values, for the fields that have a closed list."""
        hints = get_type_hints(cls)
        return {name: get_args(hints[name]) for name in cls.fields() if get_origin(hints[name]) is Literal}

    @classmethod
    def of(cls, values: dict[str, Any]) -> ModelConfig:
        """The configuration with these fields; an unknown one is refused with the nearest name."""
        for name in values:
            refuse_unknown("model field", name, cls.fields())
        return cls(**values)


def require_classes(num_classes: int) -> None:
    """Refuse a class count that no mask can hold."""
    whole = isinstance(num_classes, SupportsIndex) and not isinstance(num_classes, bool)
    if not whole or not 1 <= num_classes <= MOST_CLASSES:
        raise FeathersegError("num_classes", expected=f"a whole number, 1..{MOST_CLASSES}", got=repr(num_classes))
