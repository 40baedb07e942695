"""Write, prove, and only then give the file its name."""

from __future__ import annotations

import importlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from featherseg.data import SegData
from featherseg.evaluation import evaluate
from featherseg.export.agreement import Agreement, as_in_use, measure_agreement, require_evidence
from featherseg.export.card import card_path, is_foreign, write_card
from featherseg.export.executorch import ExecuTorchTarget
from featherseg.export.graph import Shifted
from featherseg.export.onnx import OnnxTarget
from featherseg.export.openvino import OpenVINOTarget
from featherseg.export.program import TorchTarget
from featherseg.metrics import Scores
from featherseg.models.base import SegNetwork
from featherseg.models.engine import TorchEngine
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.card import shippable
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import Picture, picture_size, size_of
from featherseg.runtime.predictor import Predictor

Target = OnnxTarget | OpenVINOTarget | ExecuTorchTarget | TorchTarget

TARGETS: dict[str, Target] = {
    "onnx": OnnxTarget(),
    "openvino": OpenVINOTarget(),
    "executorch": ExecuTorchTarget(),
    "torch": TorchTarget(),
}
"""The whole menu of kinds of file."""

MASKS = (OnnxTarget, OpenVINOTarget)
"""The kinds of file that can give labels, too."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
OF_ANOTHER_FILE = ("storage", "storage_costs", "bytes", "picture", "spread")
"""What the card of published weights says of their own file and score."""

INT8_DROP = 0.5  # mIoU points that 8 bits may cost where nothing else was said


def export(
    network: SegNetwork,
    artefact: Artefact,
    path: Path,
    *,
    to: str = "onnx",
    pictures: list[Picture],
    data: SegData | None = None,
    precision: str = "fp32",
    calibration: Sequence[Picture] = (),
    max_drop: float | None = None,
    keep_despite: bool = False,
    device: str = "cpu",
    bias: Mapping[str, float] | None = None,
    mask: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Write the file and prove it, in that order, in a folder of its own; it gets its name only when it agrees.

    Args:
        network: the trained network; its training-only heads are left out.
        artefact: what the file will say of itself; paths of this machine on its card stay behind.
        path: where it goes, with its card beside it; an older file there stays until the new one is proved.
        to: one of `TARGETS`.
        pictures: what the agreement is measured on.
        data: labelled pictures to score network and file on; the file's scores then stand on its card.
        precision: "fp32"; "fp16": weights stored in half the space and widened when the file is opened; "bf16": run in
            bfloat16; "int8": weights and maps in 8 bits.
        calibration: pictures, of the training split, that the ranges of 8 bits are measured on; `int8` needs some.
        max_drop: mIoU points that the file may lose; for int8 with labelled pictures 0.5 unless given. Where 8 bits
            lose more, the layers that cost most stay in float, until it holds.
        keep_despite: keep a file that does not agree, marked as such on its card.
        device: where the network is scored; it is compared on the CPU, as the file is.
        bias: class name -> what is added to its scores, in the file alone; it stands on the card.
        mask: whether the file gives labels, `mask` uint8 (1,H,W), beside its scores; of `MASKS`.
        progress: called with (pictures done, pictures in all) while scoring.

    Raises:
        FeathersegError: before anything is traced for a path, pictures or a limit that cannot do; afterwards where the
            file disagrees with the network beyond the tolerance.
        ModuleNotFoundError: where a package of the target is not installed, before anything is traced.
    """
    refuse_unknown("target", to, TARGETS)
    target = TARGETS[to]
    refuse_unknown(f"precision for {to}", precision, target.precisions)
    if mask and not isinstance(target, MASKS):
        raise FeathersegError(f"a file for {to} gives scores alone", remedy="leave the mask out")
    require_path(path, target)
    require_evidence(pictures, data, max_drop)
    if precision == "int8" and not calibration:
        raise FeathersegError("int8", expected="pictures to measure the ranges on", got="none")
    for package in (*target.packages, *(target.packages_for_int8 if precision == "int8" else ())):
        importlib.import_module(package)
    if isinstance(target, ExecuTorchTarget):
        target.require_room(artefact, own_sizes((*pictures, *calibration), data))
    bias = dict(bias or {})
    for name, value in bias.items():
        refuse_unknown("bias of class", name, artefact.classes.names)
        if not math.isfinite(value):
            raise FeathersegError(f"bias of class {name}", expected="a finite number", got=value)
    if max_drop is None and precision == "int8" and data is not None:
        max_drop = INT8_DROP

    network = network.deployed().float().cpu().eval()
    if bias:
        network = Shifted(network, [bias.get(name, 0.0) for name in artefact.classes.names]).eval()
    before = scores_of_network(network, artefact, data, device, progress)
    said: dict[str, Any] = {"target": to, "precision": precision, "bias": bias}

    def write(model: Any, card: dict[str, Any], draft: Path) -> None:
        wanted = target.with_mask(model, artefact) if mask and isinstance(target, MASKS) else model
        target.write(wanted, replace(artefact, card=card), draft)

    def attempt(model: Any, draft: Path) -> Agreement:
        write(model, {"export": said}, draft)
        engine = target.open(draft)
        return measure_agreement(
            network, artefact, engine, pictures, precision=precision, data=data, before=before, max_drop=max_drop,
            mask=mask, progress=progress,
        )  # fmt: skip

    graph = target.trace(network, artefact)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder) / path.name
        if precision == "int8":
            framed = [as_in_use(picture, artefact) for picture in calibration]
            model, agreement = within_budget(target, graph, framed, lambda model: attempt(model, draft))
            said["calibrated_on"] = len(framed)
        else:
            model = target.convert(graph, precision)
            agreement = attempt(model, draft)
        if not agreement.holds and not keep_despite:
            raise FeathersegError(
                f"{path.name} does not agree with the network", expected=agreement.tolerance, got=agreement.summary(),
                remedy="nothing was written; keep such a file with --force",
            )  # fmt: skip
        card = {key: value for key, value in shippable(artefact.card).items() if key not in OF_ANOTHER_FILE}
        card["name"] = path.stem
        card["export"] = {**said, **agreement.to_json()}
        card["network_scores"] = card.pop("scores", {})  # at the size, and without the bias, of the run
        if data is not None and agreement.after is not None:
            card["scores"] = {f"{data.name} {data.split}": {"pictures": len(data), **agreement.after.to_json()}}
        write(model, card, draft)
        for suffix in (*target.beside, target.suffix):  # the file that is opened comes last
            draft.with_suffix(suffix).replace(path.with_suffix(suffix))
        write_card(path, card)
    return agreement


