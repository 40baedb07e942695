"""How the papers count computation and megabytes: what each convention is called, and the counts it adds up.

This is the one place of the conventions; a `Table` names its own. Nothing here imports torch before it counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featherseg.models import SegNetwork
    from featherseg.models.costs import Operations


@dataclass(frozen=True)
class Cost:
    """A convention for computation.

    Attributes:
        unit: what the papers call it.
        text: what it adds up.
        of: the cost of one picture, in billions.
    """

    unit: str
    text: str
    of: Callable[[Operations], float]


@dataclass(frozen=True)
class Megabytes:
    """A convention for the size of a network.

    Attributes:
        text: what is measured.
        of: the size in megabytes.
    """

    text: str
    of: Callable[[SegNetwork], float]


def thop_gflops(count: Operations) -> float:
    """Twice what thop counts, which is MACs, 4 per batch-norm element, and pooling modules."""
    return 2 * (count.macs + 4 * count.norm_elements + count.gate_pooling) / 1e9


def ptflops_gmac(count: Operations) -> float:
    """What ptflops counts: MACs, 2 per batch-norm element and 1 per ReLU element."""
    return (count.macs + 2 * count.norm_elements + count.relu_elements) / 1e9


def weight_megabytes(network: SegNetwork) -> float:
    """Four bytes a parameter, 10^6 a megabyte."""
    return sum(parameter.numel() for parameter in network.parameters()) * 4 / 1e6


def file_megabytes(network: SegNetwork) -> float:
    """The file that PyTorch up to 1.5 writes (before the zip container), 2^20 bytes a megabyte."""
    import io

    import torch

    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in network.state_dict().items()}
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.tell() / 2**20


MACS = Cost("GFLOPs", "multiply-accumulates, each counted once", lambda count: count.macs / 1e9)
THOP = Cost("GFLOPs", "2 x thop", thop_gflops)
PTFLOPS = Cost("GMac", "ptflops: convolution MACs + 2 per batch-norm element + 1 per ReLU element", ptflops_gmac)

WEIGHTS = Megabytes("10^6 bytes of parameters, 4 bytes each", weight_megabytes)
FILE = Megabytes("2^20 bytes of the file that PyTorch up to 1.5 writes", file_megabytes)
