"""Write a trained network as a file for a device, and prove that it says the same.

  featherseg export runs/mine --to onnx
  featherseg export runs/mine --to onnx --precision int8         8 bits: smaller, and faster on most CPUs
  featherseg export runs/mine --to openvino --precision int8     the fastest on Intel CPUs
  featherseg export runs/mine --to onnx --out mine.onnx --precision fp16
  featherseg export runs/mine --to onnx --size 240x320           sees pictures smaller, and so runs faster
  featherseg export runs/mine --to onnx --data folder --root photos --split val
  featherseg export runs/mine --to onnx --mask                   labels beside scores, for other programs
  featherseg export runs/mine --to onnx --calibrate photos/      without labels: pixels are compared, mIoU is not

kinds of file:
  onnx        NAME.onnx, for onnxruntime and what else reads ONNX; fp32, fp16 (half the size), int8
  openvino    NAME.xml and NAME.bin, for OpenVINO; fp32, fp16, bf16 (faster where the CPU has it), int8
  executorch  NAME.pte, for phones and boards (XNNPACK), pictures of up to 1024x1024; fp32, int8
  torch       NAME.pt2, a torch.export program for other programs to load; fp32

The file takes uint8 pictures (of any size, but for executorch), has mean and std inside, and says of itself what its
classes are. It is compared with the network on real pictures at three sizes other than the traced one; if they
disagree, nothing is written. Where labelled pictures are at hand (by default the run's own validation split) the file's
mIoU is measured.

int8 measures the ranges of the maps on pictures of the training split, or of --calibrate. Where it loses more than
--max-drop (0.5 points unless given), the layers that cost most stay in float, and the report names them.
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_device, parse_size
from featherseg.app.progress import Bar
from featherseg.data import FORMATS, SegData, open_data
from featherseg.evaluation import sheet
from featherseg.export import PRECISIONS, TARGETS, export
from featherseg.hub import CHECKPOINTS, locate, repository_of
from featherseg.models.checkpoint import load_checkpoint
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import CELL, PICTURE_SUFFIXES, Picture, read_image
from featherseg.runtime.predictor import Size

COMPARED = 5  # pictures that the agreement is measured on
CALIBRATED = 32  # pictures that the ranges of 8 bits are measured on


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", metavar="RUN|NAME", help="run directory, checkpoint, name, or ORG/NAME on the hub")
    parser.add_argument("--to", required=True, choices=tuple(TARGETS), help="the kind of file")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where it goes (default: beside the checkpoint, under its name; NAME-int8 for 8 bits)",
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        choices=PRECISIONS,
        help="how it stores its weights and calculates (default: fp32)",
    )
    parser.add_argument(
        "--size",
        type=parse_seen,
        metavar="own|HxW",
        help="the size at which the file is to see pictures, and is scored (default: the one of the run)",
    )
    parser.add_argument("--root", type=Path, help="labelled pictures (default: the run's own)")
    parser.add_argument("--data", choices=("auto", *FORMATS), help="the layout of --root (default: auto)")
    parser.add_argument("--split", help="which part of them (default: that which the run was chosen by, of --root val)")
    parser.add_argument(
        "--calibrate", type=Path, metavar="DIR", help="a folder of pictures without labels, to compare and calibrate on"
    )
    parser.add_argument(
        "--max-drop", type=parse_points, metavar="POINTS", help="mIoU points that the file may lose at most"
    )
    parser.add_argument(
        "--bias",
        nargs="+",
        default=[],
        metavar="CLASS=SCORE",
        help="add to the scores of a class, as pedestrian=0.5 to miss fewer of them, or car=-0.5 to see fewer wrongly",
    )
    parser.add_argument(
        "--mask", action="store_true", help="also give labels, mask uint8 (1,H,W), for programs without featherseg"
    )
    add_device(parser, "where the network is scored")
    parser.add_argument("--force", action="store_true", help="keep the file though it disagrees, marked on its card")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Export, prove, measure, report."""
    require_precision(args.to, args.precision)
    checkpoint = locate(args.model, "torch")
    network, artefact = load_checkpoint(checkpoint)
    if args.size is not None:
        size = None if args.size == "own" else args.size
        artefact = replace(artefact, input_rule=replace(artefact.input_rule, size=size))
    data = labelled(args, artefact)
    if args.max_drop is not None and data is None:
        raise FeathersegError(
            "--max-drop",
            expected="labelled pictures to measure mIoU on",
            got="none",
            remedy="name them with --data FORMAT --root DIR, or leave it out",
        )
    pictures = pictures_to_compare(args, data)
    fetched = repository_of(args.model)  # the hub's cache is not ours to write into
    place = checkpoint if fetched is None else Path(f"{fetched.name}.safetensors")
    out = args.out or beside(place, TARGETS[args.to].suffix, args.precision)
    with Bar("val", len(data) if data else 0) as bar:
        agreement = export(
            network,
            artefact,
            out,
            to=args.to,
            calibration=pictures_to_calibrate(args, artefact, data) if args.precision == "int8" else (),
            pictures=pictures,
            data=data,
            precision=args.precision,
            max_drop=args.max_drop,
            keep_despite=args.force,
            bias=dict(parse_bias(word) for word in args.bias),
            mask=args.mask,
            device=args.device,
            progress=bar.show,
        )
    files = [out.with_suffix(suffix) for suffix in (TARGETS[args.to].suffix, *TARGETS[args.to].beside)]
    size = sum(path.stat().st_size for path in files)
    report = {"file": str(out), "bytes": size, "precision": args.precision, **agreement.to_json()}
    print(json.dumps(report) if args.json else report_text(report))
    return 0


