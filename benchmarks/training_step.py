"""Time and memory of a training step, part by part, and what the data pipeline gives; beside another source tree's.

    python benchmarks/training_step.py --camvid ROOT [--networks affnet hybrid_fusion] [--before SRC] [--rounds 3]
        [--threads 2] [--precision fp32] [--out FILE]

One step of the `*_folder` setting: 8 pictures of 288x384 from CamVid, 11 classes, cross-entropy. Its parts are timed as
`Training` has them: the batch (8 pictures augmented and joined, decoded before), normalising, the network's forward
pass, the loss with its gradient to the scores (every head resized), the network's backward pass, optimiser, averaged
weights. Memory is the most that a step holds beyond what the process held before it. The pipeline's parts are pictures
a second and core.

--before takes the `src` folder of another tree, as `git worktree add` gives it. Both trees are measured by turns, each
time in a process of its own. All seconds are the processor's, in which other work on the machine is not counted, with
waiting threads asleep; medians over rounds and repeats, ratios of the medians. FILE.json is added to, network by
network, and FILE.md written from it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

NETWORKS = ("affnet", "hybrid_fusion", "smp_deeplabv3plus")
BATCH, STEPS, PICTURES = 8, 3, 24
PARTS = ("batch", "normalise", "forward", "loss", "backward", "optimiser", "average")
PACKAGES = ("torch", "torchvision", "numpy", "pillow")


def measured(network: str, root: str, threads: int, precision: str) -> dict[str, Any]:
    """In a process of its own: seconds of each part, of the step as a whole, bytes."""
    import torch

    from featherseg.data.loading import Augmented, Batch, collate
    from featherseg.recipes import RECIPES
    from featherseg.training import with_overrides
    from featherseg.training.loop import Training

    torch.set_num_threads(threads)
    words = [
        f"model={network}", f"data.root={root}", "data.format=camvid", "data.cache=false", f"batch_size={BATCH}",
        "loss=ce", "augment.crop_size=288x384", f"precision={precision}", "device=cpu", "out=nowhere", "workers=0",
    ]  # fmt: skip
    run = with_overrides(RECIPES["affnet_folder"](), words)
    training, watch = Training(run, Path("nowhere"), None), Watch()
    samples = [watch.timed("decode", training.train_data.read, index) for index in range(PICTURES)]
    data = Augmented(Kept(training.train_data, samples), run.augment, seed=0)
    for index in range(PICTURES):
        watch.timed("augment", data.__getitem__, (0, index))

    def batch() -> Batch:
        return collate([data[(0, index)] for index in range(BATCH)])

    part = batch()
    for _ in range(STEPS + 1):
        watch.timed("whole", training.step, [part], 1e-3)
    for _ in range(STEPS):
        watch.timed("batch", batch)
        in_parts(training, part, watch)
    peak = most_held(lambda: training.step([part], 1e-3))
    seconds = {name: median(values[1:] if name == "whole" else values) for name, values in watch.times.items()}
    return {"seconds": seconds, "step_bytes": peak}


def as_train_has_memory() -> AbstractContextManager[None]:
    """What `train` puts around a run, in trees that have it."""
    try:
        from featherseg.training.allocator import freed_memory_kept
    except ImportError:
        return nullcontext()
    return freed_memory_kept()


def in_parts(training: Any, part: Any, watch: Watch) -> None:
    """A step as `Training.step` takes it, one part after the other."""
    import torch

    from featherseg.training.loop import AUTOCAST
    from featherseg.training.objective import objective

    training.optimiser.zero_grad(set_to_none=True)
    precision, layout = training.run.precision, training.layout
    images = watch.timed(
        "normalise", lambda: training.normalise(part.images).contiguous(memory_format=layout)
    )  # fmt: skip

    def forward() -> Any:
        with torch.autocast("cpu", AUTOCAST[precision], enabled=precision != "fp32"):
            return training.forward(images)

    output = watch.timed("forward", forward)
    heads = (output.logits, *output.aux_logits)
    leaves = [logits.detach().requires_grad_() for logits in heads]
    scored = output._replace(logits=leaves[0], aux_logits=tuple(leaves[1:]))
    settings = {"aux_weight": training.run.aux_weight, "align_corners": training.network.align_corners}
    watch.timed("loss", lambda: objective(scored, part.target, training.loss, **settings).backward())
    watch.timed("backward", torch.autograd.backward, heads, [leaf.grad for leaf in leaves])
    watch.timed("optimiser", training.optimiser.step)
    watch.timed("average", training.ema.update, training.network)


class Watch:
    """Seconds of the processor by name."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function gives."""
        began = time.process_time()
        result = function(*arguments)
        self.times[name].append(time.process_time() - began)
        return result


