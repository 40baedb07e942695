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