def within_budget(
    target: Target, graph: Any, calibration: Sequence[Picture], attempt: Callable[[Any], Agreement]
) -> tuple[Any, Agreement]:
    """The network in 8 bits, with as few layers left in float as the agreement asks for: 0, 1, 2, 4, 8 ...

    Returns:
        The model and its agreement; where even half of the layers in float would not do, those that lost the least.
    """
    model = target.quantise(graph, calibration, ())
    best = model, attempt(model)
    if best[1].holds:
        return best
    order = target.costly_layers(graph, calibration)
    count = 1
    while not best[1].holds and count <= len(order) // 2:
        in_float = order[:count]
        model = target.quantise(graph, calibration, in_float)
        best = min(
            best, (model, replace(attempt(model), layers_in_float=tuple(in_float))), key=lambda one: loss(one[1])
        )
        count *= 2
    return best


def loss(agreement: Agreement) -> tuple[bool, float, float]:
    """What 8 bits cost, for comparing attempts: those that hold first, then mIoU points, then pixels that differ."""
    return not agreement.holds, agreement.drop or 0.0, 1 - agreement.equal_pixels


def scores_of_network(
    network: SegNetwork,
    artefact: Artefact,
    data: SegData | None,
    device: str,
    progress: Callable[[int, int], None] | None,
) -> Scores | None:
    """The network's own scores on the labelled pictures; afterwards it is on the CPU again."""
    if data is None:
        return None
    scores = evaluate(Predictor(TorchEngine(network, artefact, device=device), artefact), data, progress=progress)
    network.cpu()
    return scores


def own_sizes(pictures: Sequence[Picture], data: SegData | None) -> Iterator[tuple[int, int]]:
    """(height, width) of the pictures and of the labelled ones, of which headers alone are read."""
    yield from map(size_of, pictures)
    for pair in data.pairs if data is not None else ():
        yield picture_size(pair.image) if pair.window is None else pair.window[2:]


def require_path(path: Path, target: Target) -> None:
    """Refuse a path that a file and its card cannot be written to, or that nothing would open."""
    if path.is_dir():
        example = path / f"net{target.suffix}"
        raise FeathersegError(f"{path}: is a folder", expected="a file", remedy=f"for instance {example}")
    if path.suffix != target.suffix:
        raise FeathersegError(f"{path}", expected=f"a file ending in {target.suffix}", got=repr(path.suffix))
    if not path.parent.is_dir():
        raise FeathersegError(f"{path}: there is no folder {path.parent}", remedy="make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise FeathersegError(f"{path}: the folder {path.parent} cannot be written to", remedy="choose another one")
    if is_foreign(card_path(path)):
        raise FeathersegError(
            f"{card_path(path)}: would be replaced by the file's card, and is none", remedy="choose another name"
        )
