"""A plan carried out: cases opened, raced, counted and set beside the limits of the machine, as JSON values."""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from featherseg.benchmark.cases import Case, cases_of
from featherseg.benchmark.contest import Contestant
from featherseg.benchmark.counting import Counts, count_graph
from featherseg.benchmark.layers import Layer, layers_of, tells_layers
from featherseg.benchmark.limits import Limits
from featherseg.benchmark.memory import peak_memory
from featherseg.benchmark.plan import NUM_CLASSES, Plan, check
from featherseg.benchmark.tails import tail_text
from featherseg.benchmark.timing import Lap, run_race, summary
from featherseg.benchmark.workshop import Workshop
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.engines import BACKENDS
from featherseg.runtime.machine import machine
from featherseg.runtime.pixels import read_image

PACKAGES = (
    "featherseg", "numpy", "pillow", "onnxruntime", "openvino", "torch", "torchvision", "timm",
    "segmentation-models-pytorch",
)  # fmt: skip

Report = dict[str, Any]
Row = dict[str, Any]

SAME_SIZE = 0.05
"""Areas that differ by less than this share count as one size: a score measured at the one holds at the other."""


def measure(plan: Plan, progress: Callable[[str, float], None] = lambda what, done: None) -> Report:
    """Measure everything that the plan names, interleaved in one run.

    Args:
        plan: see there.
        progress: called with what is being done and the share of it that is done, 0 to 1.

    Returns:
        {"date", "machine", "settings", "limits", "results", "left_out"}; docs/deploy.md explains the results' keys.

    Raises:
        FeathersegError: for what cannot be opened or run, and settings that nothing takes.
    """
    check(plan)
    if plan.picture is not None:
        read_image(plan.picture)
    busy_before = load_average()
    with tempfile.TemporaryDirectory(prefix="featherseg-", ignore_cleanup_errors=True) as folder:
        workshop = Workshop(Path(folder))
        progress("prepare", 0.0)
        torch_first(plan.backends)
        cases, left_out = cases_of(plan, workshop)
        torch_first([case.backend for case in cases])
        count = cache(count_graph)  # each file and size once
        counted = [counts_of(case, workshop, count) for case in cases]
        memory = [peak_memory(case, plan.picture) if plan.memory else None for case in cases]
        contestants = []
        for done, case in enumerate(cases):
            progress("open", done / len(cases))
            contestants.append(Contestant(case, plan.picture))
        threads = plan.threads if plan.device == "cpu" else ()
        with Limits(threads, bf16=any(map(uses_bf16, contestants))) as limits:
            laps = run_race(
                contestants, plan.race, between=limits.measure, progress=lambda done: progress("measure", done)
            )
        all_limits = limits.to_json() + gpu_limits(contestants, plan)
        layers = [layers_of(case) if plan.layers and tells_layers(case) else [] for case in cases]
    mute = [case for case in cases if plan.layers and not tells_layers(case)]
    untold = [f"layers of {case.name} in {case.backend} on {case.device}, which does not tell them" for case in mute]
    results = [
        row_of(contestant, lap, counts, peak, all_limits, own_layers)
        for contestant, lap, counts, peak, own_layers in zip(contestants, laps, counted, memory, layers, strict=True)
    ]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {**machine(PACKAGES), "load_average": [busy_before, load_average()]},
        "settings": settings_of(plan, rounds=len(laps[0])),
        "limits": all_limits,
        "results": results,
        "left_out": left_out + untold,
    }


def torch_first(backends: Sequence[str]) -> None:
    """Let torch use oneDNN before OpenVINO may have to keep it from AMX (`featherseg.runtime.openvino`).

    They share oneDNN's setting, and oneDNN reads it once.
    """
    if "torch" in backends and BACKENDS["torch"].installed():
        from featherseg.benchmark.torch_subject import first_use

        first_use()


def counts_of(
    case: Case, workshop: Workshop, count: Callable[[Path, tuple[int, int]], Counts]
) -> tuple[int | None, int | None]:
    """Multiply-accumulates and bytes moved for one picture, each None where nothing tells it.

    Of exported files they are those of the ONNX file. An OpenVINO file, beside it, shares the first; what it moves is
    not known. Of torch they are those of the network that runs, one operation after the other; compiled it fuses them.
    """
    if case.backend == "torch":
        from featherseg.benchmark.torch_subject import bytes_moved_by, macs_of

        return macs_of(case), None if case.mode == "compiled" else bytes_moved_by(case)
    own = Path(case.file) if case.file.endswith(".onnx") else None
    if case.network is not None:
        graph = own or workshop.made.get(("onnx", case.network))
    else:
        graph = own or Path(case.file).with_suffix(".onnx")
    if graph is None or not graph.is_file():
        return None, None
    found = count(graph, case.size)
    return found.macs, found.bytes_moved if graph == own else None


def uses_bf16(contestant: Contestant) -> bool:
    """Whether anything in it may be calculated in bf16, as what OpenVINO's 8-bit files leave in float may."""
    case, precision = contestant.case, contestant.subject.precision
    return case.device == "cpu" and (precision == "bf16" or (case.backend == "openvino" and precision == "int8"))


