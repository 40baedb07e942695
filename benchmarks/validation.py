"""Time a validation: ours against the usual way in torch, with one network, stage by stage and as a whole.

    python benchmarks/validation.py [--camvid ROOT] [--pictures 8] [--rounds 5] [--threads 2] [--device cpu]
        [--network FILE] [--out FILE]

The usual way, batch 1: Pillow reads, the picture becomes float and is normalised (N,C,H,W), the network, interpolate to
the mask's size, argmax, torchmetrics' MulticlassConfusionMatrix; with its defaults, and with validate_args=False. Ours:
`featherseg.evaluate`, whose stages are also timed one after the other. The network is the AFFNet of weights/, or a
checkpoint trained on CamVid's 11 classes, on pictures of their own size: CamVid's val split (360x480), and generated
pictures of 1024x2048 with 19 classes: cuttings of the bundled street, true labels from the network itself, moved by
some pixels. Ours is the network as `TorchEngine.open` has it: batch norms folded into convolutions.

All contestants see each picture, in turns within one process, so that a busy machine slows them alike. Per picture, the
medians over rounds of the processor's time, in which other work is not counted, and of the clock's; ratios are those of
each round, of which the median and the extremes are printed. Both confusion matrices are compared.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait spin otherwise, and count as processor time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchmetrics.classification import MulticlassConfusionMatrix

from featherseg.data import SegData, open_data
from featherseg.evaluation import evaluate
from featherseg.metrics import confusion_matrix
from featherseg.models import create_model
from featherseg.models.base import SegNetwork
from featherseg.models.checkpoint import read_checkpoint
from featherseg.models.engine import TorchEngine, stripped
from featherseg.runtime.artefact import Artefact, Preprocessing
from featherseg.runtime.classes import Classes
from featherseg.runtime.machine import machine
from featherseg.runtime.predictor import Predictor

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "weights" / "affnet-camvid.safetensors"
STREET = ROOT / "src" / "featherseg" / "runtime" / "bundled" / "street.jpg"
PACKAGES = ("featherseg", "torch", "torchmetrics", "numpy", "pillow")
SIZE = (1024, 2048)
CLASSES = 19


class Watch:
    """Seconds of the stages of one pass over some pictures: processor and clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds what lies within."""
        began = time.process_time(), time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        spent = time.process_time() - began[0], time.perf_counter() - began[1]
        self.seconds[name] = [sum(pair) for pair in zip(self.seconds[name], spent, strict=True)]


def trained(path: Path, num_classes: int) -> SegNetwork:
    """The network of a checkpoint; classes that it does not know get a score that hardly ever wins."""
    weights, model, _ = read_checkpoint(path)
    fields = {name: "none" if name == "pretrained" else value for name, value in model.items() if name != "name"}
    network = create_model(model["name"], num_classes=num_classes, **fields)
    for name, value in network.state_dict().items():
        known = weights[name]
        if value.shape == known.shape:
            value.copy_(known)
        else:
            value[: len(known)], value[len(known) :] = known, -6 if name.endswith("bias") else 0
    return network.eval()


def generated(folder: Path, pictures: int, network: SegNetwork) -> SegData:
    """Pictures of 1024x2048 in the folder format, labelled by the network, the labels moved a little."""
    classes = Classes(names=tuple(f"class{index}" for index in range(CLASSES)))
    artefact = Artefact(classes=classes, stride=network.stride)
    predictor = Predictor(TorchEngine(network, artefact, device="cpu"), artefact)
    street, rng = Image.open(STREET).convert("RGB"), np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind / "val").mkdir(parents=True)
    (folder / "classes.yaml").write_text(f"names: [{', '.join(classes.names)}]\n")
    for index in range(pictures):
        left, top = rng.uniform(0, 0.15, 2) * street.size
        box = (left, top, left + 0.85 * street.width, top + 0.85 * street.height)
        image = np.array(street.resize(SIZE[::-1], Image.Resampling.BICUBIC, box))
        image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)  # real pictures have noise
        mask = np.roll(predictor(image, "own").mask, (5, 9), (0, 1))
        mask[-100:] = 255
        Image.fromarray(image).save(folder / "images" / "val" / f"{index}.png")
        Image.fromarray(mask).save(folder / "masks" / "val" / f"{index}.png")
    return open_data(folder, "folder", "val")


def usual(network: SegNetwork, data: SegData, watch: Watch, metric: MulticlassConfusionMatrix) -> np.ndarray:
    """The way of many validation loops."""
    device, preprocessing = watch.device, Preprocessing()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    for pair in data.pairs:
        with watch.stage("read"):
            image = torch.from_numpy(np.array(Image.open(pair.image).convert("RGB"))).permute(2, 0, 1).contiguous()
            image = ((image / 255 - mean) / std)[None].to(device)
            mask = np.array(Image.open(pair.mask))
            target = torch.from_numpy(np.where(mask >= len(data.classes), 255, mask)).long()[None].to(device)
        with watch.stage("network"):
            scores = network(image).logits
        with watch.stage("resize"):
            full = F.interpolate(scores, size=target.shape[-2:], mode="bilinear", align_corners=False)
        with watch.stage("argmax"):
            labels = full.argmax(1)
        with watch.stage("metrics"):
            metric.update(labels, target)
    return metric.compute().cpu().numpy()


def in_turn(predictor: Predictor, data: SegData, watch: Watch) -> None:
    """Our stages one after the other."""
    for index in range(len(data)):
        with watch.stage("read"):
            sample = data.read(index)
            prepared = predictor.prepare(sample.image, "own")
        with watch.stage("network"):
            scores = predictor.engine(prepared.framed)
        with watch.stage("labels"):
            mask = predictor.label(prepared, scores).mask
        with watch.stage("metrics"):
            confusion_matrix(mask, sample.mask, len(data.classes))


def measure(name: str, network: SegNetwork, data: SegData, rounds: int, device: torch.device) -> dict[str, Any]:
    """Every contestant over the data, in turns."""
    artefact = Artefact(classes=data.classes, stride=network.stride)
    network = network.to(device)
    predictor = Predictor(
        TorchEngine(stripped(copy.deepcopy(network), torch.device(device)), artefact, device=device), artefact
    )
    found: dict[str, list[dict[str, list[float]]]] = defaultdict(list)
    for _ in range(rounds + 1):
        for contestant in ("usual", "usual, unchecked", "in turn", "ours"):
            watch = Watch(device)
            if contestant.startswith("usual"):
                checks = contestant == "usual"
                metric = MulticlassConfusionMatrix(len(data.classes), ignore_index=255, validate_args=checks)
                with torch.inference_mode():
                    theirs = usual(network, data, watch, metric.to(device))
            elif contestant == "in turn":
                in_turn(predictor, data, watch)
            else:
                with watch.stage("whole"):
                    ours = evaluate(predictor, data, size="own").confusion
            found[contestant].append({stage: [t / len(data) for t in both] for stage, both in watch.seconds.items()})
    kept = {contestant: values[1:] for contestant, values in found.items()}  # the first round warms up
    return {
        "data": name,
        "pictures": len(data),
        "size": list(data.read(0).mask.shape),
        "classes": len(data.classes),
        "pixels_counted_otherwise": int(np.abs(ours - theirs).sum()) // 2,
        "pixels": int(ours.sum()),
        "milliseconds": {contestant: stages(values) for contestant, values in kept.items()},
        "ratios": ratios(kept),
    }


def stages(values: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Medians over the rounds, (processor, clock) in milliseconds."""
    return {
        stage: [round(1000 * float(np.median([value[stage][kind] for value in values])), 3) for kind in (0, 1)]
        for stage in values[0]
    }


