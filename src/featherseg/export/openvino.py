"""A network as OpenVINO's two files, NAME.xml and NAME.bin; 8 bits by NNCF."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from featherseg.export import int8
from featherseg.export.onnx import trace
from featherseg.export.picture import keep_colours_together
from featherseg.models.base import SegNetwork
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.engines import ExportedEngine, open_engine
from featherseg.runtime.openvino import prepare_process
from featherseg.runtime.pixels import Picture

SIGNED_LEVELS = 255
"""Of a byte with a sign, as many below zero as above: what OpenVINO wants of the second factor of a product."""


class OpenVINOTarget:
    """Files for OpenVINO; bf16 is a matter of how they are run, and the file says so."""

    suffix: ClassVar[str] = ".xml"
    beside: ClassVar[tuple[str, ...]] = (".bin",)
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "openvino")
    packages_for_int8: ClassVar[tuple[str, ...]] = ("nncf",)
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16", "int8")

    def trace(self, network: SegNetwork, artefact: Artefact) -> Any:
        """The network as an ONNX model, from which OpenVINO reads it."""
        return trace(network, artefact)

    def convert(self, model: Any, precision: str) -> Any:
        """The OpenVINO model, and whether its weights are to be stored in half the space."""
        prepare_process()
        import openvino

        model = copy.deepcopy(model)
        keep_colours_together(model)
        return openvino.Core().read_model(model.SerializeToString()), precision != "fp32"

    def quantise(self, model: Any, pictures: Sequence[Picture], kept_in_float: Sequence[str]) -> Any:
        """The OpenVINO model in 8 bits, but for the layers named (OpenVINO keeps the ONNX model's names)."""
        converted, _ = self.convert(model, "int8")
        import nncf
        from openvino.passes import ConstantFolding, Manager

        # behind a Reshape NNCF gives depth-wise kernels a scale per column, and OpenVINO has no such kernels in 8 bits
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(converted)
        with int8.silent():
            quantised = nncf.quantize(
                converted,
                nncf.Dataset([picture[None] for picture in pictures]),
                subset_size=len(pictures),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                ignored_scope=nncf.IgnoredScope(patterns=[f"^{re.escape(name)}(/.*)?$" for name in kept_in_float]),
            )
        quantise_resizing(quantised, kept_in_float)
        return quantised, True

    def costly_layers(self, model: Any, pictures: Sequence[Picture]) -> list[str]:
        """The layers, by what quantising them alone costs; the first ones too, which NNCF quantises as well."""
        layers = [node.name for node in model.graph.node if node.op_type in int8.LAYERS]
        return int8.costly_layers(model, pictures, layers)

    def with_mask(self, model: Any, artefact: Artefact) -> Any:
        """A copy of the model that gives labels beside its scores."""
        import openvino
        from openvino import opset13 as op

        network, halved = model
        network = network.clone()
        scores, picture = network.output("scores").get_node().input_value(0), network.input("image")
        sides = op.gather(op.shape_of(picture), np.array([1, 2]), np.array(0))
        corners = "align_corners" if artefact.align_corners else "half_pixel"
        full = op.interpolate(
            scores, sides, "linear_onnx", "sizes", coordinate_transformation_mode=corners, axes=np.array([2, 3])
        )
        best = op.topk(full, np.array(1), 1, "max", "value", stable=True).output(1)
        mask = op.convert(op.squeeze(best, np.array([1])), "u8")
        mask.output(0).set_names({"mask"})
        return openvino.Model([*network.get_results(), op.result(mask)], network.get_parameters()), halved

    def write(self, model: Any, artefact: Artefact, path: Path) -> None:
        """Write both files."""
        import openvino

        network, halved = model
        network.set_rt_info(artefact.to_text(), METADATA_KEY)
        openvino.save_model(network, str(path), compress_to_fp16=halved)

    def open(self, path: Path) -> ExportedEngine:
        """The files as an engine."""
        return open_engine(path, device="cpu")


def quantise_resizing(model: Any, kept_in_float: Sequence[str] = ()) -> None:
    """Put, in place, matrices that resize (`nn.splitting`) into 8 bits: NNCF leaves out what sizes are made into.

    They are the only matrices of the picture's size that a map is multiplied with, and hold shares, 0 to 1.
    """
    from openvino import opset13 as op

    for product in model.get_ops():
        if product.get_type_name() != "MatMul" or product.get_friendly_name() in kept_in_float:
            continue
        matrix = product.input_value(1)
        if is_of_sizes(matrix.get_node()):
            in_bytes = op.fake_quantize(matrix, *(np.float32(end) for end in (-1, 1, -1, 1)), levels=SIGNED_LEVELS)
            product.input(1).replace_source_output(in_bytes.output(0))


def is_of_sizes(operation: Any) -> bool:
    """Whether a value is calculated from sizes of maps, and from nothing else that the picture changes."""
    left, seen, ends = [operation], set[str](), set[str]()
    while left:
        operation = left.pop()
        if operation.get_friendly_name() in seen:
            continue
        seen.add(operation.get_friendly_name())
        sources = [] if operation.get_type_name() == "ShapeOf" else operation.input_values()
        left += [source.get_node() for source in sources]
        if not sources:
            ends.add(operation.get_type_name())
    return "ShapeOf" in ends and ends <= {"ShapeOf", "Constant"}
