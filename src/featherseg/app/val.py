"""Score a network on labelled pictures: one confusion matrix over the whole data set.

  featherseg val affnet-camvid --data camvid --root ~/data/camvid
  featherseg val runs/mine --data folder --root photos --split val --report report/
  featherseg val net.onnx --root photos --json

mIoU is the mean of the classes' intersection over union; class accuracy (mPA) the mean of their pixel accuracies; pixel
accuracy (PA) the share of all labelled pixels that are right; fwIoU weights each class's IoU by its share. A class that
neither truth nor prediction holds is left out of the means, and named. Pictures are scored at their masks' own size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_backend, add_device, add_size, require_folder
from featherseg.app.progress import Bar
from featherseg.data import FORMATS, SegData, open_data
from featherseg.evaluation import evaluate
from featherseg.evaluation.report import Worst, scores_text, write_report
from featherseg.hub import load
from featherseg.metrics import Scores


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", metavar="RUN|NAME|PATH", help="a run directory, a name, an .onnx file or a checkpoint")
    parser.add_argument("--data", default="auto", choices=("auto", *FORMATS), help="the layout of the data")
    parser.add_argument("--root", required=True, type=Path, help="the data's folder")
    parser.add_argument("--split", default="val", help="which part of it (default: %(default)s)")
    add_size(parser)
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
    predictor = load(args.model, device=args.device, backend=args.backend)
    data = open_data(args.root, args.data, args.split)
    worst = Worst()
    with Bar("val", len(data)) as bar:
        scores = evaluate(predictor, data, size=args.size, progress=bar.show, observe=worst)
    if args.report is not None:
        write_report(args.report, data, scores, worst, title=str(args.model))
    print(json.dumps(described(args.model, data, scores)) if args.json else scores_text(scores, data))
    return 0


def described(model: str, data: SegData, scores: Scores) -> dict[str, Any]:
    """The scores with what they were measured on."""
    return {
        "model": model,
        "data": data.name,
        "root": str(data.root),
        "split": data.split,
        "pictures": len(data),
        **scores.to_json(),
        "confusion": scores.confusion.tolist(),
    }
