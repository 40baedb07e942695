"""What `predict` reads, and how its results are called: every source once, no two results with one name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featherseg.app.arguments import require_folder
from featherseg.data.submissions import Submission
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import PICTURE_SUFFIXES

# fmt: off
VIDEOS = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp",
    ".ogv",
)
# fmt: on

WRITE = ("both", "masks", "overlays")


@dataclass(frozen=True)
class Job:
    """One picture or video, and the files to write for it.

    Attributes:
        source: what is read.
        mask: where its class ids go; None where they are not asked for.
        overlay: where its overlay goes; None where it is not asked for.
    """

    source: Path
    mask: Path | None
    overlay: Path | None


def plan(sources: Sequence[Path], out: Path, *, submission: Submission | None = None, write: str = "both") -> list[Job]:
    """Every source once, with names for its results that are unique and lie on no source.

    Args:
        sources: pictures, folders of pictures, videos.
        out: the folder of the results.
        submission: whose names to take; pictures only, masks only.
        write: one of `WRITE`.

    Raises:
        FeathersegError: before anything is written, for a missing source, a folder without pictures, a video for a
            test server, and results that would replace a source.
    """
    require_folder("--out", out)
    found: dict[Path, Path] = {}  # where a picture really lies -> how it was named first
    for source in sources:
        for path in pictures_of(source, out):
            found.setdefault(path.resolve(), path)
    paths = list(found.values())
    if submission is not None:
        jobs = [Job(path, out / submission.name(path), None) for path in paths]
        refuse_shared_names(jobs)
        refuse_videos(jobs)
    else:
        jobs = [job_of(path, out / name, write) for path, name in zip(paths, unique_names(paths), strict=True)]
    inputs = {_identity(path): path for path in paths}
    for target in (target for job in jobs for target in (job.mask, job.overlay)):
        if target is not None and target.exists() and _identity(target) in inputs:
            raise FeathersegError(f"{target}: would be written over a source", remedy="choose another folder by --out")
    return jobs


def job_of(source: Path, stem: Path, write: str) -> Job:
    """Palette and colour pictures for a picture, a lossless and a usual video for a video."""
    mask, overlay = (".mkv", ".mp4") if is_video(source) else (".png", ".png")
    return Job(
        source,
        None if write == "overlays" else stem.with_name(f"{stem.name}_mask{mask}"),
        None if write == "masks" else stem.with_name(f"{stem.name}_overlay{overlay}"),
    )


def refuse_videos(jobs: Sequence[Job]) -> None:
    """A test server takes pictures."""
    for job in jobs:
        if is_video(job.source):
            raise FeathersegError(f"{job.source}: is a video", expected="pictures for a test server")


def is_video(path: Path) -> bool:
    """By its suffix."""
    return path.suffix.lower() in VIDEOS


def refuse_shared_names(jobs: Sequence[Job]) -> None:
    """A test server goes by names: two pictures with one result are an error."""
    first: dict[Path | None, Job] = {}
    for job in jobs:
        other = first.setdefault(job.mask, job)
        if other is not job:
            assert job.mask is not None
            raise FeathersegError(f"{job.source}: has the same result, {job.mask.name}, as {other.source}")


def pictures_of(source: Path, out: Path) -> list[Path]:
    """A file as it is; of a folder all pictures, sorted, without hidden files and without what lies in `out`."""
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
        raise FeathersegError(
            f"{source}: the folder holds no pictures",
            expected=" ".join(sorted(PICTURE_SUFFIXES)),
            remedy="videos are taken when they are named themselves",
        )
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