def ratios(kept: dict[str, list[dict[str, list[float]]]]) -> dict[str, dict[str, list[float]]]:
    """Usual over ours, round by round: median, smallest, largest, by processor and by clock."""
    ours_tail, tail, result = ("labels", "metrics"), ("resize", "argmax", "metrics"), {}
    for checked in ("usual", "usual, unchecked"):
        for what, their_stages, contestant, our_stages in (
            ("labels and metrics", tail, "in turn", ours_tail),
            ("whole", ("read", "network", *tail), "ours", ("whole",)),
        ):
            result[f"{what}, {checked}"] = {
                clock: spread(
                    [
                        sum(their[stage][kind] for stage in their_stages)
                        / sum(our[stage][kind] for stage in our_stages)
                        for their, our in zip(kept[checked], kept[contestant], strict=True)
                    ]
                )
                for kind, clock in enumerate(("processor", "clock"))
            }
    return result


def spread(values: list[float]) -> list[float]:
    return [round(float(value), 2) for value in (np.median(values), min(values), max(values))]


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    facts = report["machine"]
    lines = [
        f"# Validation with {report['network']}",
        "",
        f"`python benchmarks/validation.py {report['command']}` at commit {facts['commit']}, {report['date']}: "
        f"{facts['gpu'] if report['device'] == 'cuda' else facts['cpu']}, {facts['cores']} cores, {report['threads']} "
        f"threads, load {report['load'][0]} to {report['load'][1]}, torch {facts['versions']['torch']}, torchmetrics "
        f"{facts['versions']['torchmetrics']}, Python {facts['python']}. The script says what is compared, and how.",
    ]
    for part in report["results"]:
        height, width = part["size"]
        lines += [
            "",
            f"## {part['data']}: {part['pictures']} pictures of {height}x{width}, {part['classes']} classes",
            "",
            "| stage, ms a picture | usual: processor | clock | ours: processor | clock |",
            "|---|---|---|---|---|",
        ]
        theirs, ours = part["milliseconds"]["usual"], part["milliseconds"]["in turn"]
        unchecked = part["milliseconds"]["usual, unchecked"]["metrics"]
        for stage in ("read", "network", "resize", "argmax", "labels", "metrics"):
            cells = [f"{value:.1f}" for side in (theirs, ours) for value in side.get(stage, ())]
            cells = ["", "", *cells] if stage not in theirs else [*cells, "", ""] if stage not in ours else cells
            lines.append(f"| {stage} | {' | '.join(cells)} |")
        whole = [[sum(values[kind] for values in theirs.values()) for kind in (0, 1)]]
        whole.append(part["milliseconds"]["ours"]["whole"])
        lines.append(f"| the whole | {' | '.join(f'{value:.1f}' for side in whole for value in side)} |")
        lines += ["", f"(torchmetrics without checks: {unchecked[0]:.1f} and {unchecked[1]:.1f} ms.)", ""]
        lines += ["| usual / ours | by processor | by clock |", "|---|---|---|"]
        for what, ratio in part["ratios"].items():
            cells = [
                f"{middle:.1f} ({low:.1f} to {high:.1f})"
                for middle, low, high in (ratio["processor"], ratio["clock"])
            ]  # fmt: skip
            lines.append(f"| {what} | {' | '.join(cells)} |")
        lines += ["", f"Pixels counted otherwise: {part['pixels_counted_otherwise']} of {part['pixels']:,}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, help="CamVid's folder; without it the generated pictures alone")
    parser.add_argument("--pictures", type=int, default=8, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--network", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, help="write FILE.json and FILE.md")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device, before, results = torch.device(args.device), os.getloadavg()[0], []
    if args.camvid:
        data = open_data(args.camvid, "camvid", "val")
        data = data.every(max(1, len(data) // args.pictures), 0)
        results.append(measure("CamVid val", trained(args.network, len(data.classes)), data, args.rounds, device))
    with tempfile.TemporaryDirectory() as folder:
        network = trained(args.network, CLASSES)
        data = generated(Path(folder), args.pictures, network)
        results.append(measure("generated", network, data, args.rounds, device))
    words = f"{'--camvid ROOT ' if args.camvid else ''}--pictures {args.pictures} --rounds {args.rounds}"
    report = {
        "command": f"{words} --threads {args.threads} --device {args.device}",
        "date": date.today().isoformat(),
        "network": read_checkpoint(args.network)[1]["name"],
        "device": device.type,
        "threads": args.threads,
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "machine": machine(PACKAGES),
        "results": results,
    }
    if args.out:
        args.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
        args.out.with_suffix(".md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
