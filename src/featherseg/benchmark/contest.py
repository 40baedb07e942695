"""A subject and a picture as a contestant: every call is one picture from end to end, with the time of each stage."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from featherseg.benchmark.cases import Case
from featherseg.benchmark.street import boundary_cells, street_picture, street_scores
from featherseg.benchmark.subjects import open_subject
from featherseg.benchmark.tails import Labels
from featherseg.benchmark.timing import Lap
from featherseg.runtime.pixels import Picture, decoded, size_of

STAGES = ("decode", "prepare", "network", "labels")


class Contestant:
    """Opens a case, runs it once, and is then ready to be timed.

    A lap has the stages decode (of a picture file), prepare, network, labels and total; "device", what a GPU itself
    took for the network; and "processor", the processor time of all threads, which hardly feels what else the machine
    does.

    Attributes:
        mask: the labels of the first picture.
        boundary_cells: the share of cells between scores whose corners disagree; None where the network gives labels.
    """

    mask: Labels

    def __init__(self, case: Case, picture: Path | None = None) -> None:
        self.case, self.subject = case, open_subject(case)
        self.picture: Path | Picture = street_picture(case.size) if picture is None else picture
        value = self.subject.prepare(decoded(self.picture))
        scores = self.subject.scores_of(self.subject.network(value))
        if scores is not None and case.network is not None:
            self.subject.stand_in = scores = street_scores((scores.shape[0], scores.shape[1], scores.shape[2]))
        self.boundary_cells = None if scores is None else round(boundary_cells(scores), 4)

    def __call__(self) -> Lap:
        """One picture from end to end."""
        subject, processor = self.subject, time.process_time()
        clock = [time.perf_counter()]
        picture = decoded(self.picture)
        clock.append(time.perf_counter())
        value = subject.prepare(picture)
        clock.append(time.perf_counter())
        result = subject.network(value)
        clock.append(time.perf_counter())
        self.mask = subject.labels(result, size_of(picture))
        clock.append(time.perf_counter())
        lap = dict(zip(STAGES, (1000 * np.diff(clock)).tolist(), strict=True))
        lap["total"] = 1000 * (clock[-1] - clock[0])
        lap["processor"] = 1000 * (time.process_time() - processor)
        if not isinstance(self.picture, Path):
            del lap["decode"]
        if subject.device_ms is not None:
            lap["device"] = subject.device_ms
        return lap
