"""An OpenVINO file (.xml beside .bin) as an engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.errors import FeathersegError, first_line, refuse_unknown

SIZES_KEPT = 4  # graphs compiled for one size each

TILE_LEAF = 0x1D  # of CPUID: how AMX's tiles look
MOST_WITHOUT_AMX = "AVX512_CORE_FP16"


class OpenVINOEngine:
    """A file that featherseg exported, in OpenVINO on the CPU.

    A graph compiled for one size is up to twice as fast as one for any size, and takes a few tenths of a second to
    compile: the first picture of a size runs in the graph for any size, the second one gets its own. Where four have
    one, a fifth size must come twice in a row, so that sizes that take turns are not compiled again and again.

    Attributes:
        artefact: what the file says of itself.
    """

    artefact: Artefact

    def __init__(self, path: str | os.PathLike[str], *, device: str = "auto", threads: int | None = None) -> None:
        """Load a file.

        Args:
            path: the .xml file; its weights lie beside it in the .bin file.
            device: auto or cpu.
            threads: threads to use; None leaves the choice to OpenVINO.

        Raises:
            FeathersegError: where the file is missing, damaged, or was not exported by featherseg.
        """
        self.path = os.fspath(path)
        refuse_unknown("device", device, ("auto", "cpu"))
        for part in (Path(self.path), Path(self.path).with_suffix(".bin")):
            if not part.is_file():
                raise FeathersegError(f"{part}: there is no such file", remedy="an OpenVINO network is NAME.xml + .bin")
        prepare_process()
        import openvino

        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(self.path)
        except Exception as error:  # OpenVINO's errors have no common base but Exception
            raise FeathersegError(f"{self.path}: is not a file that OpenVINO can read ({first_line(error)})") from error
        if not self._model.has_rt_info(METADATA_KEY):
            raise FeathersegError(
                f"{self.path}: the file says nothing of its classes and preprocessing",
                remedy="export it with featherseg export --to openvino",
            )
        self.artefact = Artefact.from_text(self._model.get_rt_info(METADATA_KEY).astype(str), source=self.path)
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": arithmetic_of(
                self.artefact, self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            ),
        }
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._any_size = self._request(self._model)
        self._of_size: dict[tuple[int, int], Any] = {}  # the latest size comes last
        self._seen: set[tuple[int, int]] = set()
        self._latest: tuple[int, int] | None = None

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) RGB -> float32 (C,h,w)."""
        return np.asarray(self._run(image)["scores"][0], np.float32)  # (1,C,h,w) -> (C,h,w)

    def with_mask(self, image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Of files exported with a mask: the scores, and the labels that the graph makes of them, uint8 (H,W)."""
        values = self._run(image)
        return np.asarray(values["scores"][0], np.float32), values["mask"][0]

    def _run(self, image: npt.NDArray[np.uint8]) -> Any:
        """Output -> its value."""
        size = image.shape[0], image.shape[1]
        request = self._request_for(size)
        self._seen.add(size)
        self._latest = size
        try:
            return request.infer([np.ascontiguousarray(image)[None]], share_inputs=True)
        except Exception as error:  # see above
            raise FeathersegError(
                f"{self.path}: cannot run a picture of {size[0]}x{size[1]} ({first_line(error)})"
            ) from error

    def _request_for(self, size: tuple[int, int]) -> Any:
        """What runs one size: its own graph, compiled now where it has earned one, or the graph for any size."""
        request = self._of_size.pop(size, None)
        full = len(self._of_size) == SIZES_KEPT
        if request is None and (size == self._latest or (size in self._seen and not full)):
            if full:
                del self._of_size[next(iter(self._of_size))]
            request = self._request(self.graph_of(size))
        if request is None:
            return self._any_size
        self._of_size[size] = request
        return request

    def graph_of(self, size: tuple[int, int]) -> Any:
        """The openvino.Model for pictures of one size (height, width)."""
        model = self._model.clone()
        model.reshape([1, *size, 3])
        return model

    def profile(self, size: tuple[int, int], *, runs: int) -> list[list[Any]]:
        """What OpenVINO writes down of every layer, openvino.ProfilingInfo, run by run over a black picture."""
        request = self._request(self.graph_of(size), PERF_COUNT=True)
        picture = np.zeros((1, *size, 3), np.uint8)
        written = []
        for _ in range(runs):
            request.infer([picture])
            written.append(list(request.profiling_info))
        return written

    def _request(self, model: Any, **more: Any) -> Any:
        return self._core.compile_model(model, "CPU", {**self._settings, **more}).create_infer_request()


def arithmetic_of(artefact: Artefact, capabilities: Sequence[str]) -> str:
    """What floating-point layers calculate in: OpenVINO would choose half precision wherever the CPU has it.

    Files in bf16 get it. So do files in 8 bits, whose maps are coarser than that, for what they leave in float, where
    OpenVINO counts it among the CPU's capabilities and need not imitate it.
    """
    export = artefact.card.get("export", {})
    precision = export.get("precision") if isinstance(export, dict) else None
    return "bf16" if precision == "bf16" or (precision == "int8" and "BF16" in capabilities) else "f32"


def prepare_process() -> None:
    """Call before openvino is imported: where a virtual machine hides AMX's tiles, OpenVINO must not use them."""
    if tiles_are_hidden():
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", MOST_WITHOUT_AMX)


def tiles_are_hidden(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether the CPU announces AMX but not how its tiles look, as in some virtual machines.

    OpenVINO uses it all the same, and the process dies of an illegal instruction.
    """
    try:
        lines = Path(cpuinfo).read_text().splitlines()
    except OSError:  # no Linux
        return False
    facts = dict(line.partition(":")[::2] for line in lines if ":" in line)
    known = {name.strip(): value.split() for name, value in facts.items()}
    return "amx_tile" in known.get("flags", []) and int(known.get("cpuid level", ["0"])[0]) < TILE_LEAF