def gpu_limits(contestants: Sequence[Contestant], plan: Plan) -> list[dict[str, Any]]:
    """The limits of the GPU in the precisions that were used on it."""
    in_torch = {one.subject.precision for one in contestants if one.case.backend == "torch"}
    if plan.device != "cuda" or not in_torch:
        return []
    from featherseg.benchmark.torch_subject import gpu_limits

    return gpu_limits({"fp32", *in_torch})


def row_of(
    contestant: Contestant,
    laps: Sequence[Lap],
    counts: tuple[int | None, int | None],
    peak: dict[str, int | None] | None,
    limits: Sequence[dict[str, Any]],
    layers: Sequence[Layer],
) -> Row:
    """One result."""
    case, subject = contestant.case, contestant.subject
    times = summary(laps)
    miou, scored_at = score_of(subject.artefact)
    macs, moved = counts
    limit = limit_of(case, subject.precision, limits)
    seconds = times.get("device", times["network"])["p50"] / 1000 / case.batch  # a picture's
    return {
        "name": case.name,
        "backend": case.backend,
        "precision": subject.precision,
        "mode": case.mode or None,
        "device": case.device,
        "size": list(case.size),
        "threads": case.threads,
        "batch": case.batch,
        "tail": case.tail,
        "tail_by": tail_text("graph" if contestant.boundary_cells is None else case.tail),
        "weights": "random" if case.network is not None else "trained" if subject.artefact else "unknown",
        "file": None if case.network is not None else case.file,
        "rounds": len(laps),
        "ms": times,
        "pictures_per_second": round(1000 * case.batch / times["total"]["p50"], 3),
        "macs": macs,
        "bytes_moved": moved,
        "gflops": None if macs is None else round(2 * macs / seconds / 1e9, 2),
        "of_gemm": share(None if macs is None else 2 * macs / seconds / 1e9, limit.get("gemm_gflops")),
        "of_copy": share(None if moved is None else moved / seconds / 1e9, limit.get("copy_gbytes")),
        "limit": f"{limit['precision']} GEMM, {limit['device']}" if limit else None,
        "peak_memory": peak,
        "boundary_cells": contestant.boundary_cells,
        "miou": miou,
        "scored_at": scored_at,
        "scored_elsewhere": miou is not None and not alike(scored_at, case.size),
        "layers": [layer_row(layer, case, limits) for layer in layers],
    }


def layer_row(layer: Layer, case: Case, limits: Sequence[dict[str, Any]]) -> Row:
    """One layer of a result; a layer that multiplies nothing has neither precision nor limit."""
    gflops = 2e-6 * layer.macs / max(layer.ms, 1e-3)
    return {
        "name": layer.name,
        "operation": layer.operation,
        "output": list(layer.output),
        "ms": round(layer.ms, 4),
        "macs": layer.macs,
        "precision": layer.precision if layer.macs else None,
        "of_gemm": share(gflops, limit_of(case, layer.precision, limits).get("gemm_gflops")) if layer.macs else None,
    }


def limit_of(case: Case, precision: str, limits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The limits of the device and threads of a case: of its own precision where measured, else of fp32."""
    threads = case.threads if case.device == "cpu" else None
    fitting = [one for one in limits if one["device"] == case.device and one["threads"] == threads]
    by_precision = {one["precision"]: one for one in fitting}
    return by_precision.get(precision) or by_precision.get("fp32") or {}


def share(value: float | None, limit: float | None) -> float | None:
    """value / limit."""
    return None if value is None or not limit else round(value / limit, 4)


def score_of(artefact: Artefact | None) -> tuple[float | None, list[int] | None]:
    """The mIoU, a fraction, on the first split that was scored, and the (height, width) it was measured at."""
    scores = {} if artefact is None else artefact.card.get("scores")
    for split in scores.values() if isinstance(scores, dict) else ():
        if isinstance(split, dict) and isinstance(split.get("miou"), int | float):
            size = None if artefact is None else artefact.input_rule.size
            return float(split["miou"]), None if size is None else list(size)
    return None, None


def alike(scored_at: Sequence[int] | None, size: tuple[int, int]) -> bool:
    """Whether a score was measured at about this size; at the pictures' own sizes nothing says that it was."""
    if scored_at is None:
        return False
    ratio = scored_at[0] * scored_at[1] / (size[0] * size[1])
    return 1 - SAME_SIZE < ratio < 1 + SAME_SIZE


def settings_of(plan: Plan, *, rounds: int) -> dict[str, Any]:
    """How it was measured."""
    return {
        "rounds": rounds,
        "seed": plan.race.seed,
        "pause_ms": 1000 * plan.race.pause,
        "picture": "a street in memory, of the network's size" if plan.picture is None else str(plan.picture),
        "num_classes": plan.num_classes or NUM_CLASSES,
    }


def load_average() -> float | None:
    """How many processes wanted a core in the last minute; None where the system does not tell."""
    with suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None
