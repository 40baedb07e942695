"""An ONNX graph that is only to be run: any that takes one picture, whatever it says of itself."""

from __future__ import annotations

import os
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.runtime.artefact import METADATA_KEY, Artefact, Preprocessing
from featherseg.runtime.engines import ONNXRUNTIME_SILENT, PROVIDERS, require_one_picture, the_scores
from featherseg.runtime.errors import FeathersegError, first_line

Picture = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


class PictureInput(NamedTuple):
    """How a graph takes its picture: `layout` is NHWC for uint8 as in our files, NCHW for normalised floats."""

    name: str
    layout: Literal["NHWC", "NCHW"]
    size: tuple[int, int] | None  # where it takes one only

    def value(self, image: Picture) -> Array:
        """uint8 (H,W,3) as the graph takes it. For foreign graphs mean and std are ImageNet's: time depends on none."""
        return image[None] if self.layout == "NHWC" else Preprocessing()(image)


class AnyGraph:
    """A graph in onnxruntime.

    Attributes:
        input: how it takes its picture.
        gives: "scores" float (1,C,h,w), or "labels", integers (1,H,W) or (1,1,H,W).
        artefact: what a file of ours says of itself; None for a foreign one.
    """

    def __init__(self, path: str | os.PathLike[str], *, device: str = "cpu", threads: int | None = None) -> None:
        self.path = os.fspath(path)
        options = session_options()
        if threads is not None:
            options.intra_op_num_threads = threads
        self.session = open_session(self.path, options, device)
        self.input = picture_input(self.session, self.path)
        self.output, self.gives = picture_output(self.session, self.path)
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.artefact = None if text is None else Artefact.from_text(text, source=self.path)

    def __call__(self, value: Array) -> Array:
        """What `PictureInput.value` gives -> scores (C,h,w) float32 or labels (H,W)."""
        try:
            result = np.asarray(self.session.run([self.output], {self.input.name: value})[0])
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            shape = "x".join(map(str, value.shape))
            raise FeathersegError(f"{self.path}: cannot run an input of {shape} ({first_line(error)})") from error
        return result[0] if self.gives == "scores" else result.reshape(result.shape[-2:])


def session_options() -> Any:
    """Options of an onnxruntime session that prints nothing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONNXRUNTIME_SILENT
    return options


def open_session(path: str, options: Any, device: str = "cpu") -> Any:
    """A session; what is no ONNX file is refused by name."""
    import onnxruntime

    if not os.path.isfile(path):
        raise FeathersegError(f"{path}: there is no such file")
    wanted = PROVIDERS["cpu" if device == "auto" else device]
    there = onnxruntime.get_available_providers()
    if wanted not in there:
        raise FeathersegError(f"device {device}: the installed onnxruntime has no {wanted}", remedy="use device cpu")
    try:
        return onnxruntime.InferenceSession(path, options, providers=list(dict.fromkeys((wanted, PROVIDERS["cpu"]))))
    except Exception as error:  # see above
        raise FeathersegError(f"{path}: is not an ONNX file that onnxruntime can run ({first_line(error)})") from error


def picture_input(session: Any, path: str) -> PictureInput:
    """The one input, a picture."""
    inputs = session.get_inputs()
    if len(inputs) == 1 and len(inputs[0].shape) == 4:
        shape, kind = inputs[0].shape, inputs[0].type
        require_one_picture(shape, path)
        if kind == "tensor(uint8)" and shape[3] == 3:
            return PictureInput(inputs[0].name, "NHWC", fixed(shape[1:3]))
        if kind == "tensor(float)" and (shape[1] == 3 or not isinstance(shape[1], int)):
            return PictureInput(inputs[0].name, "NCHW", fixed(shape[2:4]))
    raise FeathersegError(
        f"{path}: inputs",
        expected="one picture, uint8 (1,H,W,3) or float32 (1,3,H,W)",
        got=", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs),
    )


def picture_output(session: Any, path: str) -> tuple[str, Literal["scores", "labels"]]:
    """The name of the output that holds a value for every place of the picture, and what it is."""
    outputs = session.get_outputs()
    scores = [item for item in outputs if item.type in ("tensor(float)", "tensor(float16)") and len(item.shape) == 4]
    if scores:
        return the_scores(scores, path).name, "scores"
    for item in outputs:
        if "int" in item.type and len(item.shape) in (3, 4):
            return item.name, "labels"
    raise FeathersegError(
        f"{path}: outputs",
        expected="scores float32 (1,C,h,w) or labels (1,H,W)",
        got=", ".join(f"{item.name} {item.type} {item.shape}" for item in outputs),
    )


def fixed(sides: list[Any]) -> tuple[int, int] | None:
    """(height, width) where both are numbers."""
    height, width = sides
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
