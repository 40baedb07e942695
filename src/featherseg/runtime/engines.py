"""An exported file as an engine: a callable from a picture, uint8 (H,W,3), to scores, float32 (C,h,w)."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from featherseg.runtime.artefact import METADATA_KEY, Artefact, InputRule
from featherseg.runtime.errors import FeathersegError, first_line, refuse_unknown
from featherseg.runtime.machine import quota_below_cores
from featherseg.runtime.openvino import OpenVINOEngine

DEVICES = ("auto", "cpu", "cuda", "mps")


class Engine(Protocol):
    """Runs a network on one picture, its preprocessing included."""

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) RGB, H and W >= 32 -> float32 (C,h,w) at the network's stride."""
        ...


class Backend(NamedTuple):
    """What runs a kind of file."""

    suffix: str
    package: str  # that must be installed

    def installed(self) -> bool:
        """Whether the package is there; it is not imported."""
        return importlib.util.find_spec(self.package) is not None


BACKENDS = {  # in the order in which "auto" prefers them
    "onnxruntime": Backend(".onnx", "onnxruntime"),
    "openvino": Backend(".xml", "openvino"),
    "torch": Backend(".safetensors", "torch"),
}

RUN_ELSEWHERE = {".pte": "ExecuTorch, in a program of its own", ".pt2": "torch.export.load, in a program of its own"}
"""Files that featherseg writes and does not run, and what does."""

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
ONNXRUNTIME_SILENT = 4  # only fatal messages: what matters is raised as an error, and one line is enough


SCORES = ("scores", "logits", "output")
"""What an output with scores may be called, the best name first, where a graph has several that could be it."""


class Layout(NamedTuple):
    """How a graph takes its picture."""

    text: str
    dtype: str  # onnxruntime's word
    channel: int  # the axis of the three colours
    sides: slice  # the axes of height and width


OURS = Layout("uint8 (1,H,W,3)", "tensor(uint8)", channel=3, sides=slice(1, 3))
FOREIGN = Layout("float32 (1,3,H,W)", "tensor(float)", channel=1, sides=slice(2, 4))


class OnnxEngine:
    """An ONNX file in onnxruntime.

    A file that featherseg exported says itself what it needs: input `image` uint8 (1,H,W,3), output `scores` (1,C,h,w).
    Another file is served when `artefact` brings what it cannot say: one input float32 (1,3,H,W), which receives the
    picture normalised by the artefact's mean and std, and an output of float32 scores (1,C,h,w).

    Attributes:
        artefact: what the file says of itself, or the one given. Where the graph takes one size only, that size is its
            input rule.
        fixed_size: (height, width) where the graph takes one size only.
    """

    artefact: Artefact
    fixed_size: tuple[int, int] | None

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        artefact: Artefact | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        """Load a file.

        Args:
            path: the .onnx file.
            artefact: for files without featherseg's metadata only.
            device: auto takes a GPU where the installed onnxruntime has one.
            threads: threads of one operation; None leaves the choice to onnxruntime, within the quota of the process.

        Raises:
            FeathersegError: where the file is missing, damaged, or not of the form above.
        """
        self.path = os.fspath(path)
        self.session = _session(self.path, device, threads)
        own = _described(self.session, self.path)
        if own is not None and artefact is not None:
            raise FeathersegError(f"{self.path}: describes itself", remedy="leave the artefact out")
        described = own or artefact
        if described is None:
            raise FeathersegError(
                f"{self.path}: the file says nothing of its classes and preprocessing",
                remedy="export it with featherseg, or give OnnxEngine an Artefact with classes, mean and std",
            )
        self.layout = OURS if own is not None else FOREIGN
        self.input = _input(self.session, self.layout, self.path)
        self.output = _output(self.session, self.layout, self.path)
        height, width = self.input.shape[self.layout.sides]
        self.fixed_size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.artefact = _at_fixed_size(described, self.fixed_size)

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) RGB -> float32 (C,h,w).

        Raises:
            FeathersegError: where the file takes another size only, or onnxruntime cannot run it.
        """
        return np.asarray(self._run([self.output.name], image)[0][0], np.float32)  # (1,C,h,w) -> (C,h,w)

    def with_mask(self, image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Of files exported with a mask: the scores, and the labels that the graph makes of them, uint8 (H,W)."""
        scores, mask = self._run([self.output.name, "mask"], image)
        return np.asarray(scores[0], np.float32), mask[0]

    def _run(self, outputs: list[str], image: npt.NDArray[np.uint8]) -> list[Any]:
        """Outputs of the graph."""
        height, width = image.shape[:2]
        if self.fixed_size is not None and self.fixed_size != (height, width):
            taken = "x".join(map(str, self.fixed_size))
            raise FeathersegError(
                f"{self.path}: takes pictures of {taken} only",
                got=f"{height}x{width}",
                remedy="give Predictor the engine's own artefact, or leave the size out",
            )
        value = image[None] if self.layout is OURS else self.artefact.preprocessing(image)
        try:
            values: list[Any] = self.session.run(outputs, {self.input.name: value})
            return values
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            raise FeathersegError(
                f"{self.path}: cannot run a picture of {height}x{width} ({first_line(error)})"
            ) from error


