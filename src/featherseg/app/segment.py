"""Pictures and videos through a Predictor into files: decoding, network and writing overlap, memory is bounded."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from featherseg.app.progress import Bar
from featherseg.app.sources import Job
from featherseg.data.submissions import Submission
from featherseg.runtime import video
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import count_ids, save_png
from featherseg.runtime.predictor import Decode, Predictor, Prepared, Size, shares
from featherseg.runtime.smoothing import Smoothed
from featherseg.runtime.stream import WRITERS, ahead, pipeline, spread

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
Scored: TypeAlias = tuple[Prepared, npt.NDArray[np.float32]]
Drawn: TypeAlias = tuple[Mask, Picture | None]
Described: TypeAlias = dict[str, Any]
"""What was done, as JSON values."""


@dataclass(frozen=True, kw_only=True)
class Segmenter:
    """A Predictor, and how it is used.

    Attributes:
        predictor: the network.
        size: at which it sees pictures.
        decode: whether JPEG files are decoded as drafts.
        submission: a test server's way of writing masks.
        smooth: the weight of the past over the frames of a video; 0 for none.
    """

    predictor: Predictor
    size: Size = None
    decode: Decode = "full"
    submission: Submission | None = None
    smooth: float = 0.0

    def pictures(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Described | FeathersegError], None, None]:
        """Segment pictures and write their files; what became of each, in order."""
        return pipeline(jobs, self._read, self._run, self._write)

    def _read(self, job: Job) -> Prepared:
        return self.predictor.prepare(job.source, self.size, decode=self.decode)

    def _run(self, prepared: Prepared) -> Scored:
        return prepared, self.predictor.engine(prepared.framed)

    def _write(self, job: Job, scored: Scored) -> Described:
        prediction = self.predictor.label(*scored)
        make_folders(job)
        if job.mask is not None:
            if self.submission is not None:
                self.submission.write(prediction.mask, job.mask)
            else:
                prediction.save(job.mask)
        if job.overlay is not None:
            save_png(prediction.overlay(), job.overlay)
        return described(job) | {"size": list(prediction.mask.shape), "classes": prediction.shares()}

    def video(self, job: Job) -> tuple[Described, FeathersegError | None]:
        """Segment a video and write its files; what was done, and what kept the rest from being read.

        Raises:
            FeathersegError: where nothing of it can be read, or its files cannot be written; there are then none.
        """
        clip = video.describe(job.source)
        predictor = replace(self.predictor, engine=Smoothed(self.predictor.engine, self.smooth))  # one for each video
        broken: list[FeathersegError] = []
        ids, size, done = np.zeros(256, np.int64), (0, 0), 0

        def prepare() -> Iterator[Prepared]:
            for frame in until_broken(video.frames(job.source), broken):
                picture = Image.fromarray(frame)  # Pillow resizes and blends its own without another copy
                yield predictor.prepare(picture, self.size)

        def run(prepared: Prepared) -> Scored:
            return prepared, predictor.engine(prepared.framed)

        def draw(scored: Scored) -> Drawn:
            prediction = predictor.label(*scored)
            return prediction.mask, np.asarray(prediction.overlay()) if job.overlay else None

        def write(drawn: Drawn) -> Mask:
            mask, overlay = drawn
            if masks is not None:
                masks.write(mask)
            if overlays is not None and overlay is not None:
                overlays.write(overlay)
            return mask

        make_folders(job)
        with ExitStack() as stack:
            masks = stack.enter_context(video.Writer(job.mask, clip.rate, video.IDS)) if job.mask else None
            overlays = stack.enter_context(video.Writer(job.overlay, clip.rate)) if job.overlay else None
            show = stack.enter_context(Bar(job.source.name, clip.frames or 0)).show
            ready = stack.enter_context(closing(ahead(prepare())))
            drawn = stack.enter_context(closing(spread(draw, map(run, ready), threads=WRITERS)))
            for mask in stack.enter_context(closing(spread(write, drawn, threads=1))):
                ids += count_ids(mask)
                size, done = mask.shape, done + 1
                show(done, clip.frames or 0)
        if not done:
            raise broken[0]
        found = {"size": list(size), "frames": done, "classes": shares(ids, predictor.classes)}
        return described(job) | found, broken[0] if broken else None


def until_broken(frames: Iterable[Picture], broken: list[FeathersegError]) -> Iterator[Picture]:
    """The frames that can be read; then what is wrong with the rest goes to `broken`."""
    try:
        yield from frames
    except FeathersegError as error:
        broken.append(error)


def make_folders(job: Job) -> None:
    """The folders of its files."""
    for path in filter(None, (job.mask, job.overlay)):
        path.parent.mkdir(parents=True, exist_ok=True)


def described(job: Job) -> Described:
    """Its files."""
    names = {"source": job.source, "mask": job.mask, "overlay": job.overlay}
    return {key: str(path) for key, path in names.items() if path is not None}
