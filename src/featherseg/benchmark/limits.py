"""What the machine can do at all: GEMM in GFLOP/s, copying in GB/s, measured between the rounds of the same run.

GEMM in fp32 is numpy's product of two matrices or onnxruntime's convolution of 128 maps by 3x3, whichever is faster: a
matrix library that does not know a new processor may reach half of it. In int8 it is that convolution (uint8 by int8
into int32; an operation is a "FLOP" there too), in bf16 torch's product of two matrices, where torch is installed and
the processor multiplies bf16.

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
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import numpy as np

from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.machine import instructions

GEMM_SIDE = 2048
COPY_BYTES = 1 << 27  # more than caches hold
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

PRECISIONS = {"fp32": "gemm_gflops", "int8": "int8_gflops", "bf16": "bf16_gflops"}
"""Precision -> what a worker calls its GEMM."""

FP32_CONVOLUTION = (
    b'\x08\x08:\xdb\x01\n@\n\x05shape\x12\x07weights"\x0fConstantOfShape*\x1d\n\x05value*\x11\x08\x01\x10\x01B\x05v'
    b'alueJ\x049\x8ec:\xa0\x01\x04\n1\n\x04maps\n\x07weights\x12\x07product"\x04Conv*\x11\n\x04pads@\x01@\x01@\x01@'
    b"\x01\xa0\x01\x07\x12\x01g*-\x08\x04\x10\x07B\x05shapeJ \x80\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00"
    b"\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00Z!\n\x04maps\x12\x19\n\x17\x08"
    b"\x01\x12\x13\n\x02\x08\x01\n\x03\x08\x80\x01\n\x03\x12\x01h\n\x03\x12\x01wb\x0f\n\x07product\x12\x04\n\x02"
    b"\x08\x01B\x04\n\x00\x10\x11"
)
"""An ONNX file of one Conv, 3x3, float32 maps (1,128,h,w) by weights that are 1 / 1152 throughout."""

INT8_CONVOLUTION = (
    b'\x08\x08:\xfd\x02\n=\n\x05shape\x12\x07weights"\x0fConstantOfShape*\x1a\n\x05value*\x0e\x08\x01\x10\x03*'
    b"\x01\x05B\x05value\xa0\x01\x04\n\x80\x01\n\x04maps\n\x03one\n\x04zero\n\x07weights\n\x03one\n\x04null\n"
    b'\x05scale\n\x04zero\x12\x07product"\x0bQLinearConv*\x14\n\rchannels_last\x18\x01\xa0\x01\x02*\x11\n\x04pa'
    b"ds@\x01@\x01@\x01@\x01\xa0\x01\x07:\rcom.microsoft\x12\x07product*-\x08\x04\x10\x07B\x05shapeJ \x80\x00"
    b"\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00"
    b"\x00\x00\x00\x00*\r\x10\x01B\x03oneJ\x04\x00\x00\x80?*\x0f\x10\x01B\x05scaleJ\x04\x00\x00\x80E*\x0b\x10"
    b"\x02B\x04zeroJ\x01\x00*\x0b\x10\x03B\x04nullJ\x01\x00Z!\n\x04maps\x12\x19\n\x17\x08\x02\x12\x13\n\x02\x08"
    b"\x01\n\x03\x12\x01h\n\x03\x12\x01w\n\x03\x08\x80\x01b$\n\x07product\x12\x19\n\x17\x08\x02\x12\x13\n\x02"
    b"\x08\x01\n\x03\x12\x01h\n\x03\x12\x01w\n\x03\x08\x80\x01B\x04\n\x00\x10\x11B\x11\n\rcom.microsoft\x10\x01"
)
"""An ONNX file of one QLinearConv, 3x3, uint8 maps (1,h,w,128) by int8 weights that are 5 throughout, the sums divided
by 4096; the base install cannot write one. It is in onnxruntime's own form with the channels of a place side by side,
which its 8-bit files come to; a MatMulInteger, whose right side is not known beforehand, is slower."""

MAPS = (128, 256, 128)  # height, width, channels: the largest layer of AFFNet at 1024x2048

BF16_UNITS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # without them torch imitates bf16, slower than fp32

WORKER = f"from {__name__} import main; main()"

SHARE = 0.15
"""Of the run's time that goes into the limits, at most; they are measured `FEWEST` times in any case."""

