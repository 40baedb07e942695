"""The most memory that training takes: what lies on the GPU, or what the process holds where it trains on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from featherseg.runtime.peak import peak_bytes, restart_peak
from featherseg.training.allocator import release_freed_memory


class PeakMemory:
    """Watches the steps of training, not what lies between the epochs.

    Attributes:
        bytes: the most seen so far; None before the first watch, and where the system does not tell.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes: int | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around an epoch's steps. On a CPU the data that are kept decoded count too; worker processes never do."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            release_freed_memory()
            restart_peak()
        yield
        found = torch.cuda.max_memory_allocated(self.device) if on_gpu else peak_bytes()
        if found is not None:
            self.bytes = max(found, self.bytes or 0)

    @property
    def place(self) -> str:
        """Whose memory it is."""
        return "gpu" if self.device.type == "cuda" else "process"

    def text(self) -> str:
        """The figure for people; empty where there is none."""
        where = "on the GPU" if self.place == "gpu" else "in this process, the data it keeps included"
        return "" if self.bytes is None else f"memory: {self.bytes / 1e9:.2f} GB at the most, {where}"

    def to_json(self) -> dict[str, Any]:
        """For the card; empty where there is none."""
        return {} if self.bytes is None else {"peak_memory": {"bytes": self.bytes, "of": self.place}}
