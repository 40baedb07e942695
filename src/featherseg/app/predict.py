"""Segment pictures and videos: for each one a mask and an overlay.

Writes STEM_mask.png, a palette picture whose pixels are class ids, and STEM_overlay.png, the mask in colour over the
picture. Both have the size of the picture as it is displayed (upright). Of a video: STEM_mask.mkv, lossless and gray,
whose pixels are class ids, and STEM_overlay.mp4. Sources that share a name are told apart by more of their paths. The
last line printed is the path of the last overlay.

examples:
  featherseg predict street.jpg                          with the network that comes with the package
  featherseg predict photos/ --out masks                 every picture in a folder and the folders below it
  featherseg predict photos/ --model runs/mine           with a network you trained
  featherseg predict a.png b.png --model net.onnx --json
  featherseg predict street.jpg --size own               at the picture's own size instead of the network's usual one
  featherseg predict photos/ --write masks --draft       masks of large photos, fast
  featherseg predict clip.mp4 --smooth 0.7               a video, with labels that flicker less
  featherseg predict --root cityscapes --split test --model runs/mine --submission --out results

--root takes the pictures of a data set's split, labelled or not. --submission writes what the test server of Cityscapes
or PASCAL VOC takes, instead of masks and overlays, and packs it into one archive, whose path is the last line printed.

Reading, network and writing overlap, and a handful of pictures is in memory however many there are. Videos need
pip install 'featherseg[video]'; sound is left out.

exit code: 0 all done; 1 some sources could not be segmented, or a video not to its end (they are listed on stderr);
2 nothing was done
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from featherseg.app.arguments import add_backend, add_device, add_size
from featherseg.app.progress import progress
from featherseg.app.segment import Described, Segmenter
from featherseg.app.sources import WRITE, Job, is_video, plan
from featherseg.data import FORMATS, open_data
from featherseg.data.submissions import SERVER_OF, SUBMISSIONS
from featherseg.hub import load
from featherseg.runtime.errors import FeathersegError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE", type=Path, help="a picture, a folder of pictures, a video"
    )
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
        help="a name (see: featherseg models), an .onnx file, a run directory, a checkpoint, or ORG/NAME of the "
        "Hugging Face hub (default: %(default)s)",
    )
    add_size(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="where to write (default: ./predictions)"
    )
    parser.add_argument("--write", choices=WRITE, help="what to write (default: both)")
    parser.add_argument(
        "--draft",
        action="store_true",
        help="decode JPEGs at a half, a quarter or an eighth of their size where the network needs no more: less time "
        "and memory for large photos, and a few pixels of the masks change; without overlays only",
    )
    parser.add_argument(
        "--smooth",
        type=parse_smooth,
        metavar="A",
        help="average the scores over the frames of a video: the weight of the past, 0 to below 1, as 0.7",
    )
    add_backend(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def parse_smooth(text: str) -> float:
    """The weight of the past."""
    try:
        past = float(text)
    except ValueError:
        past = -1.0
    if not 0 <= past < 1:
        raise argparse.ArgumentTypeError(f"expected a weight of 0 to below 1, as 0.7; got {text!r}")
    return past


def run(args: argparse.Namespace) -> int:
    """Segment every source, report each, list those that failed."""
    sources, server = chosen(args)
    submission = SUBMISSIONS[server] if server else None
    jobs = plan(sources, args.out, submission=submission, write=args.write or "both")
    refuse_settings(args, jobs)
    predictor = load(args.model, device=args.device, backend=args.backend)
    if submission is not None:
        submission.require(predictor.classes, str(args.model))
    segmenter = Segmenter(
        predictor=predictor,
        size=args.size,
        decode="draft" if args.draft else "full",
        submission=submission,
        smooth=args.smooth or 0.0,
    )
    done: list[Described] = []
    failed: list[dict[str, str]] = []
    alone = len(args.sources) == 1 and args.sources[0].is_file()
    for job, result, error in segmented(jobs, segmenter):
        if error is not None and result is None and alone:
            raise error
        if result is not None:
            done.append(result)
        if error is not None:
            failed.append({"source": str(job.source), "error": str(error)})
    archive = None
    if submission is not None and not failed:  # a server takes all or nothing
        archive = submission.finish([job.mask for job in jobs if job.mask], args.out)
    for failure in failed:
        print(f"featherseg predict: {failure['error']}", file=sys.stderr)
    if args.json:
        packed = {"archive": str(archive)} if archive else {}
        print(json.dumps({"pictures": done, "failed": failed, **packed}, indent=2))
    else:
        files = [item.get("overlay") or item["mask"] for item in done if submission is None]
        report(done, archive or (files[-1] if files else None))
    return 1 if failed else 0


def segmented(
    jobs: Sequence[Job], segmenter: Segmenter
) -> Iterator[tuple[Job, Described | None, FeathersegError | None]]:
    """Every job with what was done and what went wrong, in order; of a damaged video both."""
    for moving, some in groupby(jobs, key=lambda job: is_video(job.source)):
        batch = list(some)
        if not moving:
            for job, result in progress(segmenter.pictures(batch), "predict", len(batch)):
                yield (job, None, result) if isinstance(result, FeathersegError) else (job, result, None)
            continue
        for job in batch:
            try:
                yield job, *segmenter.video(job)
            except FeathersegError as error:
                yield job, None, error


def refuse_settings(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """No setting is passed over in silence."""
    if args.submission is not None and args.write is not None:
        raise FeathersegError(f"--write {args.write}", expected="no --submission, which writes masks of its own")
    if args.draft and args.submission is None and args.write != "masks":
        raise FeathersegError("--draft: an overlay needs the whole picture", remedy="add --write masks")
    if args.smooth is not None and not any(is_video(job.source) for job in jobs):
        raise FeathersegError(f"--smooth {args.smooth:g}", expected="a video among the sources")


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


def report(done: Sequence[Described], last: str | Path | None) -> None:
    """A line per source; then the archive, or the last file."""
    for item in done:
        classes = ", ".join(f"{name} {100 * share:.1f} %" for name, share in item["classes"].items())
        print(f"{item['source']}: {classes}")
    if last:
        print(last)