ExportedEngine: TypeAlias = OnnxEngine | OpenVINOEngine

ENGINES: dict[str, type[ExportedEngine]] = {"onnxruntime": OnnxEngine, "openvino": OpenVINOEngine}
"""Backend -> engine for exported files. Checkpoints need torch, which lives on a higher floor: `featherseg.hub`."""


def open_engine(
    path: str | os.PathLike[str], *, backend: str = "auto", device: str = "auto", threads: int | None = None
) -> ExportedEngine:
    """The engine for an exported file; the file's suffix decides, and `backend` may only agree with it.

    Args:
        path: the file.
        backend: "auto", or the one that runs such files.
        device: where it runs; auto takes a GPU where the backend has one.
        threads: threads of one picture; None leaves the choice to the backend, within the quota of the process.

    Raises:
        FeathersegError: for a file that no installed backend runs.
    """
    name = os.fspath(path)
    chosen = backend_of(name, backend)
    if chosen not in ENGINES:
        raise FeathersegError(
            f"{name}: {chosen} files are run by featherseg.load", remedy="or take an exported file of the network"
        )
    require_installed(chosen, name)
    if chosen == "openvino" and device in ("cuda", "mps"):
        raise FeathersegError(
            f"{name}: OpenVINO runs on the CPU here", got=f"device {device}", remedy="leave the device out"
        )
    return ENGINES[chosen](path, device=device, threads=threads or quota_below_cores())


def backend_of(path: str, backend: str = "auto") -> str:
    """The backend that runs a file, by its suffix; refuses another one that was asked for."""
    refuse_unknown("backend", backend, ("auto", *BACKENDS))
    suffix = os.path.splitext(path)[1].lower()
    by_suffix = {item.suffix: name for name, item in BACKENDS.items()}
    if suffix not in by_suffix:
        what = f"is run by {RUN_ELSEWHERE[suffix]}" if suffix in RUN_ELSEWHERE else "no network"
        raise FeathersegError(f"{path}: {what}", expected=f"a file ending in {', '.join(by_suffix)}")
    if backend not in ("auto", by_suffix[suffix]):
        raise FeathersegError(
            f"{path}: backend {backend} runs {BACKENDS[backend].suffix} files",
            remedy="give the checkpoint or its run directory"
            if backend == "torch"
            else f"leave the backend out, or export the network to {BACKENDS[backend].suffix}",
        )
    return by_suffix[suffix]


def require_installed(backend: str, path: str) -> None:
    """Raise unless the backend's package is installed."""
    if not BACKENDS[backend].installed():
        extra = "featherseg[train]" if backend == "torch" else BACKENDS[backend].package
        raise FeathersegError(f"{path}: needs the package {BACKENDS[backend].package}", remedy=f"pip install '{extra}'")


