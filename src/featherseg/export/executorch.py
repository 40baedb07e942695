"""A network as ExecuTorch's file for phones and boards, on its XNNPACK kernels; 8 bits by torchao."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featherseg.export import int8
from featherseg.export.graph import SMALLEST_TRACED, PictureToScores, as_program
from featherseg.models.base import SegNetwork
from featherseg.runtime.artefact import METADATA_KEY, Artefact
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import Picture, write_atomically
from featherseg.runtime.predictor import fitted

LARGEST = 1024
"""Sides that a file takes at the most, unless its own input is larger: ExecuTorch sets memory aside for the largest."""

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear

IN_GRAPH = "network."  # what `PictureToScores` puts before the names of the network's layers


@dataclass(frozen=True)
class Graph:
    """What is lowered, and where it came from."""

    module: PictureToScores
    artefact: Artefact

    def program(self, module: Any) -> torch.export.ExportedProgram:
        """The module as a torch.export program, its sides free up to the largest."""
        most = largest_side(self.artefact)
        sides = {axis: torch.export.Dim(name, min=SMALLEST_TRACED, max=most) for axis, name in ((1, "h"), (2, "w"))}
        return as_program(module, sides)


@dataclass(frozen=True)
class Lowering:
    """A torch.export program, and what ExecuTorch makes of it: a matter of minutes, so it is kept."""

    program: torch.export.ExportedProgram

    @cached_property
    def edge(self) -> Any:
        """The program with all that XNNPACK can run handed to it."""
        with quiet():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            return to_edge_transform_and_lower(self.program, partitioner=[XnnpackPartitioner()])


class ExecuTorchTarget:
    """One .pte file; its method `forward` takes the picture, its method "featherseg" gives the metadata."""

    suffix: ClassVar[str] = ".pte"
    beside: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ("executorch",)
    packages_for_int8: ClassVar[tuple[str, ...]] = ()  # torchao comes with executorch
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "int8")

    def require_room(self, artefact: Artefact, sizes: Iterable[tuple[int, int]]) -> None:
        """Refuse pictures, by their own sizes, that come to the network larger than the file would have memory for."""
        most = largest_side(artefact)
        for size in sizes:
            seen = fitted(size, artefact.input_rule)
            if max(seen) > most:
                raise too_large("executorch", seen, (most, most))

    def trace(self, network: SegNetwork, artefact: Artefact) -> Graph:
        """The network from picture to scores."""
        return Graph(PictureToScores(network, artefact).eval(), artefact)

    def convert(self, graph: Graph, precision: str) -> Lowering:
        """The program in float."""
        return Lowering(graph.program(graph.module))

    def quantise(self, graph: Graph, pictures: Sequence[Picture], kept_in_float: Sequence[str]) -> Lowering:
        """The program in 8 bits, weights per channel, but for the layers named."""
        with quiet():
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            prepared = prepare_pt2e(graph.program(graph.module).module(), quantiser(kept_in_float))
            with torch.no_grad():
                for picture in pictures:
                    prepared(torch.from_numpy(picture)[None])
            return Lowering(graph.program(convert_pt2e(prepared)))

    def costly_layers(self, graph: Graph, pictures: Sequence[Picture]) -> list[str]:
        """The layers, by what rounding them alone to 8 bits costs the scores, the most costly first."""
        images = [torch.from_numpy(picture)[None] for picture in pictures[: int8.RANKED_ON]]
        costs = {}
        with torch.no_grad():
            exact = [graph.module(image) for image in images]
            for name, layer in layers_of(graph.module):
                with rounded(layer):
                    moved = [graph.module(image) for image in images]
                costs[name] = sum(float((a - b).square().mean()) for a, b in zip(moved, exact, strict=True))
        return sorted(costs, key=lambda name: -costs[name])

    def write(self, lowering: Lowering, artefact: Artefact, path: Path) -> None:
        """Write the file."""
        with quiet():
            from executorch.exir import EdgeProgramManager

            edge = lowering.edge
            program = copy.deepcopy(edge.exported_program())  # the last step changes it in place
            manager = EdgeProgramManager(program, {METADATA_KEY: artefact.to_text()}, edge.compile_config)
            complete = manager.to_executorch()
        write_atomically(path, complete.write_to_file)

    def open(self, path: Path) -> ExecuTorchEngine:
        """The file as an engine."""
        return ExecuTorchEngine(path)


def largest_side(artefact: Artefact) -> int:
    """Pixels of a side that a file of this artefact takes at the most."""
    return max(LARGEST, *(artefact.input_rule.size or (0, 0)))


def too_large(what: str, size: tuple[int, ...], largest: tuple[int, ...]) -> FeathersegError:
    """A picture beyond the memory of a file."""
    return FeathersegError(
        f"{what}: picture",
        expected=f"at most {largest[0]}x{largest[1]}",
        got=f"{size[0]}x{size[1]}",
        remedy="resize it, or export the network with that --size",
    )


def quantiser(kept_in_float: Sequence[str]) -> Any:
    """XNNPACK's quantiser, for what is float and in none of the layers named."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )

    class Quantiser(XNNPACKQuantizer):  # type: ignore[misc]
        """The library's, which would turn the whole numbers of the pooling's places into floats."""

        def transform_for_annotation(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            """Nothing."""
            return model

    def is_float(node: torch.fx.Node) -> bool:
        value = node.meta.get("val")
        return not isinstance(value, torch.Tensor) or value.dtype == torch.float32

    def wanted(node: torch.fx.Node) -> bool:
        paths = {path for path, _ in node.meta.get("nn_module_stack", {}).values()}
        return all(map(is_float, (node, *node.all_input_nodes))) and not paths & kept

    kept = {path for name in kept_in_float for path in (name, f"{IN_GRAPH}{name}")}
    return Quantiser().set_global(get_symmetric_quantization_config(is_per_channel=True)).set_filter_function(wanted)


def layers_of(module: PictureToScores) -> list[tuple[str, Layer]]:
    """What holds weights, under the names that the network has for it."""
    return [(name.removeprefix(IN_GRAPH), layer) for name, layer in module.named_modules() if isinstance(layer, Layer)]


@contextmanager
def rounded(layer: Layer) -> Iterator[None]:
    """The layer as 8 bits have it: its weights, and the map before and behind it, rounded to 255 steps."""
    exact = layer.weight.data
    layer.weight.data = in_steps(exact, exact.flatten(1).abs().amax(1).view(-1, *[1] * (exact.ndim - 1)) / 127)
    hooks = [
        layer.register_forward_pre_hook(lambda _, maps: tuple(in_steps(x, (x.amax() - x.amin()) / 255) for x in maps)),
        layer.register_forward_hook(lambda _, maps, result: in_steps(result, (result.amax() - result.amin()) / 255)),
    ]
    try:
        yield
    finally:
        layer.weight.data = exact
        for hook in hooks:
            hook.remove()


def in_steps(values: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """The values as multiples of the step, which broadcasts."""
    return (values / step.clamp(min=1e-12)).round() * step


class ExecuTorchEngine:
    """A .pte file in ExecuTorch's own runtime."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with quiet(), without_native_messages():
            from executorch.runtime import Runtime

            program = Runtime.get().load_program(path)
            self.method = program.load_method("forward")
            text = program.load_method(METADATA_KEY).execute([])[0]
        self.largest = tuple(self.method.metadata.input_tensor_meta(0).sizes())[1:3]
        self.artefact = Artefact.from_text(text, source=str(path))

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) RGB -> float32 (C,h,w).

        Raises:
            FeathersegError: for a picture larger than the file has memory for.
        """
        if any(side > most for side, most in zip(image.shape[:2], self.largest, strict=True)):
            raise too_large(self.path.name, image.shape, self.largest)
        scores = self.method.execute([torch.from_numpy(np.ascontiguousarray(image))[None]])[0]
        return scores[0].numpy()  # type: ignore[no-any-return]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries say of their own insides, by print, by logging and by warnings."""
    with int8.silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Without what the runtime, on opening its first file, writes to stderr past Python: that this CPU is no ARM."""
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
