"""Time and memory of every loss, forward and backward, against torch.nn.functional.cross_entropy.

    python benchmarks/losses.py [--logits 8x11x240x320] [--repeats 15] [--threads 1]

The losses take turns within one run. Printed are medians and quartiles of the CPU time of the process (not of the
clock: a busy machine disturbs it less), the ratio of the median to torch's cross-entropy, and the most memory that a
step takes beyond its inputs, in maps of the logits' size (Linux; the gradient itself is one of them).
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from training_step import most_held  # beside this file

from featherseg.losses import LOSSES, loss_fields

IGNORED = 0.05  # share of the pixels


def contestants(logits: Tensor, target: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Each loss with its defaults; frequencies that fall by half from class to class."""
    pictures, classes = logits.shape[:2]
    presence = torch.randn(pictures, classes, requires_grad=True)
    halves = 0.5 ** torch.arange(1.0, classes + 1)
    frequencies = tuple((halves / halves.sum()).tolist())
    steps: dict[str, Callable[[], Tensor]] = {"torch": lambda: F.cross_entropy(logits, target, ignore_index=255)}
    for name, make in LOSSES.items():
        loss = make(**({"frequencies": frequencies} if "frequencies" in loss_fields(name) else {}))
        steps[name] = lambda loss=loss: loss(logits, target, presence=presence)  # type: ignore[misc]
    return steps


def step(loss: Callable[[], Tensor], logits: Tensor) -> float:
    """Milliseconds of CPU time of one forward and backward pass."""
    logits.grad = None
    start = time.process_time()
    loss().backward()
    return 1000 * (time.process_time() - start)


def memory(loss: Callable[[], Tensor], logits: Tensor) -> float:
    """The peak beyond what was there before, in maps of the logits' size; nan where the system does not tell."""
    logits.grad = None
    held = most_held(lambda: loss().backward())
    return float("nan") if held is None else held / (logits.numel() * logits.element_size())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logits", default="8x11x240x320", metavar="NxCxHxW")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shape = [int(side) for side in args.logits.split("x")]
    logits = torch.randn(shape, requires_grad=True)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    target[torch.rand(target.shape) < IGNORED] = 255

    steps = contestants(logits, target)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.repeats + 1):
        for name, loss in steps.items():
            milliseconds = step(loss, logits)
            if turn:  # the first round only warms up
                times[name].append(milliseconds)
    print(
        f"logits {args.logits}, threads {args.threads}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    print(f"{'loss':<8} {'median':>9} {'quartiles':>18} {'ratio':>6} {'maps':>5}")
    for name, values in times.items():
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        ratio = median / np.median(times["torch"])
        maps = memory(steps[name], logits)
        print(f"{name:<8} {median:6.1f} ms {f'[{low:.1f}, {high:.1f}]':>18} {ratio:6.2f} {maps:5.1f}")


if __name__ == "__main__":
    main()
