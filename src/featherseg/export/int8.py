"""8 bits: weights per channel, activations per map, by onnxruntime's static quantisation (QDQ form).

Which layers a quantised network can least afford is measured: each one is quantised alone, and how far that moves the
scores of real pictures is its cost.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from featherseg.export.int8_graph import better_in_float, prepare, share_ranges
from featherseg.export.int8_picture import byte_layers, read_bytes, take_bytes
from featherseg.runtime.engines import ONNXRUNTIME_SILENT
from featherseg.runtime.pixels import Picture

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations that hold weights: what "layer" means here."""

RANKED_ON = 4  # pictures
ONNXRUNTIME_WARNING = 2  # its default


def quantise(model: Any, pictures: Sequence[Picture], kept_in_float: Sequence[str] = ()) -> Any:
    """The ONNX model with every operation in 8 bits that has an 8-bit form, but for the layers named.

    Args:
        model: as `onnx.trace` gives it.
        pictures: uint8 (H,W,3), at the size that the file will see; what the ranges of the maps are measured on.
        kept_in_float: names of nodes.
    """
    on_bytes = not {node.name for node in byte_layers(model.graph)}.intersection(kept_in_float)
    with calibrated(model, pictures, on_bytes=on_bytes) as quantised:
        return quantised(exclude=kept_in_float)


@contextmanager
def calibrated(model: Any, pictures: Sequence[Picture], *, on_bytes: bool = True) -> Iterator[Callable[..., Any]]:
    """A function that quantises the model; the ranges are measured once for all its calls.

    `on_bytes` says whether the first layers are to read the picture's bytes, where they can (`int8_picture`).
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, silent():
        source, result, ranges = (Path(folder) / name for name in ("source.onnx", "result.onnx", "ranges.json"))
        onnx.save(model, source)
        quant_pre_process(str(source), str(source), skip_symbolic_shape=True)
        prepared = onnx.load(source)
        quantised_as = read_bytes(prepared.graph) if on_bytes else {}
        in_float = prepare(prepared.graph)
        onnx.save(prepared, source)

        def quantised(*, exclude: Sequence[str] = (), only: Sequence[str] = ()) -> Any:
            quantize_static(
                str(source),
                str(result),
                Pictures(pictures),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=[*exclude] if only else [*in_float, *exclude],
                nodes_to_quantize=list(only),
                extra_options={"CalibMovingAverage": True, "TensorQuantOverrides": quantised_as},
                calibration_cache_path=str(ranges),
            )
            model = onnx.load(result)
            share_ranges(model.graph, prepared.graph)
            take_bytes(model.graph)
            return model

        yield quantised


def costly_layers(model: Any, pictures: Sequence[Picture], layers: Sequence[str] | None = None) -> list[str]:
    """The layers, by what quantising them alone costs, the most costly first; without `layers` those of `layers_of`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONNXRUNTIME_SILENT

    def scores_of(any_model: Any) -> list[Any]:
        session = onnxruntime.InferenceSession(any_model.SerializeToString(), options)
        return [session.run(None, {"image": picture[None]})[0] for picture in pictures[:RANKED_ON]]

    exact = scores_of(model)
    costs = {}
    with calibrated(model, pictures) as quantised:
        for name in layers_of(model) if layers is None else layers:
            moved = scores_of(quantised(only=[name]))
            costs[name] = sum(float(np.square(a - b).mean()) for a, b in zip(moved, exact, strict=True))
    return sorted(costs, key=lambda name: -costs[name])


def layers_of(model: Any) -> list[str]:
    """The names of the layers that can be quantised."""
    in_float = better_in_float(model.graph) - {node.name for node in byte_layers(model.graph)}
    return [node.name for node in model.graph.node if node.op_type in LAYERS and node.name not in in_float]


class Pictures:
    """Pictures as onnxruntime's calibration asks for them."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.left = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        """The next picture."""
        picture = next(self.left, None)
        return None if picture is None else {"image": picture[None]}


@contextmanager
def silent() -> Iterator[None]:
    """Without the libraries' advice, and without their bars on stdout, which is for results."""
    import onnxruntime

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(ONNXRUNTIME_SILENT)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(ONNXRUNTIME_WARNING)