def require_precision(to: str, precision: str) -> None:
    """Refuse a precision that this kind of file does not have; the message names the kinds that do."""
    if precision in TARGETS[to].precisions:
        return
    having = [f"--to {name}" for name, target in TARGETS.items() if precision in target.precisions]
    raise FeathersegError(
        f"--to {to}: precision",
        expected=" or ".join(TARGETS[to].precisions),
        got=precision,
        remedy=f"{' and '.join(having)} {'has' if len(having) == 1 else 'have'} {precision}",
    )


def parse_seen(text: str) -> Size:
    """``own``, or ``HxW`` of the sides that files take."""
    size = parse_size(text)
    if isinstance(size, tuple) and min(size) < CELL:
        raise argparse.ArgumentTypeError(f"files take sides of {CELL} and more; got {text!r}")
    return size


def parse_points(text: str) -> float:
    """mIoU points, 0 or more."""
    with suppress(ValueError):
        if float(text) >= 0:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected mIoU points, 0 or more; got {text!r}")


def parse_bias(word: str) -> tuple[str, float]:
    """``CLASS=SCORE`` as its two values."""
    name, _, number = word.rpartition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise FeathersegError(f"--bias {word}", expected="CLASS=SCORE, as pedestrian=0.5") from error


def beside(checkpoint: Path, suffix: str, precision: str) -> Path:
    """NAME.onnx where `featherseg.load` looks for it: a run directory's file is called as the directory."""
    name = checkpoint.parent.resolve().name if checkpoint.name in CHECKPOINTS else checkpoint.stem
    return checkpoint.with_name(f"{name}{'-int8' if precision == 'int8' else ''}{suffix}")


def labelled(args: argparse.Namespace, artefact: Artefact) -> SegData | None:
    """The labelled pictures asked for, else the run's own validation split where it is at hand, else none."""
    if args.root is not None:
        if args.calibrate is not None and args.precision != "int8":
            raise FeathersegError(
                f"--calibrate in {args.precision}: nothing is calibrated, and --root has the pictures to compare on",
                remedy="leave one out",
            )
        return open_data(args.root, args.data or "auto", args.split or "val", classes=classes_of(artefact))
    if args.data is not None:
        raise FeathersegError("--data is the layout of --root", remedy="add --root DIR, or leave it out")
    if args.calibrate is not None:
        if args.split is not None:
            raise FeathersegError("--split is of labelled pictures", remedy="add --root DIR, or leave it out")
        return None
    own = artefact.card.get("run", {}).get("data", {})
    root = Path(own.get("root") or "")
    if not own.get("root") or not root.expanduser().is_dir():
        return None
    return open_data(root, own["format"], args.split or own["val"], classes=classes_of(artefact))


