"""How fast the networks run and learn on a GPU, beside the figures that the papers print.

    python benchmarks/gpu.py [--parts speed compiled batches papers training] [--seconds 20] [--out DIR]

speed      the networks of paper 004's Table VI and two more light ones, at its three sizes: eager, channels last and as
           a CUDA graph, fp32 and bf16, one picture at a time
compiled   the same by torch.compile, in bf16
batches    pictures a second by the size of the batch, at 512x1024
papers     each paper's network at the size of its printed speed, or at the size assumed, with that figure beside it
training   steps a second of the zoo's protocol, fp32 and bf16, fed from memory

All but the last are `featherseg benchmark`, whose columns docs/deploy.md explains. A part is one run, its rows in turn;
in batches and papers there are several, and the page has the first one's machine, rounds and limits. Weights are
random. The report goes to benchmarks/results/gpu; a part that is run again replaces its own files.
On a machine without a GPU, --device cpu runs the same with what a CPU can do: to try the script, not to compare.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from featherseg.app.progress import Bar
from featherseg.benchmark import Plan, Race, measure
from featherseg.benchmark.tables import markdown, report_markdown
from featherseg.data.loading import Batch
from featherseg.models import MODELS
from featherseg.recipes import RECIPES
from featherseg.runtime.machine import machine
from featherseg.training import with_overrides
from featherseg.training.determinism import tuned_convolutions
from featherseg.training.loop import Training

RIVALS = ("affnet", "erfnet,supervision=encoder", "spssnet", "enet", "fast_scnn")  # the first three are Table VI's
BATCHES = {  # networks that score every pixel give 2.5 GB a call at 64
    ("affnet", "spssnet", "fast_scnn"): (1, 4, 16, 64),
    ("erfnet,supervision=encoder", "enet"): (1, 4, 16),
}
SIZES = ((512, 512), (512, 1024), (1024, 2048))
PAPERS = {  # network, size: what the paper prints, at what size, on what
    ("caspp_deeplab,pretrained=none", (512, 512)): "000: 43 FPS, RTX 3090, size not given",
    ("fe_deeplab,pretrained=none", (512, 512)): "001: 45 ms, Quadro P4000, size not given",
    ("hybrid_fusion,pretrained=none", (512, 1024)): "002: 110 FPS, neither GPU nor size given",
    ("dsc_deeplab,pretrained=none", (512, 512)): "003: none",
    ("affnet", (512, 1024)): "004: Table III 41.7 FPS, size not given; Table VI 62.5 FPS, RTX 2080",
    ("spssnet", (512, 1024)): "004: Table III 40.0 FPS, size not given; Table VI 50 FPS, RTX 2080",
}
TABLE_VI = {  # FPS on an RTX 2080 at SIZES
    "erfnet,supervision=encoder": (83.3, 41.7, 11.2),
    "spssnet": (135.5, 50.0, 31.25),
    "affnet": (166.6, 62.5, 35.7),
}
LEARNERS = ("affnet", "hybrid_fusion", "caspp_deeplab", "fe_deeplab", "dsc_deeplab", "fast_scnn")
LEARNED_BATCHES = (8, 32)
STEPS = 12


def plans(args: argparse.Namespace) -> dict[str, list[Plan]]:
    """What each part but `training` measures; several plans where not all networks have the same sizes."""
    graph = ("cudagraph",) if args.device == "cuda" else ()
    whole = {"backends": ("torch",), "device": args.device, "race": Race(seconds=args.seconds)}
    both = {**whole, "precisions": ("fp32", "bf16")}
    rivals = {**both, "candidates": RIVALS}
    return {
        "speed": [Plan(**rivals, sizes=SIZES, modes=("eager", "channels_last", *graph))],
        "compiled": [
            Plan(**whole, candidates=RIVALS[:3], sizes=SIZES, precisions=("bf16",), modes=("compiled",)),
        ],
        "batches": [
            Plan(**both, candidates=names, sizes=((512, 1024),), modes=graph or ("channels_last",), batches=batches)
            for names, batches in BATCHES.items()
        ],
        "papers": [Plan(**both, candidates=(name,), sizes=(size,), modes=("eager", *graph)) for name, size in PAPERS],
    }


def printed(row: dict[str, Any]) -> str:
    """What the papers print of a row's network at its size."""
    name, size = row["name"], tuple(row["size"])
    if (name, size) in PAPERS:
        return PAPERS[name, size]
    return f"004: {TABLE_VI[name][SIZES.index(size)]:g} FPS, RTX 2080" if name in TABLE_VI and size in SIZES else ""


def frames(report: dict[str, Any]) -> list[list[str]]:
    """Frames a second of each row: by the device's own clock, and with the picture's way to it and the labels' back."""
    heads = [
        *("network", "size", "mode", "precision", "batch"),
        *("network, FPS", "end to end, FPS", "GMACs", "MB moved", "of GEMM", "of copy", "printed"),
    ]
    lines = [heads]
    for row in report["results"]:
        alone = row["ms"].get("device", row["ms"]["network"])["p50"]
        moved = row["bytes_moved"]
        lines.append(
            [
                row["name"], "x".join(map(str, row["size"])), row["mode"], row["precision"], str(row["batch"]),
                f"{1000 * row['batch'] / alone:.1f}", f"{row['pictures_per_second']:.1f}", f"{row['macs'] / 1e9:.2f}",
                "" if moved is None else f"{moved / 1e6:.0f}", share(row["of_gemm"]), share(row["of_copy"]),
                printed(row),
            ]
        )  # fmt: skip
    return lines


