"""A network as an ONNX model, with its weights in full, in half, or everything in 8 bits."""

from __future__ import annotations

import ast
import copy
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from featherseg.export import int8
from featherseg.export.graph import PictureToScores, free_sides, traced_picture
from featherseg.export.norms import spread_norms
from featherseg.export.picture import fold_preprocessing
from featherseg.models.base import SegNetwork
from featherseg.models.engine import stripped
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.engines import ExportedEngine, open_engine
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.mask_output import add_mask
from featherseg.runtime.pixels import Picture, write_atomically

OPSET = 18


class OnnxTarget:
    """Files for onnxruntime and whatever else reads ONNX."""

    suffix: ClassVar[str] = ".onnx"
    beside: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript")
    packages_for_int8: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "int8")

    def trace(self, network: SegNetwork, artefact: Artefact) -> Any:
        """The network as an ONNX model."""
        return trace(network, artefact)

    def convert(self, model: Any, precision: str) -> Any:
        """The model with its weights stored as `precision` says."""
        if precision == "fp16":
            halve_weights(model)
        return model

    def quantise(self, model: Any, pictures: Sequence[Picture], kept_in_float: Sequence[str]) -> Any:
        """The model in 8 bits, but for the layers named."""
        return int8.quantise(model, pictures, kept_in_float)

    def costly_layers(self, model: Any, pictures: Sequence[Picture]) -> list[str]:
        """The layers, by what quantising them alone costs."""
        return int8.costly_layers(model, pictures)

    def with_mask(self, model: Any, artefact: Artefact) -> Any:
        """A copy of the model that gives labels beside its scores."""
        model = copy.deepcopy(model)
        add_mask(model, align_corners=artefact.align_corners)
        return model

    def write(self, model: Any, artefact: Artefact, path: Path) -> None:
        """Write the file."""
        write_model(model, artefact, path)

    def open(self, path: Path) -> ExportedEngine:
        """The file as an engine on the CPU."""
        return open_engine(path, device="cpu")


def trace(network: SegNetwork, artefact: Artefact) -> Any:
    """The network as an ONNX model with free height and width."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            PictureToScores(stripped(copy.deepcopy(network)), artefact).eval(),
            (traced_picture(),),
            input_names=["image"],
            output_names=["scores"],
            dynamic_shapes={"image": free_sides()},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise FeathersegError("torch.onnx.export gave no program", remedy="use a torch of the supported range")
    model = program.model_proto
    fold_preprocessing(model)
    spread_norms(model)
    name_layers(model)
    return model


def name_layers(model: Any) -> None:
    """Call each layer as the network does (`classifier.3`), so that a report that names it can be understood.

    Its weight tells; one that was made for the file does not, and there the exporter's note does, which names the batch
    norm where a convolution has taken one in.
    """
    taken = {node.name for node in model.graph.node}
    for node in model.graph.node:
        notes = {item.key: item.value for item in node.metadata_props}
        scopes = ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))
        weights = [name.removesuffix(".weight") for name in node.input if name.endswith(".weight")]
        name = (weights or scopes[-2:-1] or [""])[0].removeprefix("network.")
        if node.op_type in int8.LAYERS and name and name not in taken:
            node.name = name
            taken.add(name)


def halve_weights(model: Any) -> None:
    """Store every large float32 weight as float16 behind a Cast, which the runtime folds away on opening the file."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < 64 or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"widen_{name}"))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [value for value in graph.value_info if value.name not in {cast.output[0] for cast in casts}]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def write_model(model: Any, artefact: Artefact, path: Path) -> None:
    """Write the model with its metadata, after onnx has checked it."""
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: artefact.to_text()})
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's notes on where in the source each node came from
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    model.producer_name = "featherseg"
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    write_atomically(path, lambda file: file.write(content))
