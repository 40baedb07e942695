"""Write a trained network as a file that needs no torch, and prove that it says the same.

  featherseg export runs/mine --to onnx
  featherseg export runs/mine --to onnx --out mine.onnx --precision fp16
  featherseg export runs/mine --to onnx --size 240x320           sees pictures smaller, and so runs faster
  featherseg export runs/mine --to onnx --data folder --root photos --split val
  featherseg export runs/mine --to onnx --calibrate photos/      without labels: pixels are compared, mIoU is not

The file takes uint8 pictures of any size, has mean and std inside, and says of itself what its classes are. It is
compared with the network on real pictures at three sizes other than the traced one; if they disagree, nothing is
written. Where labelled pictures are at hand (by default the run's own validation split) the file's mIoU is measured.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_device, parse_size
from featherseg.app.progress import Bar
from featherseg.data import FORMATS, SegData, open_data
from featherseg.export import export_onnx
from featherseg.export.onnx import PRECISIONS
from featherseg.hub import CHECKPOINTS, locate
from featherseg.models.checkpoint import load_checkpoint
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import PICTURE_SUFFIXES, Picture, read_image

COMPARED = 5  # pictures that the agreement is measured on


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", metavar="RUN|NAME", help="a run directory, a checkpoint, or the name of one")
    parser.add_argument("--to", required=True, choices=("onnx",), help="the kind of file")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where it goes (default: NAME.onnx beside the checkpoint)"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=PRECISIONS,
        help="fp16 stores the weights in half the space (default: fp32)",
    )
    parser.add_argument(
        "--size",
        type=parse_size,
        metavar="own|HxW",
        help="the size at which the file is to see pictures, and is scored (default: the one of the run)",
    )
    parser.add_argument(
        "--data", default="auto", choices=("auto", *FORMATS), help="the layout of the labelled pictures"
    )
    parser.add_argument("--root", type=Path, help="their folder (default: the run's own data)")
    parser.add_argument("--split", default="val", help="which part of them (default: %(default)s)")
    parser.add_argument(
        "--calibrate", type=Path, metavar="DIR", help="a folder of pictures without labels to compare on"
    )
    parser.add_argument("--max-drop", type=float, metavar="POINTS", help="mIoU points that the file may lose at most")
    parser.add_argument(
        "--bias",
        nargs="+",
        default=[],
        metavar="CLASS=SCORE",
        help="add to the scores of a class, as pedestrian=0.5 to miss fewer of them, or car=-0.5 to see fewer wrongly",
    )
    add_device(parser, "where the network is scored")
    parser.add_argument("--force", action="store_true", help="keep the file though it disagrees, marked on its card")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Export, prove, measure, report."""
    checkpoint = locate(args.model, "torch")
    network, artefact = load_checkpoint(checkpoint)
    if args.size is not None:
        size = None if args.size == "own" else args.size
        artefact = replace(artefact, input_rule=replace(artefact.input_rule, size=size))
    data = labelled(args, artefact)
    pictures = pictures_to_compare(args, data)
    out = args.out or beside(checkpoint)
    with Bar("val", len(data) if data else 0) as bar:
        agreement = export_onnx(
            network,
            artefact,
            out,
            pictures=pictures,
            data=data,
            precision=args.precision,
            max_drop=args.max_drop,
            keep_despite=args.force,
            bias=dict(parse_bias(word) for word in args.bias),
            device=args.device,
            progress=bar.show,
        )
    report = {"file": str(out), "bytes": out.stat().st_size, **agreement.to_json()}
    print(json.dumps(report) if args.json else report_text(report))
    return 0


def parse_bias(word: str) -> tuple[str, float]:
    """``CLASS=SCORE`` as its two values."""
    name, _, number = word.rpartition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise FeathersegError(f"--bias {word}", expected="CLASS=SCORE, as pedestrian=0.5") from error


def beside(checkpoint: Path) -> Path:
    """NAME.onnx where `featherseg.load` looks for it: a run directory's file is called as the directory."""
    name = checkpoint.parent.resolve().name if checkpoint.name in CHECKPOINTS else checkpoint.stem
    return checkpoint.with_name(f"{name}.onnx")


def labelled(args: argparse.Namespace, artefact: Artefact) -> SegData | None:
    """The labelled pictures asked for, else the run's own validation split where it is at hand, else none."""
    if args.root is not None:
        return open_data(args.root, args.data, args.split)
    if args.calibrate is not None:
        return None
    own = artefact.card.get("run", {}).get("data", {})
    root = Path(own.get("root") or "")
    if not own.get("root") or not root.expanduser().is_dir():
        return None
    return open_data(root, own["format"], own["val"])


def pictures_to_compare(args: argparse.Namespace, data: SegData | None) -> list[Picture]:
    """A few real pictures, spread over the data or the folder."""
    if data is not None:
        step = max(1, len(data) // COMPARED)
        return [read_image(pair.image) for pair in data.pairs[::step][:COMPARED]]
    if args.calibrate is None:
        raise FeathersegError(
            "export compares on real pictures, and the run's own are not at hand",
            remedy="name labelled ones with --data FORMAT --root DIR, or a folder of pictures with --calibrate DIR",
        )
    if not args.calibrate.is_dir():
        raise FeathersegError(f"{args.calibrate}: there is no such folder")
    paths = sorted(path for path in args.calibrate.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise FeathersegError(f"{args.calibrate}: no picture in it")
    return [read_image(path) for path in paths[:: max(1, len(paths) // COMPARED)][:COMPARED]]


def report_text(report: dict[str, Any]) -> str:
    """The report as lines; the last one is the file."""
    sizes = ", ".join(f"{height}x{width}" for height, width in report["sizes"])
    miou = (
        "not measured (no labelled pictures at hand)"
        if report["miou"] is None
        else f"{100 * report['miou']:.2f} % (network {100 * report['miou_before']:.2f} %)"
    )
    return "\n".join(
        [
            f"compared on {report['pictures']} pictures at {sizes}",
            f"  largest difference of scores  {report['largest_difference']:.2g} of the largest",
            f"  pixels with the same label    {100 * report['equal_pixels']:.4f} %",
            f"  agrees                        {'yes' if report['agrees'] else 'NO, kept because of --force'}",
            f"  mIoU                          {miou}",
            f"  size                          {report['bytes'] / 1e6:.2f} MB",
            report["file"],
        ]
    )
