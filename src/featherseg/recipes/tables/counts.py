"""Our counts of a table's row: parameters, MACs, and cost and size in the paper's own conventions.

A network is built on the meta device, which holds shapes and no numbers, so a count takes a moment and no memory.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import torch

from featherseg.models import SegNetwork, model_config
from featherseg.models.costs import cost_ptflops_gmac, cost_thop_gflops, count_macs, count_parameters
from featherseg.recipes.tables.row import Row, Size, Table, Value


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one of our networks has.

    Attributes:
        params: parameters of the network as it is trained, auxiliary heads included.
        macs: multiply-accumulates of its convolutions and linear layers on one picture.
        cost: the computation as the paper counts it, in `COSTS[table.cost]`.
        mbytes: the size as the paper counts it, in `MBYTES[table.mbytes]`.
    """

    params: int
    macs: int
    cost: float
    mbytes: float


def count_row(table: Table, row: Row) -> Counts | None:
    """The counts of a row's network at the table's classes and the row's size; None where featherseg has none."""
    if row.model is None:
        return None
    return _count(row.model, tuple(row.fields.items()), table.num_classes, table.size_of(row), table.cost, table.mbytes)


@cache
def _count(
    model: str, fields: tuple[tuple[str, Value], ...], num_classes: int, size: Size, cost: str, mbytes: str
) -> Counts:
    network = _network(model, fields, num_classes)
    macs = count_macs(network, size)
    costs = {
        "macs": lambda: macs / 1e9,
        "thop": lambda: cost_thop_gflops(network, size),
        "ptflops": lambda: cost_ptflops_gmac(network, size),
    }
    params = count_parameters(network)
    megabytes = {"weights": lambda: params * 4 / 1e6, "file": lambda: file_bytes(network) / 2**20}
    return Counts(params=params, macs=macs, cost=costs[cost](), mbytes=megabytes[mbytes]())


@cache
def _network(model: str, fields: tuple[tuple[str, Value], ...], num_classes: int) -> SegNetwork:
    with torch.device("meta"):
        return model_config(model, **dict(fields)).build(num_classes)


def file_bytes(network: SegNetwork) -> int:
    """Size of the network's state as PyTorch up to 1.5 writes it (before the zip container)."""
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in network.state_dict().items()}
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.tell()