def _session(path: str, device: str, threads: int | None) -> Any:
    """An onnxruntime session that prints nothing."""
    import onnxruntime

    refuse_unknown("device", device, DEVICES)
    if not os.path.isfile(path):
        raise FeathersegError(f"{path}: there is no such file")
    there = onnxruntime.get_available_providers()
    wanted = [PROVIDERS["cuda"], PROVIDERS["cpu"]] if device == "auto" else [PROVIDERS[device]]
    if device != "auto" and wanted[0] not in there:
        raise FeathersegError(
            f"device {device}: the installed onnxruntime has no {wanted[0]}", remedy="use device auto"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONNXRUNTIME_SILENT
    options.intra_op_num_threads = threads or quota_below_cores() or 0  # 0: its own choice
    try:
        return onnxruntime.InferenceSession(path, options, providers=[name for name in wanted if name in there])
    except Exception as error:  # onnxruntime's errors have no common base but Exception
        raise FeathersegError(f"{path}: is not an ONNX file that onnxruntime can run ({first_line(error)})") from error


def _described(session: Any, path: str) -> Artefact | None:
    """What a file that featherseg exported says of itself."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return None if text is None else Artefact.from_text(text, source=path)


def _input(session: Any, layout: Layout, path: str) -> Any:
    """The graph's one input."""
    inputs = session.get_inputs()
    if len(inputs) == 1 and inputs[0].type == layout.dtype and len(inputs[0].shape) == 4:
        channels = inputs[0].shape[layout.channel]
        if channels == 3 or not isinstance(channels, int):  # a name or None: any number
            require_one_picture(inputs[0].shape, path)
            return inputs[0]
    raise FeathersegError(f"{path}: inputs", expected=f"one, {layout.text}", got=_listed(inputs))


def require_one_picture(shape: Sequence[Any], path: str) -> None:
    """Refuse a graph whose first axis is fixed to another number of pictures than 1; a name or None is any number."""
    if isinstance(shape[0], int) and shape[0] != 1:
        raise FeathersegError(f"{path}: takes {shape[0]} pictures at a time", remedy="export it with a batch of 1")


def _output(session: Any, layout: Layout, path: str) -> Any:
    """The output with the scores: named so, or in another's graph what has their shape."""
    outputs = session.get_outputs()
    named = [item for item in outputs if item.name == "scores"]
    foreign = [item for item in outputs if item.type == "tensor(float)" and len(item.shape) == 4]
    if named or (layout is FOREIGN and foreign):
        return the_scores(named or foreign, path)
    raise FeathersegError(
        f"{path}: outputs",
        expected="scores float32 (1,C,h,w)",
        got=_listed(outputs),
        remedy="export the network with its scores",
    )


def the_scores(outputs: Sequence[Any], path: str) -> Any:
    """Of the outputs that could be it the one that is named as scores are, or the only one."""
    named = [item for name in SCORES for item in outputs if item.name.lower() == name]
    if named or len(outputs) == 1:
        return (named or outputs)[0]
    raise FeathersegError(
        f"{path}: several outputs could be the scores",
        expected=f"one, or one named {' or '.join(SCORES)}",
        got=", ".join(item.name for item in outputs),
        remedy="name it so, or leave the others out of the graph",
    )


def _listed(items: list[Any]) -> str:
    return ", ".join(f"{item.name} {item.type} {item.shape}" for item in items)


def _at_fixed_size(artefact: Artefact, size: tuple[int, int] | None) -> Artefact:
    """The artefact with the one size that the graph takes; "area" would ask for another size at every aspect."""
    rule = artefact.input_rule
    if size is None or (rule.size == size and rule.fit != "area"):
        return artefact
    fit = "letterbox" if rule.fit == "letterbox" else "stretch"
    return dataclasses.replace(artefact, input_rule=InputRule(size=size, fit=fit))
