"""Time networks side by side in one run: the network alone and end to end, beside what the machine can do at all.

  featherseg benchmark affnet-camvid --size 576x768
  featherseg benchmark affnet-camvid affnet-camvid,tail=plain --size 576x768 720x960 --threads 1 2
  featherseg benchmark affnet smp_deeplabv3plus,tail=plain lraspp,tail=plain --size 1024x2048
  featherseg benchmark runs/mine other.onnx --size 512x512 --backend onnxruntime torch --memory --out report/
  featherseg benchmark affnet-camvid affnet-camvid-int8 --size 576x768 --layers
  featherseg benchmark affnet,fusion=ewa --size 512x1024 --backend torch --mode eager compiled --precision fp32 bf16

A candidate is the name of trained weights, a file (.onnx, ours or another's; .xml; .safetensors), a run directory, or a
network by name (featherseg models), with random weights and --classes classes; libraries' own are smp_deeplabv3plus,
smp_unet and lraspp. After it, with commas: FIELD=VALUE of a network by name, and tail=, how its labels are made:

  tail=exact   featherseg's label_scores (default)
  tail=plain   the usual way: resize all scores to the picture, then argmax, in torch where it is installed, else numpy
  tail=graph   the same as a part of the graph, which then gives labels (ONNX files of ours, networks by name)

Several values of an option make a grid; what a candidate cannot do of it is left out and named. Every row has one turn
in each round, in a new order, so that a busy machine slows all alike. Exported files need no torch. docs/deploy.md
explains every column.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from featherseg.app.arguments import parse_count, parse_size, require_folder
from featherseg.app.progress import Bar
from featherseg.benchmark.plan import ASKED, DEVICES, MODES, NUM_CLASSES, Plan
from featherseg.benchmark.timing import Race
from featherseg.runtime.engines import BACKENDS
from featherseg.runtime.machine import usable_cores
from featherseg.runtime.pixels import CELL, write_atomically

SECONDS = 20.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("candidates", nargs="+", metavar="NAME|PATH", help="what is timed, see above")
    parser.add_argument(
        "--size", nargs="+", required=True, type=parse_sides, metavar="HxW", help="of the network's input"
    )
    parser.add_argument(
        "--backend",
        nargs="+",
        default=["auto"],
        choices=("auto", *BACKENDS),
        help="what runs the networks (default: of a file its own, of a network by name onnxruntime)",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=[],
        choices=ASKED,
        help="of networks by name, and of checkpoints in torch (default: fp32); an exported file has its own",
    )
    parser.add_argument(
        "--mode", nargs="+", default=[], choices=MODES, help="of torch; compiled is channels_last too (default: eager)"
    )
    parser.add_argument(
        "--threads",
        nargs="+",
        type=parse_count,
        default=[usable_cores()],
        help="numbers of threads (default: all cores that this process may use)",
    )
    parser.add_argument("--batch", nargs="+", type=parse_count, default=[1], help="pictures at a time, in torch")
    parser.add_argument("--device", default="cpu", choices=("auto", *DEVICES), help="where it runs (default: cpu)")
    parser.add_argument("--classes", type=parse_count, help=f"of networks by name (default: {NUM_CLASSES})")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="decode and resize this file in every call (default: a picture in memory)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds", type=parse_seconds, default=SECONDS, help="how long the rounds go on (default: %(default)g)"
    )
    length.add_argument("--rounds", type=parse_count, help="how many rounds instead")
    parser.add_argument("--seed", type=int, default=0, help="of the order within the rounds (default: 0)")
    parser.add_argument("--memory", action="store_true", help="also peak memory, each row in a process of its own")
    parser.add_argument(
        "--layers",
        action="store_true",
        help="also where the time goes, layer by layer (onnxruntime, OpenVINO)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also write benchmark.json, .md and .png (accuracy against latency) there",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the files where they are asked for."""
    if args.out is not None:
        require_folder("--out", args.out)
    from featherseg.benchmark import measure
    from featherseg.benchmark.tables import report_text

    with Bar("prepare", 100) as bar:

        def show(what: str, done: float) -> None:
            bar.label = f"{what:<7}"
            bar.show(int(100 * done), 100)

        report = measure(plan_of(args), progress=show)
    said = [] if args.out is None else written(report, args.out)
    print(json.dumps(report) if args.json else "\n".join([report_text(report), *said]))
    return 0


def plan_of(args: argparse.Namespace) -> Plan:
    """The arguments as a plan."""
    return Plan(
        candidates=tuple(dict.fromkeys(args.candidates)),
        sizes=tuple(dict.fromkeys(args.size)),
        backends=tuple(dict.fromkeys(args.backend)),
        precisions=tuple(dict.fromkeys(args.precision)),
        modes=tuple(dict.fromkeys(args.mode)),
        threads=tuple(dict.fromkeys(args.threads)),
        batches=tuple(dict.fromkeys(args.batch)),
        device=device_of(args.device),
        num_classes=args.classes,
        picture=args.picture,
        memory=args.memory,
        layers=args.layers,
        race=Race(seconds=args.seconds, rounds=args.rounds, seed=args.seed),
    )


def written(report: dict[str, Any], folder: Path) -> list[str]:
    """Write the files; returns a line for each, and for what is not in the picture."""
    from featherseg.benchmark.chart import placed, write_chart
    from featherseg.benchmark.tables import report_markdown

    folder.mkdir(parents=True, exist_ok=True)
    texts = {"benchmark.json": json.dumps(report, indent=1) + "\n", "benchmark.md": report_markdown(report)}
    for name, text in texts.items():
        write_text(folder / name, text)
    lines = [str(folder / name) for name in texts]
    chart = folder / "benchmark.png"
    points, absent = placed(report["results"])
    if points and importlib.util.find_spec("matplotlib") is None:
        return [*lines, "no picture: the package matplotlib is not installed: pip install 'featherseg[train]'"]
    if points:
        write_chart(points, chart)
    lines.append(str(chart) if points else "no picture: no row has a score that was measured at its size")
    return [*lines, *(f"not in the picture: {reason}" for reason in absent)]


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def parse_sides(text: str) -> tuple[int, int]:
    """``HxW`` -> (height, width), 32 and more, the least a network takes."""
    with suppress(argparse.ArgumentTypeError):
        size = parse_size(text)
        if isinstance(size, tuple) and min(size) >= CELL:
            return size
    raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH of {CELL} and more, as 576x768; got {text!r}")


def device_of(asked: str) -> str:
    """``--device``, with auto a GPU where torch has one that can be timed."""
    if asked != "auto":
        return asked
    if not BACKENDS["torch"].installed():
        return "cpu"
    from featherseg.models.engine import choose_device

    best = choose_device("auto").type
    return best if best in DEVICES else "cpu"


def parse_seconds(text: str) -> float:
    """Above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"expected seconds above 0; got {text!r}")
    return seconds
