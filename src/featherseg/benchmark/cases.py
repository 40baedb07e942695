"""The cases that candidates and settings make: what is timed, one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from featherseg.benchmark.graphs import AnyGraph
from featherseg.benchmark.plan import NUM_CLASSES, Candidate, Plan, Size
from featherseg.benchmark.workshop import Network, Workshop, is_network
from featherseg.hub import locate
from featherseg.runtime.engines import backend_of, require_installed
from featherseg.runtime.errors import FeathersegError

PRECISIONS = {"onnxruntime": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8"), "torch": ("fp32", "bf16")}
"""Of networks by name, and of checkpoints in torch; an exported file has its own."""

OWN = "own"
"""The precision of a file, which it says itself once it is opened."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that is timed; JSON values only, so that another process can open it.

    Attributes:
        name: the candidate as typed.
        backend: what runs it.
        file: the file that is run; of a torch network by name "".
        network: a network by name, whose weights are random; None for trained ones.
        size: (height, width) of the network's input.
        precision: "own" for exported files, else fp32, bf16 or int8.
        mode: one of `MODES`; of other backends than torch "".
        tail: one of `TAILS`.
    """

    name: str
    backend: str
    file: str
    network: Network | None
    size: Size
    precision: str
    mode: str
    device: str
    threads: int
    batch: int
    tail: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Case:
        """The inverse of `to_json`."""
        network = values["network"]
        if network is not None:
            network = Network(network["name"], network["num_classes"], tuple(map(tuple, network["fields"])))
        return cls(**{**values, "size": tuple(values["size"]), "network": network})


def cases_of(plan: Plan, workshop: Workshop) -> tuple[list[Case], list[str]]:
    """The cases, and what was left out of the grid and why.

    Raises:
        FeathersegError: where a candidate makes no case at all, or a setting applies to none.
    """
    cases: list[Case] = []
    left_out: list[str] = []
    candidates = [Candidate.parse(text) for text in plan.candidates]
    num_classes = plan.num_classes or NUM_CLASSES
    networks = [network_of(candidate, num_classes) for candidate in candidates]  # a wrong name stops here
    if plan.num_classes is not None and not any(networks):
        raise FeathersegError(
            f"{plan.num_classes} classes: trained networks and files have their own",
            remedy="leave the classes out, or name a network",
        )
    for candidate, network in zip(candidates, networks, strict=True):
        before = len(cases)
        refusals: list[FeathersegError] = []
        for backend in plan.backends:
            try:
                cases += cases_on(candidate, network, backend, plan, workshop, refusals)
            except FeathersegError as error:
                refusals.append(error)
        if len(cases) == before:
            raise refusals[0]
        left_out += dict.fromkeys(map(str, refusals))
    in_torch = [case for case in cases if case.backend == "torch"]
    if plan.modes and not in_torch:
        raise FeathersegError(f"modes {', '.join(plan.modes)} are torch's", remedy="add backend torch")
    if plan.precisions and all(case.precision == OWN for case in cases):
        raise FeathersegError(
            "an exported file has its own precision", remedy="leave the precision out, or name a network or checkpoint"
        )
    return list(dict.fromkeys(cases)), left_out


def network_of(candidate: Candidate, num_classes: int) -> Network | None:
    """The network that a candidate names; None for trained weights and paths."""
    if not is_network(candidate.what):
        return None
    return Network(candidate.what, num_classes, tuple(candidate.fields.items()))


def cases_on(
    candidate: Candidate,
    network: Network | None,
    backend: str,
    plan: Plan,
    workshop: Workshop,
    refusals: list[FeathersegError],
) -> Iterator[Case]:
    """A candidate's cases on one backend; what cannot be is added to the refusals."""
    if network is None:
        path = locate(candidate.what, backend)
        backend = backend_of(str(path), backend)
        if candidate.fields:
            raise FeathersegError(
                f"candidate {candidate.text!r}: a trained network has its fields", expected="tail=... alone"
            )
    if backend == "auto":
        backend = "onnxruntime"
    require_installed(backend, candidate.text)
    own = network is None and backend != "torch"
    precisions = (OWN,) if own else plan.precisions or ("fp32",)
    modes = (plan.modes or ("eager",)) if backend == "torch" else ("",)
    taken = AnyGraph(path, threads=1).input.size if own and backend == "onnxruntime" else None
    for size, precision, mode, threads, batch in product(plan.sizes, precisions, modes, plan.threads, plan.batches):
        refusal = refused(candidate, backend, precision, mode, plan.device, batch, size, taken)
        if refusal is not None:
            refusals.append(refusal)
            continue
        if network is None:
            file = workshop.with_tail(path, size) if candidate.tail == "graph" else path
        elif backend == "torch":
            file = None
        else:
            file = workshop.exported(network, backend, precision)
            file = workshop.with_tail(file, size) if candidate.tail == "graph" else file
        yield Case(
            name=candidate.text, backend=backend, file=str(file or ""), size=size, precision=precision, mode=mode,
            network=network, device=plan.device, threads=threads, batch=batch, tail=candidate.tail,
        )  # fmt: skip


def refused(
    candidate: Candidate,
    backend: str,
    precision: str,
    mode: str,
    device: str,
    batch: int,
    size: Size,
    taken: Size | None,
) -> FeathersegError | None:
    """Why something cannot be; None where it can. `taken` is the size of a file that takes one only."""
    where = f"{candidate.text} on {backend}"
    if precision != OWN and precision not in PRECISIONS[backend]:
        return FeathersegError(f"{where}: precision", expected=" or ".join(PRECISIONS[backend]), got=precision)
    if batch > 1 and backend != "torch":
        return FeathersegError(f"{where}: batch", expected="1, an exported file takes one picture", got=batch)
    if taken not in (None, size):
        only, asked = ("x".join(map(str, sides)) for sides in (taken, size))
        remedy = f"benchmark it at --size {only}"
        return FeathersegError(f"{where}: takes pictures of {only} only", got=asked, remedy=remedy)
    if candidate.tail == "graph" and backend != "onnxruntime":
        return FeathersegError(f"{where}: tail graph is for ONNX files in onnxruntime")
    if device != "cpu" and backend == "openvino":
        return FeathersegError(f"{where}: device", expected="cpu", got=device)
    if mode == "cudagraph" and device != "cuda":
        return FeathersegError(f"{where}: mode cudagraph", expected="device cuda", got=device)
    return None
