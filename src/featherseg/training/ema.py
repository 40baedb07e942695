"""The exponential moving average of a network's weights, which is what gets deployed."""

from __future__ import annotations

import torch
from torch import nn


class EMA:
    """Running average of weights and batch-norm statistics; integer buffers are copied.

    The decay of update t is min(decay, (1 + t) / (10 + t)), so that the first updates do not average in random weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        state = network.state_dict()
        floats = [name for name, value in state.items() if value.is_floating_point()]
        counts = [name for name, value in state.items() if not value.is_floating_point()]
        torch._foreach_lerp_([self.weights[name] for name in floats], [state[name] for name in floats], 1 - keep)
        if counts:
            torch._foreach_copy_([self.weights[name] for name in counts], [state[name] for name in counts])
