"""What a graph computes and moves for one picture: counts, not measurements.

onnxruntime is asked to run the graph once, at the size in question, and to write down the shapes of every operation's
inputs and outputs. So shapes are exact whatever the graph computes them from, and nothing but the base install is
needed. The graph is the one after onnxruntime's fusions that are the same on every machine: batch norm and activation
are part of their convolution, quantised operations read and write int8.

- macs: multiply-accumulates of convolutions, linear layers and matrix products, as `featherseg.models.costs` counts.
- bytes moved: inputs, outputs and weights of every operation, summed, as if no operation found anything in a cache.
  ShuffleNetV2 (Ma et al., 2018) calls that sum, for a convolution, the memory access cost.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featherseg.benchmark.graphs import open_session, picture_input, session_options
from featherseg.runtime.errors import FeathersegError, first_line

Shape = list[int]

VIEWS = {"Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Shape", "Size", "Constant"}
"""Operations that look at a tensor in another way and move nothing."""

CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Operation -> which of its inputs the weights are: (out channels, in channels of a group, kernel)."""

PRODUCTS = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "QGemm", "MatMulInteger", "MatMulIntegerToFloat",
            "QLinearMatMul", "DynamicQuantizeMatMul"}  # fmt: skip
"""Operations whose first input is a matrix that is multiplied."""


KERNEL = "_kernel_time"
"""How the name of an operation's event ends, after the operation's own."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """For one picture."""

    macs: int
    bytes_moved: int


def count_graph(path: Path | str, size: tuple[int, int]) -> Counts:
    """Counts of an ONNX file at a size (H, W).

    Raises:
        FeathersegError: where the file cannot be run at that size.
    """
    macs = moved = 0
    for operation in counted(os.fspath(path), size):
        macs += macs_of(operation)
        if operation["op_name"] not in VIEWS:
            moved += sum(int(operation[key]) for key in ("activation_size", "parameter_size", "output_size"))
    return Counts(macs=macs, bytes_moved=moved)


def counted(path: str, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """Every operation of the graph after the fusions that are the same on every machine."""
    import onnxruntime

    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights are left out of the profile
    for event in profile(path, size, options):
        yield event["args"]


def profile(path: str, size: tuple[int, int], options: Any, *, runs: int = 1) -> list[dict[str, Any]]:
    """What onnxruntime writes down of every operation in each run: "dur", microseconds, and "args" with all shapes.

    Args:
        path: an ONNX file that takes one picture.
        size: (height, width) of the picture.
        options: of the session; profiling is added to them.
        runs: how many.

    Raises:
        FeathersegError: where the file cannot be run at that size.
    """
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = os.path.join(folder, "profile")
        session = open_session(path, options)
        picture = picture_input(session, path)
        value = picture.value(np.zeros((*size, 3), np.uint8))
        try:
            for _ in range(runs):
                session.run(None, {picture.name: value})
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            height, width = size
            raise FeathersegError(f"{path}: cannot run a picture of {height}x{width} ({first_line(error)})") from error
        finally:
            written = session.end_profiling()
        events = json.loads(Path(written).read_text())
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(KERNEL)]


def macs_of(operation: dict[str, Any]) -> int:
    """Multiply-accumulates of one operation; 0 for all but convolutions and matrix products."""
    kind = operation["op_name"]
    if kind not in (*CONVOLUTIONS, *PRODUCTS, "ConvTranspose"):
        return 0
    inputs, (result, *_) = shapes(operation["input_type_shape"]), shapes(operation["output_type_shape"])
    if kind in CONVOLUTIONS:
        return math.prod(result) * math.prod(inputs[CONVOLUTIONS[kind]][1:])
    if kind == "ConvTranspose":  # each input value is spread over the weights (in channels, out channels, kernel)
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    first = inputs[0]  # (..., M, K), or (..., K, M) where it is taken transposed
    if len(first) < 2 or len(result) < 2:
        return math.prod(result) * first[-1]
    return math.prod(result) * (first[-1] * first[-2] // max(1, result[-2]))


def shapes(described: list[dict[str, Shape]]) -> list[Shape]:
    """[{"float": [1, 3]}, ...] -> [[1, 3], ...]."""
    return [shape for item in described for shape in item.values()]