def share(value: float | None) -> str:
    """A percentage; empty for none."""
    return "" if value is None else f"{100 * value:.1f} %"


def merged(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Reports of one part as one: the first one's machine, settings and limits, everyone's rows."""
    first, *others = reports
    rows = [*first["results"], *(row for other in others for row in other["results"])]
    left_out = list(dict.fromkeys(reason for report in reports for reason in report["left_out"]))
    return {**first, "results": rows, "left_out": left_out}


def learning(device: str) -> list[dict[str, Any]]:
    """Steps a second of each learner, as `Training.step` takes them: copy, normalise, learn, and wait for the loss."""
    with tempfile.TemporaryDirectory(prefix="featherseg-") as folder:
        write_noise(Path(folder))
        return [
            learnt(name, batch_size, precision, device, folder)
            for name in LEARNERS
            for batch_size in LEARNED_BATCHES
            for precision in ("fp32", "bf16")
        ]


def learnt(name: str, batch_size: int, precision: str, device: str, root: str) -> dict[str, Any]:
    """One learner: median seconds of a step, and the most memory that the device gave."""
    words = [f"data.root={root}", f"batch_size={batch_size}", f"precision={precision}", f"device={device}", "workers=0"]
    if "pretrained" in MODELS[name].fields():
        words.append("model.pretrained=none")
    run = with_overrides(RECIPES[f"{name}_zoo_camvid"](), [*words, f"out={root}/nowhere"])
    training = Training(run, Path(run.out), None)
    crop = run.augment.crop_size
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch_size, 3, *crop), dtype=torch.uint8, generator=draw)
    target = torch.randint(0, 11, (batch_size, *crop), dtype=torch.uint8, generator=draw)
    if device == "cuda":
        images, target = images.pin_memory(), target.pin_memory()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    with tuned_convolutions(True):
        for _ in range(STEPS):
            began = time.perf_counter()
            training.step([Batch(images, target)], 1e-3)  # its loss is in the host's memory: the device is done
            seconds.append(time.perf_counter() - began)
    step = median(seconds[STEPS // 4 :])
    return {
        "network": name,
        "batch": batch_size,
        "crop": list(crop),
        "precision": training.precision,
        "steps_per_second": round(1 / step, 2),
        "pictures_per_second": round(batch_size / step, 1),
        "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
    }


def write_noise(root: Path) -> None:
    """Pictures of noise in CamVid's layout, enough for the largest batch."""
    rng = np.random.default_rng(0)
    for split, count in (("train", max(LEARNED_BATCHES)), ("val", 1)):
        for kind, high, shape in (("", 256, (360, 480, 3)), ("annot", 11, (360, 480))):
            folder = root / f"{split}{kind}"
            folder.mkdir()
            for index in range(count):
                noise = rng.integers(0, high, shape).astype(np.uint8)
                Image.fromarray(noise).save(folder / f"{split}_{index:02}.png")


def learning_page(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The training steps as Markdown."""
    table = [["network", "crop", "batch", "precision", "steps/s", "pictures/s", "GPU memory, MB"]]
    for row in rows:
        memory = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
        cells = [row["network"], "x".join(map(str, row["crop"])), row["batch"], row["precision"]]
        table.append([*map(str, cells), f"{row['steps_per_second']:g}", f"{row['pictures_per_second']:g}", memory])
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items() if number)
    where = f"{facts['gpu'] or facts['cpu']}; {facts['cores']} cores; Python {facts['python']}; {versions}"
    lines = [
        "# Training steps",
        "",
        "`python benchmarks/gpu.py --parts training`: the zoo's protocol, 11 classes, batches of noise in the host's "
        f"memory; medians of {STEPS - STEPS // 4} steps, the first {STEPS // 4} left out. {where}; commit "
        f"{facts['commit']}.",
        "",
    ]
    return "\n".join([*lines, *markdown(table)]) + "\n"


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("speed", "compiled", "batches", "papers", "training")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the rounds of a run go on (default: 20)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu tries the script without one")
    args.out.mkdir(parents=True, exist_ok=True)
    planned = plans(args)
    for part in args.parts:
        if part == "training":
            rows, facts = learning(args.device), machine(("featherseg", "torch"))
            keep(args.out, part, {"machine": facts, "results": rows}, learning_page(rows, facts))
            continue
        with Bar(part, 100) as bar:
            show = partial(shown, bar)
            reports = [measure(plan, progress=show) for plan in planned[part]]
        report = merged(reports)
        page = report_markdown(report, f"On a GPU: {part}") + "\n" + "\n".join(markdown(frames(report))) + "\n"
        keep(args.out, part, report, page)
    return 0


def shown(bar: Bar, what: str, done: float) -> None:
    """What is being done, and how far it is."""
    bar.label = f"{what:<7}"
    bar.show(int(100 * done), 100)


def keep(folder: Path, part: str, report: dict[str, Any], page: str) -> None:
    """Write a part at once: a later one may be cut off."""
    (folder / f"{part}.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / f"{part}.md").write_text(page)
    print(folder / f"{part}.md", flush=True)


if __name__ == "__main__":
    sys.exit(main())
