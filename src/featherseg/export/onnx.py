"""ONNX: uint8 picture in, scores at the network's stride out, mean and std inside, metadata aboard.

image   uint8   (1,H,W,3) RGB, any H and W of 32 and more
scores  float32 (1,C,h,w)
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from featherseg.data import SegData
from featherseg.export.agreement import Agreement, measure_agreement, require_evidence
from featherseg.export.card import card_path, is_foreign, shippable, write_card
from featherseg.models.base import SegNetwork, SegOutput
from featherseg.models.engine import Normalise
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import Picture, write_atomically

OPSET = 18
TRACED = (256, 320)  # the size of the traced picture; agreement is measured at others
SMALLEST_TRACED = 33  # torch.export wants the deepest map to be more than one cell; the file itself runs from 32 on
PRECISIONS = ("fp32", "fp16")


class PictureToScores(nn.Module):
    """The graph of the file: uint8 (1,H,W,3) -> float32 (1,C,h,w)."""

    def __init__(self, network: SegNetwork, artefact: Artefact) -> None:
        super().__init__()
        self.normalise = Normalise(artefact.preprocessing)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Normalise, run, and give the main scores alone."""
        images = self.normalise(image.permute(0, 3, 1, 2))  # (1, 3, H, W)
        return self.network(images).logits.float()  # type: ignore[no-any-return]


class Shifted(SegNetwork):
    """A network with a constant added to each class's scores: its operating point moved towards some classes."""

    def __init__(self, network: SegNetwork, shift: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.num_classes, self.stride = network.num_classes, network.stride
        self.align_corners = network.align_corners
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> SegOutput:
        """float32 (N,3,H,W) -> the network's output with the shift added to the logits."""
        output = self.network(images)
        return SegOutput(output.logits + self.shift, output.aux_logits, output.presence)


def export_onnx(
    network: SegNetwork,
    artefact: Artefact,
    path: Path,
    *,
    pictures: list[Picture],
    data: SegData | None = None,
    precision: str = "fp32",
    max_drop: float | None = None,
    keep_despite: bool = False,
    device: str = "cpu",
    bias: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Write the file and prove it, in that order, under a temporary name; it gets its own name only when it agrees.

    Args:
        network: the trained network; its training-only heads are left out.
        artefact: what the file will say of itself; paths of this machine on its card stay behind.
        path: where it goes, with its card NAME.md; an older file there stays until the new one is proved.
        pictures: what the agreement is measured on.
        data: labelled pictures to score network and file on; the file's scores then stand on its card.
        precision: "fp32", or "fp16": weights stored in half the space and widened when the file is opened.
        max_drop: mIoU points that the file may lose.
        keep_despite: keep a file that does not agree, marked as such on its card.
        device: where the network is scored; it is compared on the CPU, as the file is.
        bias: class name -> what is added to its scores, in the file alone; it stands on the card.
        progress: called with (pictures done, pictures in all) while scoring.

    Raises:
        FeathersegError: before anything is traced for a path, pictures or a limit that cannot do; afterwards where the
            file disagrees with the network beyond the tolerance.
        ModuleNotFoundError: where onnx or onnxscript is not installed, before anything is traced.
    """
    refuse_unknown("precision", precision, PRECISIONS)
    require_target(path)
    require_evidence(pictures, data, max_drop)
    for package in ("onnx", "onnxscript"):
        importlib.import_module(package)
    bias = dict(bias or {})
    for name in bias:
        refuse_unknown("bias of class", name, artefact.classes.names)
    network = network.deployed().float().cpu().eval()
    if bias:
        network = Shifted(network, [bias.get(name, 0.0) for name in artefact.classes.names]).eval()
    model = trace(network, artefact)
    if precision == "fp16":
        halve_weights(model)
    draft = path.with_name(f".{path.stem}.draft.onnx")
    try:
        write_model(model, artefact, draft)
        agreement = measure_agreement(
            network,
            artefact,
            draft,
            pictures,
            precision=precision,
            data=data,
            max_drop=max_drop,
            device=device,
            progress=progress,
        )
        if not agreement.holds and not keep_despite:
            raise FeathersegError(
                f"{path.name} does not agree with the network", expected=agreement.tolerance, got=agreement.summary(),
                remedy="nothing was written; keep such a file with --force",
            )  # fmt: skip
        card = shippable(artefact.card)
        card["export"] = {"target": "onnx", "precision": precision, "bias": bias, **agreement.to_json()}
        if data is not None and agreement.after is not None:
            card["network_scores"] = card.get("scores", {})
            card["scores"] = {f"{data.name} {data.split}": {"pictures": len(data), **agreement.after.to_json()}}
        write_model(model, replace(artefact, card=card), draft)
        draft.replace(path)
        write_card(path, card)
    finally:
        draft.unlink(missing_ok=True)
    return agreement


def require_target(path: Path) -> None:
    """Refuse a path that a file and its card cannot be written to, or that nothing would open."""
    if path.is_dir():
        raise FeathersegError(f"{path}: is a folder", expected="a file", remedy=f"for instance {path / 'net.onnx'}")
    if path.suffix != ".onnx":
        raise FeathersegError(f"{path}", expected="a file ending in .onnx", got=repr(path.suffix))
    if not path.parent.is_dir():
        raise FeathersegError(f"{path}: there is no folder {path.parent}", remedy="make it first")
    if is_foreign(card_path(path)):
        raise FeathersegError(
            f"{card_path(path)}: would be replaced by the file's card, and is none", remedy="choose another name"
        )


def trace(network: SegNetwork, artefact: Artefact) -> Any:
    """The network as an ONNX model with free height and width."""
    image = torch.randint(0, 256, (1, *TRACED, 3), dtype=torch.uint8)
    free = {
        1: torch.export.Dim("height", min=SMALLEST_TRACED, max=1 << 14),
        2: torch.export.Dim("width", min=SMALLEST_TRACED, max=1 << 14),
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        program = torch.onnx.export(
            PictureToScores(network, artefact).eval(),
            (image,),
            input_names=["image"],
            output_names=["scores"],
            dynamic_shapes={"image": free},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise FeathersegError("torch.onnx.export gave no program", remedy="use a torch of the supported range")
    return program.model_proto


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
