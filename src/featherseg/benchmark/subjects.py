"""A case opened: a network that can be run stage by stage, from the picture to its labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from PIL import Image

from featherseg.benchmark.cases import OWN, Case
from featherseg.benchmark.graphs import AnyGraph
from featherseg.benchmark.plan import Size
from featherseg.benchmark.tails import Labels, Scores, tail_labels
from featherseg.runtime.artefact import Artefact, InputRule
from featherseg.runtime.engines import open_engine
from featherseg.runtime.pixels import Picture
from featherseg.runtime.predictor import prepare


class Subject(ABC):
    """A network in an engine.

    Attributes:
        case: what it was opened from.
        artefact: what it says of itself; None for a foreign file.
        precision: what it calculates in: fp32, bf16, int8; "unknown" for a foreign file.
        stand_in: scores (C,h,w) that labels are made of instead of its own.
        device_ms: milliseconds that the last picture took on the device itself; None where nothing measures that.
    """

    stand_in: Scores | None = None
    device_ms: float | None = None

    def __init__(self, case: Case, artefact: Artefact | None) -> None:
        self.case, self.artefact = case, artefact
        self.align_corners = artefact is not None and artefact.align_corners
        self.precision = own_precision(artefact) if case.precision == OWN else case.precision

    def prepare(self, picture: Picture) -> Any:
        """uint8 (H,W,3) -> what the network takes, as a Predictor does it."""
        framed, _ = prepare(picture, InputRule(size=self.case.size))
        return framed

    @abstractmethod
    def network(self, value: Any) -> Any:
        """What the network takes -> what it gives, calculated to the end: scores (C,h,w) or labels (H,W)."""

    def labels(self, result: Any, size: Size) -> Labels:
        """What the network gives -> uint8 (H,W) of the picture's size, by the case's tail."""
        if result.ndim == 2:
            return fitted(result.astype(np.uint8), size)
        scores = result if self.stand_in is None else self.stand_in
        return tail_labels(self.case.tail, scores, size, align_corners=self.align_corners, threads=self.case.threads)

    def scores_of(self, result: Any) -> Scores | None:
        """float32 (C,h,w); None where the network gives labels."""
        return np.asarray(result, np.float32) if result.ndim == 3 else None


class EngineSubject(Subject):
    """A file that featherseg exported, run as a Predictor runs it."""

    def __init__(self, case: Case) -> None:
        self.engine = open_engine(case.file, backend=case.backend, device=case.device, threads=case.threads)
        super().__init__(case, self.engine.artefact)

    def network(self, value: Any) -> Any:
        """uint8 (H,W,3) -> scores."""
        return self.engine(value)


class GraphSubject(Subject):
    """Another's ONNX file, or one of ours with the usual tail in its graph."""

    def __init__(self, case: Case, graph: AnyGraph) -> None:
        self.graph = graph
        super().__init__(case, graph.artefact)

    def prepare(self, picture: Picture) -> Any:
        """With mean and std where the graph wants them applied."""
        return self.graph.input.value(super().prepare(picture))

    def network(self, value: Any) -> Any:
        """See `Subject`."""
        return self.graph(value)


def open_subject(case: Case) -> Subject:
    """The case, ready to run; only a case in torch imports torch."""
    if case.backend == "torch":
        from featherseg.benchmark.torch_subject import TorchSubject

        return TorchSubject(case)
    if case.backend == "onnxruntime":
        graph = AnyGraph(case.file, device=case.device, threads=case.threads)
        if graph.artefact is None or graph.gives == "labels":
            return GraphSubject(case, graph)
    return EngineSubject(case)


def own_precision(artefact: Artefact | None) -> str:
    """What a file calculates in, by its card; weights stored as fp16 are widened on opening."""
    if artefact is None:
        return "unknown"
    export = artefact.card.get("export")
    stored = export.get("precision") if isinstance(export, dict) else None
    return "fp32" if stored in (None, "fp16") else str(stored)


def fitted(labels: Labels, size: Size) -> Labels:
    """Labels of the picture's size from labels of the network's, where those differ: the nearest."""
    if labels.shape == size:
        return labels
    return np.asarray(Image.fromarray(labels).resize((size[1], size[0]), Image.Resampling.NEAREST))
