"""Where a network's time goes: every layer that an engine runs, its time, and what it multiplies.

onnxruntime and OpenVINO tell it themselves, of the graph that they made of a file by their fusions and layouts; so
layers bear their names, and what an engine adds, such as moving a tensor into another layout, is a layer, too.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from featherseg.benchmark.cases import Case
from featherseg.benchmark.counting import KERNEL, macs_of, profile, shapes
from featherseg.benchmark.graphs import session_options
from featherseg.runtime.openvino import OpenVINOEngine

RUNS, FIRST = 12, 2
"""How often a network is run, and how many runs are not counted: engines allocate in the first ones."""

NEAR = 2.0
"""A layer within this factor of the machine's GEMM is near its limit."""

ADDED = re.compile(r"(_token_\d+|_nchwc)+$|/WithoutBiases$")
"""What engines add to a layer's name."""

FUSED = "undef"
"""The kernel that OpenVINO names where an operation is done within another one."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, as an engine runs it.

    Attributes:
        name: the engine's.
        operation: what it does, in the engine's words.
        output: the shape of what it gives; empty where the engine does not tell.
        macs: multiply-accumulates, those of channels that the engine adds to fill its registers included; 0 where it
            multiplies no matrix.
        ms: median milliseconds.
        precision: what it multiplies, "int8", "bf16" or "fp32"; an int8 network leaves some layers in float.
    """

    name: str
    operation: str
    output: tuple[int, ...]
    macs: int
    ms: float
    precision: str


def tells_layers(case: Case) -> bool:
    """Whether the engine of a case tells its layers: onnxruntime and OpenVINO do, on a CPU."""
    return case.backend in ("onnxruntime", "openvino") and case.device == "cpu"


def layers_of(case: Case) -> list[Layer]:
    """The layers of a case whose engine tells them, in the order in which they run.

    Raises:
        FeathersegError: where the file cannot be run at the case's size.
    """
    return onnxruntime_layers(case) if case.backend == "onnxruntime" else openvino_layers(case)


def onnxruntime_layers(case: Case) -> list[Layer]:
    """Timed as it is run; what is multiplied comes from a run with unpacked weights, whose shapes are written down."""
    packed, unpacked = session_options(), session_options()
    for options in (packed, unpacked):
        options.intra_op_num_threads = case.threads
    unpacked.add_session_config_entry("session.disable_prepacking", "1")
    path = os.fspath(case.file)
    described = {event["args"]["node_index"]: event for event in profile(path, case.size, unpacked)}
    runs = profile(path, case.size, packed, runs=RUNS)
    times = collected((event["args"]["node_index"], event["dur"] / 1000) for event in runs)
    layers = []
    for index, ms in times.items():
        name, operation = described[index]["name"], described[index]["args"]
        kind = operation["op_name"]
        layers.append(
            Layer(
                name=ADDED.sub("", name.removesuffix(KERNEL)),
                operation=kind,
                output=tuple(next(iter(shapes(operation["output_type_shape"])), [])),
                macs=macs_of(operation),
                ms=ms,
                precision="int8" if kind.startswith("Q") or "Integer" in kind else "fp32",
            )
        )
    return layers


def openvino_layers(case: Case) -> list[Layer]:
    """Times and names are the compiled network's, shapes those of the graph's operations of the same names.

    OpenVINO calls "not run" both what it has fused into other layers, which bears no kernel, and what takes less than
    the clock's unit of a microsecond, which is a layer like any other.
    """
    engine = OpenVINOEngine(case.file, threads=case.threads)
    operations = {operation.get_friendly_name(): operation for operation in engine.graph_of(case.size).get_ops()}
    runs = engine.profile(case.size, runs=RUNS)
    last = {info.node_name: info for info in runs[-1] if info.exec_type != FUSED}
    infos = [info for run in runs for info in run if info.node_name in last]
    times = collected((info.node_name, 1000 * info.real_time.total_seconds()) for info in infos)
    layers = []
    for name, ms in times.items():
        operation = operations.get(name)
        layers.append(
            Layer(
                name=ADDED.sub("", name),
                operation=last[name].node_type,
                output=() if operation is None else tuple(operation.output(0).get_shape()),
                macs=0 if operation is None else openvino_macs(operation),
                ms=ms,
                precision=precision_of(last[name].exec_type),
            )
        )
    return layers


def precision_of(kernel: str) -> str:
    """What an OpenVINO kernel calculates in, which its name ends with (`brgemm_avx512_bf16`)."""
    ending = kernel.rpartition("_")[2].lower()
    return {"i8": "int8", "bf16": "bf16"}.get(ending, "fp32")


def openvino_macs(operation: Any) -> int:
    """Multiply-accumulates of an operation of a graph of one size; 0 for all but convolutions and matrix products."""
    kind, result = operation.get_type_name(), operation.output(0).get_shape()
    inputs = [value.get_shape() for value in operation.inputs()]
    if kind == "MatMul":
        return int(math.prod(result) * inputs[0][-2 if operation.get_attributes()["transpose_a"] else -1])
    if kind.startswith(("Convolution", "GroupConvolution")):  # each value, of the input where transposed, by weights
        axes = 2 if kind.startswith("Group") else 1  # the weights' first axes: (groups,) channels
        return int(math.prod(inputs[0] if kind.endswith("BackpropData") else result) * math.prod(inputs[1][axes:]))
    return 0


Key = TypeVar("Key")


def collected(times: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """(layer, ms) of run after run -> layer: its median, without the first runs."""
    of_layer: dict[Key, list[float]] = {}
    for layer, ms in times:
        of_layer.setdefault(layer, []).append(ms)
    return {layer: float(np.median(values[FIRST:])) for layer, values in of_layer.items()}


def shares(layers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of the time of all layers: what is `NEAR` the machine's GEMM, further from it, and multiplies nothing."""
    whole = sum(layer["ms"] for layer in layers)
    kinds = {"near": 0.0, "far": 0.0, "other": 0.0}
    for layer in layers:
        of_gemm = layer["of_gemm"]
        kinds["other" if of_gemm is None else "near" if NEAR * of_gemm >= 1 else "far"] += layer["ms"]
    return {kind: round(ms / whole, 4) if whole else 0.0 for kind, ms in kinds.items()}
