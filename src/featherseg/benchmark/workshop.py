"""Files for what has none: networks by name with random weights, and files with the usual tail in their graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featherseg.benchmark.graphs import AnyGraph
from featherseg.benchmark.street import street_picture
from featherseg.benchmark.tails import write_with_tail
from featherseg.hub.loading import is_name
from featherseg.runtime import weights
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.classes import Classes
from featherseg.runtime.engines import BACKENDS, OnnxEngine
from featherseg.runtime.errors import FeathersegError, nearest

if TYPE_CHECKING:
    from featherseg.models.base import SegNetwork

SEED = 0  # of the random weights
CALIBRATED = (256, 320)  # the size at which an int8 file of random weights is calibrated; its speed depends on none


@dataclass(frozen=True)
class Network:
    """A network by name; its weights are random.

    Attributes:
        name: of `featherseg.models.MODELS`.
        num_classes: channels of its scores.
        fields: (name, value) of its configuration.
    """

    name: str
    num_classes: int
    fields: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        from featherseg.models import model_config

        model_config(self.name, **dict(self.fields))

    @property
    def is_of_a_library(self) -> bool:
        """Whether it is the code of another library."""
        from featherseg.models import MODELS
        from featherseg.models.libraries import LibraryConfig

        return issubclass(MODELS[self.name], LibraryConfig)

    def build(self) -> tuple[SegNetwork, Artefact]:
        """Its deployed form, the same weights each time, and what it says of itself."""
        import torch

        from featherseg.models import create_model

        torch.manual_seed(SEED)
        network = create_model(self.name, num_classes=self.num_classes, **dict(self.fields)).deployed().eval()
        artefact = Artefact(
            classes=Classes(names=tuple(f"class {index}" for index in range(self.num_classes))),
            align_corners=network.align_corners,
            stride=network.stride,
        )
        return network, artefact


def is_network(what: str) -> bool:
    """Whether a word is a network by name, and neither trained weights nor a path.

    Raises:
        FeathersegError: for a word that is nothing at all, with the nearest that is something.
    """
    if "/" in what or what in weights.available():
        return False
    names = menu()
    if what in names:
        return True
    if not is_name(what):
        return False
    known = [*weights.available(), *names]
    raise FeathersegError(
        f"there are neither weights nor a network {what!r}; known names are {', '.join(known)}",
        remedy=nearest(what, known) if names else "networks by name need torch: pip install 'featherseg[train]'",
    )


def menu() -> list[str]:
    """The networks that can be built here: none without torch."""
    if not BACKENDS["torch"].installed():
        return []
    from featherseg.models import list_models

    return list_models()


class Workshop:
    """Makes files in a folder, each once.

    Args:
        folder: a temporary one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[tuple[Any, ...], Path] = {}

    def exported(self, network: Network, backend: str, precision: str) -> Path:
        """A network by name as a file for onnxruntime or OpenVINO; int8 is calibrated on the street alone."""
        plain = self.onnx(network)
        if (backend, precision) == ("onnxruntime", "fp32"):
            return plain
        from featherseg.export.onnx import OnnxTarget
        from featherseg.export.openvino import OpenVINOTarget

        target = OpenVINOTarget() if backend == "openvino" else OnnxTarget()
        path, is_new = self.place(backend, network, precision, suffix=target.suffix)
        if is_new:
            import onnx

            model = onnx.load(plain)
            if precision == "int8":
                made = target.quantise(model, [street_picture(CALIBRATED)], ())
            else:
                made = target.convert(model, precision)
            artefact = OnnxEngine(plain, device="cpu", threads=1).artefact
            target.write(made, replace(artefact, card={"export": {"precision": precision}}), path)
        return path

    def onnx(self, network: Network) -> Path:
        """The network as an ONNX file in fp32."""
        path, is_new = self.place("onnx", network, suffix=".onnx")
        if is_new:
            from featherseg.export.onnx import trace, write_model

            built, artefact = network.build()
            write_model(trace(built, artefact), artefact, path)
        return path

    def with_tail(self, source: Path, size: tuple[int, int]) -> Path:
        """An ONNX file of ours with resize and argmax in its graph; another's is refused."""
        path, is_new = self.place("tail", source, size, suffix=".onnx")
        if is_new:
            artefact = AnyGraph(source, threads=1).artefact
            if artefact is None:
                raise FeathersegError(
                    f"{source}: tail graph is for files of featherseg, which say how their scores are resized",
                    remedy="leave tail=graph out, or take tail=plain",
                )
            write_with_tail(source, path, size, align_corners=artefact.align_corners)
        return path

    def place(self, *key: Any, suffix: str) -> tuple[Path, bool]:
        """Where a file lies, and whether it is still to be made."""
        path = self.made.setdefault(key, self.folder / f"{len(self.made)}{suffix}")
        return path, not path.exists()
