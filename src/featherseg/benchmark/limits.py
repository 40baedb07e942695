"""What the machine can do at all: GEMM in GFLOP/s, copying in GB/s, measured between the rounds of the same run.

Matrix libraries take their number of threads from the environment before they are loaded, so each number of threads is
measured in a process of its own, which waits while networks are timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np

from featherseg.runtime.errors import FeathersegError

GEMM_SIDE = 2048
COPY_BYTES = 1 << 27  # more than caches hold
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

WORKER = f"from {__name__} import main; main()"

SHARE = 0.15
"""Of the run's time that goes into the limits, at most; they are measured `FEWEST` times in any case."""

FEWEST = 2


class Limits:
    """The limits of the processor at some numbers of threads; a context manager.

    Args:
        threads: the numbers of threads.
    """

    def __init__(self, threads: Sequence[int]) -> None:
        self.samples: dict[int, list[dict[str, float]]] = {count: [] for count in threads}
        self.workers: dict[int, subprocess.Popen[str]] = {}
        self.spent = 0.0
        self.begin = time.perf_counter()

    def __enter__(self) -> Limits:
        for count in self.samples:
            self.workers[count] = subprocess.Popen(
                [sys.executable, "-c", WORKER, *map(str, (count, GEMM_SIDE, COPY_BYTES))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(count))},
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.communicate()

    def measure(self) -> None:
        """Measure once at each number of threads, unless the limits have had their share of the time."""
        enough = all(len(samples) >= FEWEST for samples in self.samples.values())
        if enough and self.spent > SHARE * (time.perf_counter() - self.begin):
            return
        begin = time.perf_counter()
        for count, worker in self.workers.items():
            self.samples[count].append(asked(worker))
        self.spent += time.perf_counter() - begin

    def to_json(self) -> list[dict[str, Any]]:
        """The best of every number of threads, and the median, which tells how busy the machine was."""
        return [
            {
                "device": "cpu",
                "threads": count,
                "precision": "fp32",
                "gemm_gflops": best("gemm_gflops", samples),
                "copy_gbytes": best("copy_gbytes", samples),
                "gemm_gflops_p50": middle("gemm_gflops", samples),
                "copy_gbytes_p50": middle("copy_gbytes", samples),
                "samples": len(samples),
            }
            for count, samples in self.samples.items()
        ]


def asked(worker: subprocess.Popen[str]) -> dict[str, float]:
    """One measurement by a worker."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write("\n")
        worker.stdin.flush()
        answer: dict[str, float] = json.loads(worker.stdout.readline())
    except (OSError, ValueError) as error:
        raise FeathersegError(
            "the process that measures the machine's limits has died", remedy="is memory short?"
        ) from error
    return answer


def best(key: str, samples: Sequence[dict[str, float]]) -> float:
    """The largest."""
    return round(max(sample[key] for sample in samples), 1)


def middle(key: str, samples: Sequence[dict[str, float]]) -> float:
    """The median."""
    return round(float(np.median([sample[key] for sample in samples])), 1)


def measurer(threads: int, gemm_side: int, copy_bytes: int) -> Callable[[], dict[str, float]]:
    """A function that measures once."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((gemm_side, gemm_side), np.float32) for _ in range(2))
    product = np.empty_like(left)
    source = np.ones(copy_bytes, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    pool = ThreadPoolExecutor(threads)  # copying releases Python's lock

    def measure() -> dict[str, float]:
        gemm = seconds(lambda: np.matmul(left, right, out=product))
        copy = seconds(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))
        return {"gemm_gflops": 2 * gemm_side**3 / gemm / 1e9, "copy_gbytes": 2 * copy_bytes / copy / 1e9}

    return measure


def seconds(call: Callable[[], object]) -> float:
    """The faster of two calls."""
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    """The worker: answers every line with one measurement, a line of JSON."""
    measure = measurer(*map(int, sys.argv[1:4]))
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)
