"""Scores over a whole data set from one confusion matrix, at the masks' own size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from featherseg.data import SegData
from featherseg.metrics import Scores, confusion_matrix
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.predictor import Predictor, Size

if TYPE_CHECKING:
    from featherseg.models import SegNetwork


def evaluate(
    model: SegNetwork | Predictor,
    data: SegData,
    *,
    size: Size = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Predict every picture and count against its truth.

    Args:
        model: a Predictor, or a network, which runs where it lies, on ImageNet-normalised pictures of their own size.
        data: labelled pictures; their classes must be the model's.
        size: as in `Predictor.__call__`: None for the artefact's input rule, "own", or (H, W).
        progress: called with (pictures done, pictures in all).

    Returns:
        Scores at the masks' own size; ignored pixels count nowhere. Memory is that of one picture and the C x C matrix.
    """
    predictor = model if isinstance(model, Predictor) else predictor_of(model, data)
    if predictor.classes.names != data.classes.names:
        raise FeathersegError(
            f"{data.root}: its classes are not the model's",
            expected=", ".join(predictor.classes.names),
            got=", ".join(data.classes.names),
        )
    count = len(data.classes)
    confusion = np.zeros((count, count), np.int64)
    for index in range(len(data)):
        sample = data.read(index)
        mask = predictor(sample.image, size=size).mask
        confusion += confusion_matrix(mask, sample.mask, count, ignore_index=data.classes.ignore_index)
        if progress is not None:
            progress(index + 1, len(data))
    return Scores(confusion, data.classes)


def predictor_of(network: SegNetwork, data: SegData) -> Predictor:
    """A Predictor over a bare network, on the device it lies on; the network's mode is put back after use."""
    from featherseg.models.engine import TorchEngine

    artefact = Artefact(classes=data.classes, align_corners=network.align_corners, stride=network.stride)
    device = next(network.parameters()).device.type
    return Predictor(TorchEngine(network, artefact, device=device), artefact)
