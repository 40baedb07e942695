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
  featherseg predict --root cityscapes --split test --model runs/mine --submission --out results

--root takes the pictures of a data set's split, labelled or not. --submission writes what the test server of Cityscapes
or PASCAL VOC takes, instead of masks and overlays, and packs it into one archive, whose path is the last line printed.

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
from featherseg.data import FORMATS, open_data
from featherseg.data.submissions import SERVER_OF, SUBMISSIONS, Submission
from featherseg.hub import load
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import PICTURE_SUFFIXES, write_atomically
from featherseg.runtime.predictor import Prediction, Predictor, Size

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("sources", nargs="*", metavar="SOURCE", type=Path, help="a picture, or a folder of pictures")
    parser.add_argument("--root", type=Path, metavar="DIR", help="a data set's folder, instead of SOURCE")
    parser.add_argument("--data", choices=("auto", *FORMATS), help="its layout (default: by the tree)")
    parser.add_argument("--split", help="which part of it (default: test)")
    parser.add_argument(
        "--submission",
        nargs="?",
        const="auto",
        choices=("auto", *SUBMISSIONS),
        metavar="|".join(SUBMISSIONS),
        help="write what this test server takes (default: the data's own)",
    )
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
    """One picture, and the files to write for it: no overlay for a test server."""

    source: Path
    mask: Path
    overlay: Path | None


def run(args: argparse.Namespace) -> int:
    """Segment every picture, report each, list those that failed."""
    sources, server = chosen(args)
    submission = SUBMISSIONS[server] if server else None
    jobs = plan(sources, args.out, submission)
    predictor = load(args.model, device=args.device, backend=args.backend)
    if submission is not None:
        submission.require(predictor.classes, str(args.model))
    alone = len(args.sources) == 1 and args.sources[0].is_file()
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for job in progress(jobs, "predict"):
        try:
            done.append(segment(job, predictor, args.size, submission))
        except FeathersegError as error:
            if alone:
                raise
            failed.append({"source": str(job.source), "error": str(error)})
    archive = None
    if submission is not None and not failed:  # a server takes all or nothing
        archive = submission.finish([job.mask for job in jobs], args.out)
    report(done, failed, archive, as_json=args.json)
    return 1 if failed else 0


def chosen(args: argparse.Namespace) -> tuple[list[Path], str]:
    """The sources, from the command line or from a data set, and the test server to write for, empty for none."""
    if args.root is None:
        for option in ("data", "split"):
            if getattr(args, option) is not None:
                raise FeathersegError(f"--{option} {getattr(args, option)}", expected="--root DIR with it")
        if not args.sources:
            raise FeathersegError("nothing to segment", expected="a SOURCE, or a data set by --root DIR")
        return args.sources, server_of(args.submission, "the pictures given")
    if args.sources:
        raise FeathersegError(f"--root {args.root}", expected="no SOURCE beside it", got=args.sources[0])
    data = open_data(args.root, args.data or "auto", args.split or "test")
    return [pair.image for pair in data.pairs], server_of(args.submission, data.name)


def server_of(asked: str | None, format: str) -> str:
    """The test server that is meant; empty where none is asked for."""
    if asked != "auto":
        return asked or ""
    if format not in SERVER_OF:
        raise FeathersegError(f"--submission: no test server is known for {format}", expected=", ".join(SUBMISSIONS))
    return SERVER_OF[format]


def segment(job: Job, predictor: Predictor, size: Size, submission: Submission | None) -> dict[str, Any]:
    """Write one picture's files; returns what was done as JSON values."""
    prediction: Prediction = predictor(job.source, size)
    height, width = prediction.mask.shape
    described = {"source": str(job.source), "size": [height, width], "mask": str(job.mask)}
    if submission is not None:
        submission.write(prediction.mask, job.mask)
    else:
        assert job.overlay is not None
        overlay = prediction.overlay()
        job.mask.parent.mkdir(parents=True, exist_ok=True)
        prediction.save(job.mask)
        write_atomically(job.overlay, lambda file: overlay.save(file, "PNG"))
        described["overlay"] = str(job.overlay)
    return {**described, "classes": prediction.shares()}


def report(
    done: Sequence[dict[str, Any]], failed: Sequence[dict[str, str]], archive: Path | None, *, as_json: bool
) -> None:
    """Failures to stderr; to stdout one JSON object, or a line per picture and the archive or the last overlay."""
    for failure in failed:
        print(f"featherseg predict: {failure['error']}", file=sys.stderr)
    if as_json:
        packed = {"archive": str(archive)} if archive else {}
        print(json.dumps({"pictures": done, "failed": failed, **packed}, indent=2))
        return
    for item in done:
        classes = ", ".join(f"{name} {100 * share:.1f} %" for name, share in item["classes"].items())
        print(f"{item['source']}: {classes}")
    if archive is not None:
        print(archive)
    elif done and "overlay" in done[-1]:
        print(done[-1]["overlay"])


def plan(sources: Sequence[Path], out: Path, submission: Submission | None = None) -> list[Job]:
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
    if submission is not None:
        jobs = [Job(path, out / submission.name(path), None) for path in pictures]
        refuse_shared_names(jobs)
    else:
        jobs = [
            Job(path, out / f"{name}_mask.png", out / f"{name}_overlay.png")
            for path, name in zip(pictures, unique_names(pictures), strict=True)
        ]
    inputs = {_identity(path): path for path in pictures}
    for target in (target for job in jobs for target in (job.mask, job.overlay)):
        if target is not None and target.exists() and _identity(target) in inputs:
            raise FeathersegError(f"{target}: would be written over a source", remedy="choose another folder by --out")
    return jobs


def refuse_shared_names(jobs: Sequence[Job]) -> None:
    """A test server goes by names: two pictures with one result are an error."""
    first: dict[Path, Job] = {}
    for job in jobs:
        other = first.setdefault(job.mask, job)
        if other is not job:
            raise FeathersegError(f"{job.source}: has the same result, {job.mask.name}, as {other.source}")


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
