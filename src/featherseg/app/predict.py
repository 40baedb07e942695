"""Segment pictures: for each one a mask and an overlay.

Writes STEM_mask.png, a palette picture whose pixels are class ids, and STEM_overlay.png, the mask in colour over the
picture. Both have the size of the picture as it is displayed (upright). Pictures that share a name are told apart by
more of their paths. The last line printed is the path of the last overlay.

examples:
  featherseg predict street.jpg                          with the network that comes with the package
  featherseg predict photos/ --out masks                 every picture in a folder and the folders below it
  featherseg predict photos/ --model runs/mine           with a network you trained
  featherseg predict a.png b.png --model net.onnx --json
  featherseg predict street.jpg --size own               at the picture's own size instead of the network's usual one

exit code: 0 all done; 1 some pictures could not be segmented (they are listed on stderr); 2 nothing was done
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_backend, add_device, add_size, require_folder
from featherseg.app.progress import progress
from featherseg.hub import load
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import PICTURE_SUFFIXES, write_atomically
from featherseg.runtime.predictor import Prediction, Predictor, Size

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", type=Path, help="a picture, or a folder of pictures")
    parser.add_argument(
        "--model",
        default="affnet-camvid",
        metavar="NAME|PATH",
        help="a name (see: featherseg models), an .onnx file, a run directory or a checkpoint (default: %(default)s)",
    )
    add_size(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="where to write (default: ./predictions)"
    )
    add_backend(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


@dataclass(frozen=True)
class Job:
    """One picture, and the two files to write for it."""

    source: Path
    mask: Path
    overlay: Path


def run(args: argparse.Namespace) -> int:
    """Segment every picture, report each, list those that failed."""
    jobs = plan(args.sources, args.out)
    predictor = load(args.model, device=args.device, backend=args.backend)
    alone = len(args.sources) == 1 and args.sources[0].is_file()
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for job in progress(jobs, "predict"):
        try:
            done.append(segment(job, predictor, args.size))
        except FeathersegError as error:
            if alone:
                raise
            failed.append({"source": str(job.source), "error": str(error)})
    report(done, failed, as_json=args.json)
    return 1 if failed else 0


def segment(job: Job, predictor: Predictor, size: Size) -> dict[str, Any]:
    """Write one picture's mask and overlay; returns what was done as JSON values."""
    prediction: Prediction = predictor(job.source, size)
    overlay = prediction.overlay()
    job.mask.parent.mkdir(parents=True, exist_ok=True)
    prediction.save(job.mask)
    write_atomically(job.overlay, lambda file: overlay.save(file, "PNG"))
    height, width = prediction.mask.shape
    return {
        "source": str(job.source),
        "size": [height, width],
        "mask": str(job.mask),
        "overlay": str(job.overlay),
        "classes": prediction.shares(),
    }


def report(done: Sequence[dict[str, Any]], failed: Sequence[dict[str, str]], *, as_json: bool) -> None:
    """Failures to stderr; to stdout one JSON object, or a line per picture and the last overlay's path."""
    for failure in failed:
        print(f"featherseg predict: {failure['error']}", file=sys.stderr)
    if as_json:
        print(json.dumps({"pictures": done, "failed": failed}, indent=2))
        return
    for item in done:
        classes = ", ".join(f"{name} {100 * share:.1f} %" for name, share in item["classes"].items())
        print(f"{item['source']}: {classes}")
    if done:
        print(done[-1]["overlay"])


def plan(sources: Sequence[Path], out: Path) -> list[Job]:
    """Every picture of the sources once, with names for its results that are unique and lie on no source.

    Raises:
        FeathersegError: before anything is written, for a missing source, a folder without pictures, a video, and
            results that would replace a source.
    """
    require_folder("--out", out)
    found: dict[Path, Path] = {}  # where a picture really lies -> how it was named first
    for source in sources:
        for path in pictures_of(source, out):
            found.setdefault(path.resolve(), path)
    pictures = list(found.values())
    jobs = [
        Job(path, out / f"{name}_mask.png", out / f"{name}_overlay.png")
        for path, name in zip(pictures, unique_names(pictures), strict=True)
    ]
    inputs = {_identity(path): path for path in pictures}
    for target in (target for job in jobs for target in (job.mask, job.overlay)):
        if target.exists() and _identity(target) in inputs:
            raise FeathersegError(f"{target}: would be written over a source", remedy="choose another folder by --out")
    return jobs


def pictures_of(source: Path, out: Path) -> list[Path]:
    """A file as it is; of a folder all pictures, sorted, without hidden files and without what lies in `out`."""
    if source.suffix.lower() in VIDEOS and not source.is_dir():
        raise FeathersegError(f"{source}: videos are not read yet", remedy="give its frames as pictures")
    if not source.exists():
        raise FeathersegError(f"{source}: there is no such file or folder")
    if not source.is_dir():
        return [source]
    found = []
    for folder, inner, files in os.walk(source):
        here = Path(folder)
        inner[:] = [name for name in inner if not name.startswith(".") and not _same(here / name, out)]
        pictures = (name for name in files if Path(name).suffix.lower() in PICTURE_SUFFIXES)
        found += [here / name for name in pictures if not name.startswith(".")]
    if not found:
        raise FeathersegError(f"{source}: the folder holds no pictures", expected=" ".join(sorted(PICTURE_SUFFIXES)))
    return sorted(found)


def unique_names(paths: Sequence[Path]) -> list[str]:
    """The stem of each path; where paths share it, the file name; where they share that too, with folders before it.

    Compared without case, as some disks do. ``a/x.jpg b/x.jpg c/y.png`` -> ``a_x.jpg b_x.jpg y``.
    """
    ladders = [name_ladder(path) for path in paths]
    rungs = [0] * len(paths)
    while True:
        names = [ladder[rung] for ladder, rung in zip(ladders, rungs, strict=True)]
        count = Counter(name.casefold() for name in names)
        climbing = [
            index
            for index, name in enumerate(names)
            if count[name.casefold()] > 1 and rungs[index] + 1 < len(ladders[index])
        ]
        if not climbing:
            break
        for index in climbing:
            rungs[index] += 1
    seen: Counter[str] = Counter()
    for index, name in enumerate(names):  # a_b/c.jpg beside a/b_c.jpg
        seen[name.casefold()] += 1
        if count[name.casefold()] > 1:
            names[index] = f"{name}-{seen[name.casefold()]}"
    return names


def name_ladder(path: Path) -> list[str]:
    """Names for a path's results, from the shortest to the whole path."""
    parts = path.resolve().parts[1:]
    return [path.stem, *("_".join(parts[-length:]) for length in range(1, len(parts) + 1))]


def _identity(path: Path) -> tuple[int, int]:
    """The file itself, whatever name leads to it."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _same(path: Path, other: Path) -> bool:
    return other.exists() and path.samefile(other)
