"""Scoring the weights of a run that is under way, each process its share of the val split."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

from featherseg.evaluation import evaluate
from featherseg.metrics import Scores
from featherseg.models.engine import TorchEngine, stripped
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.predictor import Predictor
from featherseg.training.card import artefact_of
from featherseg.training.directory import diverged
from featherseg.training.pictures import Samples

if TYPE_CHECKING:
    from featherseg.training.loop import Training


def scored(training: Training) -> tuple[Scores, Samples]:
    """The scores of the deployable weights over all processes, and some pictures of this one's share."""
    world, artefact = training.world, artefact_of(training, None, epochs_done=0)
    weights = training.weights()
    world.share(weights.values())  # batch-norm statistics may differ between processes
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        epoch = training.progress.epoch + 1
        raise diverged(f"the weights are not finite after epoch {epoch}", training.run, training.folder)
    network = copy.deepcopy(training.network)
    network.load_state_dict(weights)
    engine = TorchEngine(stripped(network, world.device), artefact, device=world.device)
    mine = training.val_data.every(world.size, world.rank)
    samples = Samples(training.run.samples, len(mine), mine.classes)
    scores = evaluate(Predictor(engine, artefact), mine, progress=training.reporter.validating, observe=samples)
    confusion = world.total(torch.from_numpy(scores.confusion).to(world.device)).cpu().numpy()
    scores = Scores(confusion, scores.classes)
    if math.isnan(scores.miou):
        raise FeathersegError(f"{training.val_data.root}: no pixel of the {training.val_data.split} split has a class")
    return scores, samples