FEWEST = 2

CALLS = 4


class Limits:
    """The limits of the processor at some numbers of threads; a context manager.

    Args:
        threads: the numbers of threads.
        bf16: whether to measure bf16 too, where it can be.
    """

    def __init__(self, threads: Sequence[int], *, bf16: bool = False) -> None:
        self.bf16 = bf16 and find_spec("torch") is not None and not BF16_UNITS.isdisjoint(instructions())
        self.samples: dict[int, list[dict[str, float]]] = {count: [] for count in threads}
        self.workers: dict[int, subprocess.Popen[str]] = {}
        self.spent = 0.0
        self.begin = time.perf_counter()

    def __enter__(self) -> Limits:
        for count in self.samples:
            self.workers[count] = subprocess.Popen(
                [sys.executable, "-c", WORKER, *map(str, (count, GEMM_SIDE, COPY_BYTES, int(self.bf16)))],
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
        """The best of every number of threads and precision, and the median, which tells how busy the machine was."""
        return [
            {
                "device": "cpu",
                "threads": count,
                "precision": precision,
                "gemm_gflops": best(key, samples),
                "copy_gbytes": best("copy_gbytes", samples),
                "gemm_gflops_p50": middle(key, samples),
                "copy_gbytes_p50": middle("copy_gbytes", samples),
                "samples": len(samples),
            }
            for count, samples in self.samples.items()
            for precision, key in PRECISIONS.items()
            if key in samples[0]
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


def measurer(threads: int, gemm_side: int, copy_bytes: int, bf16: int) -> Callable[[], dict[str, float]]:
    """A function that measures once."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((gemm_side, gemm_side), np.float32) for _ in range(2))
    product = np.empty_like(left)
    height, width, channels = MAPS
    in_fp32, in_int8 = (session_of(convolution, threads) for convolution in (FP32_CONVOLUTION, INT8_CONVOLUTION))
    floats, bytes_ = np.ones((1, channels, height, width), np.float32), np.full((1, *MAPS), 3, np.uint8)
    convolved = 2 * 9 * channels**2 * height * width
    source = np.ones(copy_bytes, np.uint8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    pool = ThreadPoolExecutor(threads)  # copying releases Python's lock
    product_of_bf16 = bf16_product(threads, gemm_side) if bf16 else None

    def measure() -> dict[str, float]:
        gemm = seconds(lambda: np.matmul(left, right, out=product))
        copy = seconds(lambda: list(pool.map(lambda part: np.copyto(*part), parts)))
        fp32 = seconds(lambda: in_fp32.run(None, {"maps": floats}))
        int8 = seconds(lambda: in_int8.run(None, {"maps": bytes_}))
        measured = {
            "gemm_gflops": max(2 * gemm_side**3 / gemm, convolved / fp32) / 1e9,
            "int8_gflops": convolved / int8 / 1e9,
            "copy_gbytes": 2 * copy_bytes / copy / 1e9,
        }
        if product_of_bf16 is not None:
            measured["bf16_gflops"] = 2 * gemm_side**3 / seconds(product_of_bf16) / 1e9
        return measured

    return measure


def bf16_product(threads: int, side: int) -> Callable[[], object]:
    """A product of two square matrices in torch."""
    import torch

    torch.set_num_threads(threads)
    left, right = (torch.randn(side, side).bfloat16() for _ in range(2))
    return lambda: left @ right


def session_of(convolution: bytes, threads: int) -> Any:
    """An ONNX file in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # what is measured next has the cores
    return onnxruntime.InferenceSession(convolution, options, providers=["CPUExecutionProvider"])


def seconds(call: Callable[[], object]) -> float:
    """The fastest of some calls; the first ones wake the processor up."""
    times = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    """The worker: answers every line with one measurement, a line of JSON."""
    measure = measurer(*map(int, sys.argv[1:5]))
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)
