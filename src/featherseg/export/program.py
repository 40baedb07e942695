"""A network as a torch.export program, for other programs to load: torch.export.load(path).module()(image)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from featherseg.export.graph import PictureToScores, as_program, free_sides
from featherseg.models.base import SegNetwork
from featherseg.models.engine import stripped
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.pixels import Picture


class TorchTarget:
    """One .pt2 file; the metadata is its extra file "featherseg"."""

    suffix: ClassVar[str] = ".pt2"
    beside: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()
    packages_for_int8: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)

    def trace(self, network: SegNetwork, artefact: Artefact) -> Any:
        """The network as a program with free height and width."""
        return as_program(
            PictureToScores(stripped(copy.deepcopy(network)), artefact).eval(),
            free_sides(),
            deferred=True,  # reshaping in `nn.splitting` asks whether sizes divide each other
        )

    def convert(self, program: Any, precision: str) -> Any:
        """The program as it is."""
        return program

    def quantise(self, program: Any, pictures: Sequence[Picture], kept_in_float: Sequence[str]) -> Any:
        """Not offered: see `precisions`."""
        raise NotImplementedError

    def costly_layers(self, program: Any, pictures: Sequence[Picture]) -> list[str]:
        """Nor this."""
        raise NotImplementedError

    def write(self, program: Any, artefact: Artefact, path: Path) -> None:
        """Write the file."""
        torch.export.save(program, path, extra_files={METADATA_KEY: artefact.to_text()})

    def open(self, path: Path) -> ProgramEngine:
        """The file as an engine."""
        return ProgramEngine(path)


class ProgramEngine:
    """A .pt2 file, read back."""

    def __init__(self, path: Path) -> None:
        extra = {METADATA_KEY: ""}
        self.module = torch.export.load(path, extra_files=extra).module()
        self.artefact = Artefact.from_text(extra[METADATA_KEY], source=str(path))

    @torch.inference_mode()
    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) RGB -> float32 (C,h,w)."""
        scores = self.module(torch.from_numpy(np.ascontiguousarray(image))[None])[0]
        return scores.numpy()  # type: ignore[no-any-return]
