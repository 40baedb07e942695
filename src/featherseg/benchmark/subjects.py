"""A case opened: a network that can be run stage by stage, from the picture to its labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from PIL import Image

from featherseg.benchmark.cases import OWN, Case
from featherseg.benchmark.graphs import AnyGraph
from featherseg.benchmark.plan import Size
from featherseg.benchmark.tails import Labels, Scores, plain_labels
from featherseg.runtime.artefact import Artefact, InputRule
from featherseg.runtime.axes import Box
from featherseg.runtime.engines import open_engine
from featherseg.runtime.labelling import label_scores
from featherseg.runtime.pixels import Pixels
from featherseg.runtime.predictor import prepare


class Subject(ABC):
    """A network in an engine.

    Attributes:
        case: what it was opened from.
        artefact: what it says of itself; None for a foreign file.
        rule: how it sees a picture.
        box: where in its input the latest picture lies.
        precision: what it calculates in: fp32, bf16, int8; "unknown" for a foreign file.
        stand_in: scores (C,h,w) that labels are made of instead of its own.
        device_ms: milliseconds that the last picture took on the device itself; None where nothing measures that.
    """

    box: Box
    stand_in: Scores | None = None
    device_ms: float | None = None

    def __init__(self, case: Case, artefact: Artefact | None) -> None:
        self.case, self.artefact = case, artefact
        self.rule = rule_of(case, artefact)
        self.align_corners = artefact is not None and artefact.align_corners
        self.precision = own_precision(artefact) if case.precision == OWN else case.precision

    def prepare(self, picture: Pixels) -> Any:
        """A picture -> what the network takes, uint8 (H,W,3) of the case's size, by what a Predictor calls."""
        framed, self.box = prepare(picture, self.rule)
        return framed

    @abstractmethod
    def network(self, value: Any) -> Any:
        """What the network takes -> what it gives, calculated to the end: scores (C,h,w) or labels (H,W)."""

    def labels(self, result: Any, size: Size) -> Labels:
        """What the network gives -> uint8 (H,W) of the picture's size, by the case's tail."""
        if result.ndim == 2:
            return fitted(result.astype(np.uint8), size)
        scores = result if self.stand_in is None else self.stand_in
        if self.case.tail == "exact":
            return self.exact_labels(scores, size)
        return plain_labels(scores, size, align_corners=self.align_corners, threads=self.case.threads)

    def exact_labels(self, scores: Scores, size: Size) -> Labels:
        """float32 (C,h,w) -> uint8 (H,W) by the tail "exact", as a Predictor makes them."""
        return label_scores(scores, size, align_corners=self.align_corners, frame=self.case.size, box=self.box)

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

    def prepare(self, picture: Pixels) -> Any:
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


def rule_of(case: Case, artefact: Artefact | None) -> InputRule:
    """The case's size, stretched to as by a Predictor that is told a size; a letterbox of just that size stays one.

    Other tails than the exact one know no letterbox. A rule by area would leave the case's size.
    """
    own = InputRule() if artefact is None else artefact.input_rule
    boxed = own.fit == "letterbox" and own.size == case.size and case.tail == "exact"
    return own if boxed else InputRule(size=case.size)


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
