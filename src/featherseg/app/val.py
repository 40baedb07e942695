"""Score a network on labelled pictures: one confusion matrix over the whole data set.

  featherseg val affnet-camvid --data camvid --root ~/data/camvid
  featherseg val runs/mine --data folder --root photos --split val --report report/
  featherseg val net.onnx --root photos --json
  featherseg val net.onnx --root photos --detail --scales 0.75,1,1.25 --flip

mIoU is the mean of the classes' intersection over union; class accuracy (mPA) the mean of their pixel accuracies; pixel
accuracy (PA) the share of all labelled pixels that are right; fwIoU weights each class's IoU by its share. A class that
neither truth nor prediction holds is left out of the means, and named. Pictures are scored at their masks' own size.
--detail adds boundary IoU and F-score, holes far from borders, scores by object size and by frequency group, and an
interval for mIoU; docs/evaluation.md defines each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from featherseg.app.arguments import (
    add_backend,
    add_device,
    add_size,
    add_views,
    overlap_of,
    parse_names,
    require_folder,
    size_of,
    viewed,
)
from featherseg.app.progress import Bar
from featherseg.data import FORMATS, SegData, open_data
from featherseg.evaluation import Bootstrap, Measure, detail, evaluate
from featherseg.evaluation.bootstrap import RESAMPLES
from featherseg.evaluation.report import Worst, all_json, scores_text, write_report
from featherseg.hub import load
from featherseg.metrics import Scores
from featherseg.runtime.predictor import Predictor


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "model",
        metavar="RUN|NAME|PATH",
        help="a run directory, a name, an .onnx file, a checkpoint, or ORG/NAME of the Hugging Face hub",
    )
    parser.add_argument("--data", default="auto", choices=("auto", *FORMATS), help="the layout of the data")
    parser.add_argument("--root", required=True, type=Path, help="the data's folder")
    parser.add_argument("--split", default="val", help="which part of it (default: %(default)s)")
    parser.add_argument(
        "--classes",
        type=parse_names,
        default=(),
        metavar="NAME,...",
        help="only these of the data's classes, in this order; every other one is ignored",
    )
    add_size(parser)
    add_views(parser)
    parser.add_argument("--detail", action="store_true", help="every measure there is")
    parser.add_argument(
        "--bootstrap",
        type=parse_resamples,
        nargs="?",
        const=RESAMPLES,
        metavar="N",
        help="95 %% intervals over N resamples of the pictures (without N: %(const)s)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="also write scores.json, report.md and pictures there"
    )
    add_backend(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Score, print, and write the report where one is asked for."""
    if args.report is not None:
        require_folder("--report", args.report)
    predictor = viewed(load(args.model, device=args.device, backend=args.backend), args)
    data = open_data(args.root, args.data, args.split, classes=args.classes)
    measures = measures_of(args, predictor, data)
    worst = Worst()
    with Bar("val", len(data)) as bar:
        scores = evaluate(predictor, data, size=size_of(args), progress=bar.show, observe=[worst, *measures])
    setting = setting_text(args)
    if args.report is not None:
        write_report(args.report, data, scores, worst, title=str(args.model), measures=measures, setting=setting)
    if args.json:
        print(json.dumps(described(args, data, scores, measures)))
    else:
        print("\n".join([scores_text(scores, data, measures), *(["", setting] if setting else [])]))
    return 0


def measures_of(args: argparse.Namespace, predictor: Predictor, data: SegData) -> list[Measure]:
    """What is measured beyond the confusion matrix."""
    measures = detail(data.classes, predictor.artefact.card) if args.detail else []
    if args.detail or args.bootstrap is not None:
        resamples = RESAMPLES if args.bootstrap is None else args.bootstrap
        measures.append(Bootstrap(data.classes, len(data), resamples=resamples))
    return measures


def described(args: argparse.Namespace, data: SegData, scores: Scores, measures: list[Measure]) -> dict[str, Any]:
    """The scores with what they were measured on, and how."""
    return {
        "model": args.model,
        "data": data.name,
        "root": str(data.root),
        "split": data.split,
        "pictures": len(data),
        "size": size_of(args),
        "scales": args.scales or [1.0],
        "flip": args.flip,
        "tiles": args.tiles,
        "overlap": overlap_of(args),
        **all_json(scores, measures),
    }


def setting_text(args: argparse.Namespace) -> str:
    """How it was measured, where that was not the network's own way; else empty."""
    parts = []
    size = size_of(args)
    if size is not None:
        parts.append("pictures at their own size" if isinstance(size, str) else f"pictures at {size[0]}x{size[1]}")
    if args.scales:
        parts.append(f"mean over scales {', '.join(f'{scale:g}' for scale in args.scales)}")
    if args.flip:
        parts.append("mean with the mirror image")
    if args.tiles:
        parts.append(f"tiles of {args.tiles[0]}x{args.tiles[1]}, overlap {overlap_of(args):g}")
    return f"measured with: {'; '.join(parts)}" if parts else ""


def parse_resamples(text: str) -> int:
    """A number of resamples."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of resamples, or nothing and other options; got {text!r}")
    return int(text)
