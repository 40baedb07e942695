"""Time label_scores against the usual tail, resize then argmax, in numpy and in torch.

    python benchmarks/labels.py [--classes 19] [--scores 128x256] [--size 1024x2048] [--repeats 15] [--threads 2]

The contestants take turns within one run, so that a busy machine slows all of them alike; printed are medians, their
quartiles, and the ratio to label_scores. Two kinds of scores: a label map with large regions as a network gives for a
street (its share of boundary cells is printed), and random scores, where every cell is a boundary: the worst case.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from featherseg.benchmark.street import boundary_cells, street_scores
from featherseg.benchmark.tails import Labels, Scores, numpy_labels, torch_labels
from featherseg.runtime import label_scores

numpy_tail = partial(numpy_labels, align_corners=False)
Tail = Callable[[Scores, tuple[int, int]], Labels]


def race(tails: dict[str, Tail], scores: Scores, size: tuple[int, int], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every repeat, contestants in turns; the first round only warms up."""
    times: dict[str, list[float]] = {name: [] for name in tails}
    for _ in range(repeats + 1):
        for name, tail in tails.items():
            start = time.perf_counter()
            tail(scores, size)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: values[1:] for name, values in times.items()}


@dataclass(frozen=True)
class Row:
    """One contestant on one kind of scores."""

    kind: str
    boundary_cells: float  # share of the cells whose corners disagree
    differing: float  # share of the pixels where label_scores and numpy disagree
    tail: str
    median_ms: float
    quartiles_ms: tuple[float, float]
    ratio: float  # to label_scores


def measure(kind: str, scores: Scores, size: tuple[int, int], tails: dict[str, Tail], repeats: int) -> list[Row]:
    differing = float((label_scores(scores, size) != numpy_tail(scores, size)).mean())
    boundary = boundary_cells(scores)
    times = race(tails, scores, size, repeats)
    ours = float(np.median(times["label_scores"]))
    rows = []
    for name, values in times.items():
        low, median, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
        rows.append(Row(kind, boundary, differing, name, median, (low, high), median / ours))
    return rows


def sides(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--scores", type=sides, default=(128, 256), metavar="HxW")
    parser.add_argument("--size", type=sides, default=(1024, 2048), metavar="HxW")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="of torch; numpy and label_scores use one")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    tails: dict[str, Tail] = {"label_scores": label_scores, "numpy": numpy_tail}
    if importlib.util.find_spec("torch"):
        tails["torch"] = partial(torch_labels, align_corners=False, threads=args.threads)
    shape = (args.classes, *args.scores)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rows = [
        *measure("street", street_scores(shape), args.size, tails, args.repeats),
        *measure("random", noise, args.size, tails, args.repeats),
    ]
    if args.json:
        results = [asdict(row) for row in rows]
        print(json.dumps({"scores": shape, "size": args.size, "threads": args.threads, "results": results}, indent=2))
        return
    print(f"{shape[0]} classes, {shape[1]}x{shape[2]} -> {args.size[0]}x{args.size[1]}, torch threads {args.threads}")
    for row in rows:
        low, high = row.quartiles_ms
        print(
            f"{row.kind} ({100 * row.boundary_cells:5.1f} % boundary cells, {row.differing:.0e} of pixels differ from "
            f"numpy)  {row.tail:<12} {row.median_ms:8.2f} ms [{low:.2f}, {high:.2f}]  {row.ratio:6.1f} x"
        )


if __name__ == "__main__":
    main()
