"""Time `predict` over a folder: one picture after the other as it once was, the same parts today, and pipelined.

    python benchmarks/predict_folder.py [--size 1080x1440] [--count 12] [--rounds 3] [--photos DIR] [--model NAME|PATH]

The contestants take turns within one run, so that a busy machine slows all of them alike; printed are medians: the time
per picture, the processor's time, and the ratio to the first. Masks are compared: drafts alone may differ.

  as it was     decode to an array, network, label, Pillow's usual PNG, the next picture
  in turn       today's parts one after the other: no array between, run-length PNG
  pipelined     the same parts overlapping, as `predict` does
  masks         pipelined, --write masks
  drafts        pipelined, --write masks --draft
  network       the network alone, on pictures that are ready: what cannot be undercut

--elsewhere MS puts a wait in the network's place, as if an accelerator ran it and left the processor to the rest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from featherseg.app.segment import Segmenter
from featherseg.app.sources import Job, job_of, pictures_of
from featherseg.hub import load
from featherseg.runtime import read_image, read_mask, weights
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import write_atomically
from featherseg.runtime.predictor import Predictor

Contestant = Callable[[list[Job]], None]


def as_it_was(predictor: Predictor) -> Contestant:
    def run(jobs: list[Job]) -> None:
        for job in jobs:
            picture = read_image(job.source)
            prediction = predictor(picture)
            np.bincount(prediction.mask.ravel(), minlength=len(predictor.classes))
            overlay = prediction.overlay()
            mask = Image.fromarray(prediction.mask)
            mask.putpalette([value for colour in predictor.classes.palette for value in colour])
            job.mask.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(job.mask, lambda file, mask=mask: mask.save(file, "PNG"))
            write_atomically(job.overlay, lambda file, overlay=overlay: overlay.save(file, "PNG"))

    return run


def in_turn(segmenter: Segmenter) -> Contestant:
    def run(jobs: list[Job]) -> None:
        for job in jobs:
            segmenter._write(job, segmenter._run(segmenter._read(job)))

    return run


def pipelined(segmenter: Segmenter, write: str) -> Contestant:
    def run(jobs: list[Job]) -> None:
        chosen = [replace(job, overlay=job.overlay if write == "both" else None) for job in jobs]
        for _, result in segmenter.pictures(chosen):
            if isinstance(result, FeathersegError):
                raise result

    return run


def network(predictor: Predictor) -> Contestant:
    ready: dict[Path, np.ndarray] = {}

    def run(jobs: list[Job]) -> None:
        for job in jobs:
            if job.source not in ready:
                ready[job.source] = predictor.prepare(job.source).framed
            predictor.engine(ready[job.source])

    return run


class Elsewhere:
    """Scores that are known, after a wait that takes no processor."""

    def __init__(self, predictor: Predictor, seconds: float) -> None:
        self.engine, self.seconds = predictor.engine, seconds
        self.known: dict[bytes, np.ndarray] = {}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 (H,W,3) -> float32 (C,h,w)."""
        key = image.tobytes()
        if key not in self.known:
            self.known[key] = self.engine(image)
        time.sleep(self.seconds)
        return self.known[key]


def make_folder(folder: Path, photos: Path | None, size: tuple[int, int], count: int) -> list[Path]:
    """JPEGs of the size, from photos or from the street that comes with the package."""
    folder.mkdir()
    bundled = Path(weights.__file__).with_name("bundled") / "street.jpg"
    sources = pictures_of(photos, folder)[:count] if photos else [bundled]
    paths = []
    for index in range(count):
        with Image.open(sources[index % len(sources)]) as image:
            resized = image.convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS)
        grain = np.random.default_rng(index).normal(0, 2, (*size, 1)) if photos is None else 0
        picture = np.clip(np.asarray(resized) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{index:04d}.jpg")
        Image.fromarray(picture).save(paths[-1], quality=90)
    return paths


def race(contestants: dict[str, Contestant], jobs: dict[str, list[Job]], rounds: int) -> dict[str, list[list[float]]]:
    """[wall, processor] seconds per picture of every round, contestants in turns; the first round only warms up."""
    times: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, run in contestants.items():
            wall, processor = time.perf_counter(), time.process_time()
            run(jobs[name])
            count = len(jobs[name])
            times[name].append([(time.perf_counter() - wall) / count, (time.process_time() - processor) / count])
    return {name: values[1:] for name, values in times.items()}


def differing(jobs: list[Job], others: list[Job]) -> float:
    """The share of the pixels that two contestants label differently."""
    pairs = zip(jobs, others, strict=True)
    return float(np.mean([(read_mask(one.mask) != read_mask(other.mask)).mean() for one, other in pairs]))


def sides(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=sides, default=(1080, 1440), metavar="HxW")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path, metavar="DIR")
    parser.add_argument("--model", default="affnet-camvid")
    parser.add_argument("--elsewhere", type=float, metavar="MS")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contestants")
    args = parser.parse_args()

    predictor = load(args.model)
    if args.elsewhere is not None:
        predictor = replace(predictor, engine=Elsewhere(predictor, args.elsewhere / 1000))
    usual, draft = Segmenter(predictor=predictor), Segmenter(predictor=predictor, decode="draft")
    contestants: dict[str, Contestant] = {
        "as it was": as_it_was(predictor),
        "in turn": in_turn(usual),
        "pipelined": pipelined(usual, "both"),
        "masks": pipelined(usual, "masks"),
        "drafts": pipelined(draft, "masks"),
        "network": network(predictor),
    }
    contestants = {name: run for name, run in contestants.items() if not args.only or name in args.only}
    with tempfile.TemporaryDirectory() as scratch:
        paths = make_folder(Path(scratch, "photos"), args.photos, args.size, args.count)
        jobs = {name: [job_of(path, Path(scratch, name, path.stem), "both") for path in paths] for name in contestants}
        times = race(contestants, jobs, args.rounds)
        first = next(iter(contestants))
        print(f"{args.count} JPEGs of {args.size[0]}x{args.size[1]}, {args.model}")
        for name, values in times.items():
            wall, processor = np.median(values, axis=0)
            ratio = np.median(np.array(values)[:, 0] / np.array(times[first])[:, 0])
            line = f"{name:<10} {1000 * wall:8.0f} ms  processor {1000 * processor:8.0f} ms  {ratio:5.2f} of {first!r}"
            with suppress(FeathersegError):  # the network alone writes no masks
                line += f"  {100 * differing(jobs[first], jobs[name]):.2f} % of the pixels differ"
            print(line)


if __name__ == "__main__":
    main()
