"""Scores over a whole data set from one confusion matrix, at the masks' own size."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from featherseg.data import Sample, SegData
from featherseg.metrics import Counts, Scores, confusion_matrix
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.machine import usable_cores
from featherseg.runtime.predictor import Predictor, Prepared, Size
from featherseg.runtime.stream import spread

if TYPE_CHECKING:
    from featherseg.models import SegNetwork

READERS = min(4, usable_cores())
"""Threads that read: one keeps up with a network on a CPU; a GPU outruns the decoding of large PNG files by far."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """One picture beside its truth.

    Attributes:
        sample: the picture and its true class ids.
        mask: uint8 (H,W), the predicted ones.
        confusion: int64 (C,C), rows truth, columns prediction.
    """

    sample: Sample
    mask: npt.NDArray[np.uint8]
    confusion: Counts


Scored: TypeAlias = tuple[Sample, Prepared, npt.NDArray[np.float32]]
Observer: TypeAlias = Callable[[Judged], None]
"""Called with every picture as it has been judged; one that then says what it saw is a `Measure`."""


def evaluate(
    model: SegNetwork | Predictor,
    data: SegData,
    *,
    size: Size = None,
    progress: Callable[[int, int], None] | None = None,
    observe: Observer | Sequence[Observer] | None = None,
) -> Scores:
    """Predict every picture and count against its truth.

    Args:
        model: a Predictor, or a network, which runs where it lies, in evaluation mode; afterwards it is in the mode it
            was in. One of `from_pretrained` sees pictures as its attribute `artefact` says, another one
            ImageNet-normalised at their own size.
        data: labelled pictures; their classes must be the model's.
        size: as in `Predictor.__call__`: None for the artefact's input rule, "own", or (H, W).
        progress: called with (pictures done, pictures in all).
        observe: called with every picture as it has been judged; one or several, as those of `evaluation.detail`.

    Returns:
        Scores at the masks' own size; ignored pixels count nowhere. While the network runs on a picture, threads read
        the next ones and label the one before; what they do does not depend on when. Memory is that of a few pictures
        and the C x C matrix.
    """
    if not isinstance(model, Predictor):
        return evaluate(predictor_of(model, data), data, size=size, progress=progress, observe=observe)
    if model.classes.names != data.classes.names:
        raise FeathersegError(
            f"{data.root}: its classes are not the model's",
            expected=", ".join(model.classes.names),
            got=", ".join(data.classes.names),
            remedy=_remedy(model.classes.names, data.classes.names),
        )
    observers = [observe] if callable(observe) else list(observe or ())
    confusion = np.zeros((len(data.classes), len(data.classes)), np.int64)
    with closing(judged_pictures(model, data, size)) as pictures:
        for done, judged in enumerate(pictures, 1):
            confusion += judged.confusion
            for observer in observers:
                observer(judged)
            if progress is not None:
                progress(done, len(data))
    return Scores(confusion, data.classes)


def judged_pictures(predictor: Predictor, data: SegData, size: Size) -> Generator[Judged, None, None]:
    """Every picture, in order; the engine alone runs in the calling thread."""

    def read(index: int) -> tuple[Sample, Prepared]:
        sample = data.read(index)
        return sample, predictor.prepare(sample.image, size)

    def run(ready: tuple[Sample, Prepared]) -> Scored:
        return *ready, predictor.engine(ready[1].framed)

    def judge(scored: Scored) -> Judged:
        sample, prepared, scores = scored
        mask = predictor.label(prepared, scores).mask
        counts = confusion_matrix(mask, sample.mask, len(data.classes), ignore_index=data.classes.ignore_index)
        return Judged(sample=sample, mask=mask, confusion=counts)

    with (
        closing(spread(read, range(len(data)), threads=READERS)) as ready,
        closing(spread(judge, map(run, ready), threads=1)) as judged,
    ):
        yield from judged


def _remedy(wanted: Sequence[str], there: Sequence[str]) -> str:
    """What helps where a model's classes are some of the data's, or all in another order."""
    if set(wanted) <= set(there):
        return f"choose them from the data, --classes {','.join(wanted)}; every other one is then ignored"
    return "score it on data that have its classes"


def predictor_of(network: SegNetwork, data: SegData) -> Predictor:
    """A Predictor over a copy of a network made quicker, on the device that the network lies on."""
    from featherseg.models.engine import TorchEngine, stripped

    artefact = getattr(network, "artefact", None) or Artefact(
        classes=data.classes, align_corners=network.align_corners, stride=network.stride
    )
    device = next(network.parameters()).device
    return Predictor(TorchEngine(stripped(copy.deepcopy(network), device), artefact, device=device), artefact)
