"""Our counts of a table's row: parameters, MACs, and cost and size in the paper's own conventions.

A network is built on the meta device, which holds shapes and no numbers, so a count takes a moment and no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from featherseg.models import SegNetwork, model_config
from featherseg.models.costs import count_operations, count_parameters
from featherseg.recipes.tables.conventions import Cost, Megabytes
from featherseg.recipes.tables.row import Row, Size, Table, Value


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one of our networks has.

    Attributes:
        params: parameters of the network as it is trained, auxiliary heads included.
        macs: multiply-accumulates of its convolutions and linear layers on one picture.
        cost: the computation as the paper counts it, by `table.cost`.
        mbytes: the size as the paper counts it, by `table.mbytes`.
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
    model: str, fields: tuple[tuple[str, Value], ...], num_classes: int, size: Size, cost: Cost, mbytes: Megabytes
) -> Counts:
    network = _network(model, fields, num_classes)
    operations = count_operations(network, size)
    return Counts(
        params=count_parameters(network),
        macs=operations.macs,
        cost=cost.of(operations),
        mbytes=mbytes.of(network),
    )


@cache
def _network(model: str, fields: tuple[tuple[str, Value], ...], num_classes: int) -> SegNetwork:
    with torch.device("meta"):
        return model_config(model, **dict(fields)).build(num_classes)