class Kept:
    """The data with these samples decoded."""

    def __init__(self, data: Any, samples: list[Any]) -> None:
        self.samples, self.classes = samples, data.classes

    def read(self, index: int) -> Any:
        """A sample."""
        return self.samples[index]


def most_held(step: Callable[[], object]) -> int | None:
    """The most memory that a step holds beyond what was held before it; None where the system does not tell."""
    with suppress(OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier steps left in the allocator would hide this one's
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident()
        step()
        return resident() - before
    return None


def resident() -> int:
    """The peak in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def compare(network: str, args: argparse.Namespace) -> dict[str, Any]:
    """Both trees by turns, each in processes of its own."""
    trees = {"now": Path(__file__).resolve().parents[1] / "src"}
    if args.before:
        trees = {"before": args.before.resolve(), **trees}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(args.rounds):
        for name, tree in trees.items():
            environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_WAIT_POLICY": "PASSIVE"}
            asked = [network, str(args.camvid), str(args.threads), args.precision]
            done = subprocess.run(
                [sys.executable, __file__, "--child", *asked], env=environment, stdout=subprocess.PIPE, check=True
            )
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {
            "seconds": {
                part: round(median(each["seconds"][part] for each in rounds), 5) for part in rounds[0]["seconds"]
            },
            "step_bytes": median(each["step_bytes"] for each in rounds) if rounds[0]["step_bytes"] else None,
        }
        for name, rounds in found.items()
    }


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    facts = report["machine"]
    lines = [
        "# A training step",
        "",
        f"`python benchmarks/training_step.py` at commit {facts['commit']} (before: {report['before'] or '-'})"
        f", {report['date']}: {facts['cpu']}, {facts['cores']} cores, torch {facts['versions']['torch']}, Python "
        f"{facts['python']}. 8 pictures of 288x384, 11 classes; milliseconds of the processor, before -> now. The "
        "script says what is measured, and how.",
        "",
    ]
    names = list(report["networks"])
    lines += [f"| part, ms | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for part in (*PARTS, "whole"):
        lines.append(f"| {part} | {' | '.join(cell(report['networks'][name], part) for name in names)} |")
    memory = []
    for name in names:
        values = [value["step_bytes"] for value in sides(report["networks"][name])]
        memory.append(arrow([f"{value / 1e6:.0f}" for value in values], values) if all(values) else "-")
    lines.append(f"| most memory beyond the start, MB | {' | '.join(memory)} |")
    settings = [
        f"{entry['threads']} threads, {entry['rounds']} rounds, load {entry['load']}"
        for entry in report["networks"].values()
    ]
    lines += [f"| measured with | {' | '.join(settings)} |", ""]
    lines += [
        '"whole" is `Training.step`: all but the batch, which worker processes prepare.',
        "",
        "| pipeline, pictures a second and core | |",
        "|---|---|",
    ]
    first = sides(report["networks"][names[0]])
    for title, part, count in (
        ("decoded from PNG, 360x480 and its mask", "decode", 1),
        ("augmented to 288x384", "augment", 1),
        ("augmented and joined to batches, as a worker does with decoded pictures", "batch", BATCH),
    ):
        rates = [count / value["seconds"][part] for value in first]
        lines.append(f"| {title} | {arrow([f'{rate:.0f}' for rate in rates], rates[::-1])} |")
    return "\n".join(lines) + "\n"


def sides(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["trees"][name] for name in ("before", "now") if name in entry["trees"]]


def cell(entry: dict[str, Any], part: str) -> str:
    values = [1000 * side["seconds"][part] for side in sides(entry)]
    return arrow([f"{value:.1f}" for value in values], values)


def arrow(texts: list[str], values: list[float]) -> str:
    """What it was, what it is, and how many times less that is."""
    return f"{texts[0]} -> {texts[1]} ({values[0] / values[1]:.2f} x)" if len(texts) == 2 else texts[0]


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        network, root, threads, precision = sys.argv[2:]
        with as_train_has_memory():
            found = measured(network, root, int(threads), precision)
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--before-is", default="", help="what to call it: a commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    from featherseg.runtime.machine import machine

    file = args.out.with_suffix(".json") if args.out else None
    networks = json.loads(file.read_text())["networks"] if file and file.exists() else {}
    for network in args.networks:
        began = os.getloadavg()[0]
        trees = compare(network, args)
        settings = {"threads": args.threads, "rounds": args.rounds}
        networks[f"{network}, {args.precision}"] = {
            **settings,
            "load": f"{began:.0f} to {os.getloadavg()[0]:.0f}",
            "trees": trees,
        }
    before = (args.before_is or str(args.before)) if args.before else ""
    report = {
        "date": date.today().isoformat(), "before": before, "machine": machine(PACKAGES), "networks": networks,
    }  # fmt: skip
    if file:
        file.write_text(json.dumps(report, indent=2) + "\n")
        file.with_suffix(".md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
