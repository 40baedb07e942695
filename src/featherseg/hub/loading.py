"""A name, an exported file, a run directory, a checkpoint or a hub id -> a Predictor, or the network itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from featherseg.runtime import hub_files, weights
from featherseg.runtime.engines import BACKENDS, DEVICES, ENGINES, backend_of, open_engine, require_installed
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.hub_files import Repository
from featherseg.runtime.predictor import Predictor

if TYPE_CHECKING:
    from featherseg.models.base import SegNetwork

CHECKPOINTS = ("best.safetensors", "last.safetensors")
"""What a run directory offers, the preferred one first."""


def load(name_or_path: str | os.PathLike[str], device: str = "auto", backend: str = "auto") -> Predictor:
    """A trained network, ready for pictures. An exported file is run without importing torch.

    Args:
        name_or_path: a name as `affnet-camvid` (`featherseg models` lists them), an .onnx file, a run directory, a
            .safetensors checkpoint, or ORG/NAME of the Hugging Face hub, also at a revision: ORG/NAME@v1. A bare word
            is first looked up among the names: write ./word for a folder. What lies on the disk goes before the hub.
        device: auto, cpu, cuda or mps.
        backend: onnxruntime, openvino or torch; auto takes the first installed one that there is a file for, and of a
            run directory the checkpoint where torch is installed.

    Raises:
        FeathersegError: for an unknown name, a missing or damaged file, and a backend that cannot run it.
    """
    refuse_unknown("backend", backend, ("auto", *BACKENDS))
    refuse_unknown("device", device, DEVICES)
    path = locate(name_or_path, backend)
    if backend_of(str(path), backend) != "torch":
        engine = open_engine(path, backend=backend, device=device)
        return Predictor(engine, engine.artefact)

    require_installed("torch", str(path))
    from featherseg.models.engine import TorchEngine

    network = TorchEngine.open(path, device=device)
    return Predictor(network, network.artefact)


def from_pretrained(name_or_path: str | os.PathLike[str]) -> SegNetwork:
    """The torch network of a checkpoint with its weights: to train on, prune, or build into something else.

    It is on the CPU and in evaluation mode, and expects pictures that are normalised already. Its attribute `artefact`,
    an `Artefact`, says with what mean and std, and what its classes are.

    Args:
        name_or_path: as for `load`; it must have a .safetensors checkpoint.

    Raises:
        FeathersegError: as `load`.
    """
    require_installed("torch", os.fspath(name_or_path))
    path = locate(name_or_path, "torch")
    backend_of(str(path), "torch")
    from featherseg.models.checkpoint import load_checkpoint

    network, artefact = load_checkpoint(path)
    network.artefact = artefact  # type: ignore[assignment]  # torch's stubs know modules and tensors only
    return network.eval()


def locate(name_or_path: str | os.PathLike[str], backend: str = "auto") -> Path:
    """The file that a name, a path, a run directory or a hub id stands for; one of the hub is downloaded."""
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if is_name(text):
        return weights.find(text, _suffixes(backend))
    if path.is_dir():
        return _in_folder(path, backend)
    repository = repository_of(name_or_path)
    if repository is not None:
        return hub_files.find(repository, _suffixes(backend))
    if not path.exists():
        raise FeathersegError(f"{path}: there is no such file or folder")
    return path


def is_name(text: str) -> bool:
    """Whether a text is looked up among the names: a bare word that is known, or that no file is called."""
    path = Path(text).expanduser()
    bare = path.name == text and path.suffix not in weights.SUFFIXES
    return bare and (text in weights.available() or not path.exists())


def repository_of(name_or_path: str | os.PathLike[str]) -> Repository | None:
    """The repository of the hub that ORG/NAME or ORG/NAME@REVISION means; None for a name, and for what is a path."""
    if not isinstance(name_or_path, str) or Path(name_or_path).exists():
        return None
    return Repository.of(name_or_path)


def _in_folder(folder: Path, backend: str) -> Path:
    """The file to run of a run directory or a weights folder.

    A run directory's checkpoint goes before its exported file, which may be older: training goes on, an export stays.
    The exported file is for those who have no torch, and for those who ask for its backend.
    """
    there = networks_in(folder)
    usable = [path for path in there if path.suffix in _suffixes(backend)]
    if usable:
        return usable[0]
    if there and backend == "auto":
        return there[0]  # whoever opens it says what must be installed
    raise FeathersegError(
        f"{folder}: the folder holds no trained network{'' if backend == 'auto' else f' that {backend} runs'}",
        expected=" or ".join(name for name in own_names(folder) if backend in ("auto", backend_of(name))),
        got=", ".join(path.name for path in networks_of_any_name(folder)) or "none",
        remedy="featherseg train writes a checkpoint after its first validation, featherseg export the other files",
    )


def networks_in(folder: Path) -> list[Path]:
    """The files of the network that a folder stands for: a run's, one named like the folder, else the only one."""
    own = [folder / name for name in own_names(folder) if (folder / name).is_file()]
    lone = networks_of_any_name(folder)
    return own or (lone if len({path.stem for path in lone}) == 1 else [])


def own_names(folder: Path) -> tuple[str, ...]:
    """What a run directory's files are called, and files that are named like their folder."""
    return *CHECKPOINTS, *(f"{folder.resolve().name}{suffix}" for suffix in weights.SUFFIXES)


def networks_of_any_name(folder: Path) -> list[Path]:
    """Everything in a folder that ends like a network and is no state of a run, the preferred kinds first."""
    return [
        path
        for suffix in weights.SUFFIXES
        for path in sorted(folder.glob(f"*{suffix}"))
        if path.is_file() and not path.name.startswith((".", "state-"))
    ]


def _suffixes(backend: str) -> tuple[str, ...]:
    """The kinds of file that can be run here, the preferred one first."""
    if backend != "auto":
        return (BACKENDS[backend].suffix,)
    usable = [name for name in BACKENDS if name in (*ENGINES, "torch") and BACKENDS[name].installed()]
    return tuple(BACKENDS[name].suffix for name in usable)
