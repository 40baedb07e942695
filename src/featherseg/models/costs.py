"""What a network costs: parameters and multiply-accumulates.

`count_macs` counts the multiplications with an accumulation of convolutions, linear layers and matrix products, nothing
else. The papers' own figures add terms to it, which `count_operations` counts beside it; how they add up stands in
`featherseg.recipes.tables.conventions`. All is counted on the meta device: nothing is calculated, no memory is taken.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from featherseg.models import MODELS, create_model
from featherseg.models.base import SegNetwork
from featherseg.nn.attention import ECA, ChannelAttention, SqueezeExcitation

NUM_CLASSES = 19
SIZE = (512, 1024)
"""What the published table of `figures` is counted at."""

_aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Counts for one picture.

    Attributes:
        macs: multiply-accumulates of convolutions, linear layers and matrix products.
        norm_elements: elements that pass a batch norm.
        relu_elements: elements that pass a ReLU or ReLU6.
        gate_pooling: additions and divisions of the mean pooling inside channel attentions.
    """

    macs: int
    norm_elements: int
    relu_elements: int
    gate_pooling: int


def count_parameters(network: nn.Module) -> int:
    """Learnt numbers, without the statistics of batch norm; hand in `network.deployed()` for the deployed form."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: SegNetwork, size: tuple[int, int]) -> int:
    """Multiply-accumulates of one picture of size (H, W), up to the classifier, without what `deployed` drops."""
    return count_operations(network, size).macs


def count_operations(network: SegNetwork, size: tuple[int, int]) -> Operations:
    """Run the deployed form of the network on the meta device and count what passes."""
    twin = copy.deepcopy(network).to("meta").eval()
    twin.drop_training_heads()
    gate_pooling = 0

    def pool(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal gate_pooling
        _, channels, height, width = inputs[0].shape
        gate_pooling += channels * (height * width + 1)

    for module in twin.modules():
        if isinstance(module, ChannelAttention | SqueezeExcitation | ECA):
            module.register_forward_pre_hook(pool)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_ELEMENTS) as counter:
        twin(torch.zeros(1, 3, *size, device="meta"))
    counts = dict(counter.get_flop_counts()["Global"])
    return Operations(
        norm_elements=sum(counts.pop(op, 0) for op in _NORMS),
        relu_elements=sum(counts.pop(op, 0) for op in _RELUS),
        macs=sum(counts.values()) // 2,
        gate_pooling=gate_pooling,
    )


class BytesMoved(TorchDispatchMode):
    """Adds up what operations read and write: every tensor that goes in or comes out, views left aside.

    Attributes:
        total: bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation's own result."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            touched = tree_leaves((args, kwargs, result))
            self.total += sum(each.numel() * each.element_size() for each in touched if isinstance(each, Tensor))
        return result


def count_bytes_moved(network: SegNetwork, size: tuple[int, int], *, bf16: bool = False) -> int:
    """Bytes that the operations of one picture of size (H, W) read and write, as torch calls them one by one.

    A count, not a measurement: a cache may spare a part. Weights are cast anew for each picture in bf16.
    """
    twin = copy.deepcopy(network).to("cpu").eval()
    twin.drop_training_heads()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        picture = torch.zeros(1, 3, *size)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False), BytesMoved() as moved:
            twin(picture)
    return int(moved.total)


def _elements(shape: Any, *args: Any, **kwargs: Any) -> int:
    """Elements of an operation's first input."""
    return math.prod(shape)


_NORMS = (_aten.native_batch_norm, _aten._native_batch_norm_legit_no_training, _aten.cudnn_batch_norm)
_RELUS = (_aten.relu, _aten.relu_, _aten.hardtanh, _aten.hardtanh_)  # the last two are ReLU6
_ELEMENTS = dict.fromkeys((*_NORMS, *_RELUS), _elements)


def figures() -> list[dict[str, Any]]:
    """Every network with its defaults, deployed: the table that the command line shows without torch."""
    table = []
    for name, config in MODELS.items():
        with torch.device("meta"):
            network = create_model(name, num_classes=NUM_CLASSES).deployed()
        table.append(
            {
                "name": name,
                "paper": config.paper,
                "params": count_parameters(network),
                "macs": count_macs(network, SIZE),
                "num_classes": NUM_CLASSES,
                "size": list(SIZE),
            }
        )
    return table


if __name__ == "__main__":  # python -m featherseg.models.costs > src/featherseg/app/models.json
    print(json.dumps(figures(), indent=1))