def classes_of(artefact: Artefact) -> list[str]:
    """The classes that the run chose from its data; empty for all."""
    return list(artefact.card.get("run", {}).get("data", {}).get("classes") or ())


def pictures_to_compare(args: argparse.Namespace, data: SegData | None) -> list[Picture]:
    """A few real pictures, spread over the data or the folder."""
    if data is not None:
        return read_spread([pair.image for pair in data.pairs], COMPARED)
    if args.calibrate is None:
        raise FeathersegError(
            "export compares on real pictures, and the run's own are not at hand",
            remedy="name labelled ones with --data FORMAT --root DIR, or a folder of pictures with --calibrate DIR",
        )
    return read_spread(pictures_in(args.calibrate), COMPARED)


def pictures_to_calibrate(args: argparse.Namespace, artefact: Artefact, data: SegData | None) -> list[Picture]:
    """Pictures of --calibrate, else of the training split of the labelled data."""
    if args.calibrate is not None:
        return read_spread(pictures_in(args.calibrate), CALIBRATED)
    assert data is not None  # else pictures_to_compare has refused
    split = artefact.card.get("run", {}).get("data", {}).get("train") or "train"
    try:
        train = open_data(data.root, data.name, split)
    except FeathersegError as error:
        raise FeathersegError(
            f"int8 measures its ranges on pictures of the training split, and {data.root} has no {split!r}",
            remedy="name a folder of such pictures with --calibrate DIR",
        ) from error
    return read_spread([pair.image for pair in train.pairs], CALIBRATED)


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder and the folders below it."""
    if not folder.is_dir():
        raise FeathersegError(f"{folder}: there is no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise FeathersegError(f"{folder}: no picture in it")
    return paths


def read_spread(paths: list[Path], count: int) -> list[Picture]:
    """So many of the pictures, evenly spread."""
    return [read_image(paths[place]) for place in sheet.spread(len(paths), count)]


def report_text(report: dict[str, Any]) -> str:
    """The report as lines; the last one is the file."""
    sizes = ", ".join(f"{height}x{width}" for height, width in report["sizes"])
    miou = (
        "not measured (no labelled pictures at hand)"
        if report["miou"] is None
        else f"{100 * report['miou']:.2f} % (network {100 * report['miou_before']:.2f} %)"
    )
    lines = [
        f"compared on {report['pictures']} pictures at {sizes}",
        f"  largest difference of scores  {report['largest_difference']:.2g} of the largest",
        f"  pixels with the same label    {100 * report['equal_pixels']:.4f} %",
        f"  agrees                        {'yes' if report['agrees'] else 'NO, kept because of --force'}",
        f"  mIoU                          {miou}",
        f"  latency, network only         {report['latency_ms']:.1f} ms (torch {report['latency_ms_before']:.1f} ms)",
        f"  size                          {report['bytes'] / 1e6:.2f} MB",
    ]
    if report["equal_mask"] is not None:
        lines.insert(3, f"  mask as label_scores          {100 * report['equal_mask']:.4f} % of the pixels")
    if report["iou_change"] is not None:
        gains = {name: 100 * gain for name, gain in report["iou_change"].items() if gain is not None}
        worst = sorted(gains, key=lambda name: gains[name])
        told = ", ".join(f"{name} {gains[name]:+.2f}" for name in worst)
        lines.append(f"  IoU per class, points         {told}")
    if report["precision"] == "int8":
        lines.append(f"  layers left in float          {', '.join(report['layers_in_float']) or 'none'}")
    return "\n".join([*lines, report["file"]])
