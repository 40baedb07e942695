"""Several processes as one: they share every batch, sum their gradients and normalise over the whole of it.

Started by ``torchrun --nproc-per-node N -m featherseg.app.cli train ...``; one process alone needs none of this.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from featherseg.models.engine import choose_device
from featherseg.runtime.errors import FeathersegError


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank: its number, from 0; the first alone writes and speaks.
        size: how many there are.
        device: where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes, in one message."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def require_agreement(self, what: str, value: int) -> None:
        """Refuse, in every process, to go on where processes differ in a number."""
        if self.size > 1:
            found: list[int] = [0] * self.size
            dist.all_gather_object(found, value)
            if len(set(found)) > 1:
                raise FeathersegError(
                    f"{what} differs between processes",
                    got=found,
                    remedy="every process must see the same run directory",
                )

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


def join(device: str) -> World:
    """Join the processes that torchrun started; alone where it did not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if size == 1:
        return World(0, 1, chosen)
    if "RANK" not in os.environ:
        raise FeathersegError("WORLD_SIZE is set and RANK is not", remedy="start several processes by torchrun")
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if chosen.type == "cuda":
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(rank, size, chosen)


def synchronise_norms(network: nn.Module, world: World) -> None:
    """Make every batch norm use the statistics of the whole batch, in place; names and weights stay."""
    from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm

    if world.device.type == "cuda":
        # timm's own keeps the activations that its backbones' batch norms hold; torch's would drop them
        convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    for module in network.modules():
        together = {nn.BatchNorm2d: AllReducedBatchNorm2d, BatchNormAct2d: AllReducedBatchNormAct2d}.get(type(module))
        if together is not None:
            module.__class__ = together


def is_first() -> bool:
    """Whether this is the process that writes and speaks; true where there is only one."""
    return os.environ.get("RANK", "0") == "0"


class AllReducedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over all processes, for the CPU, whose tensors torch's SyncBatchNorm refuses."""

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        return self.normalise(x) if self.training else super().forward(x)

    def normalise(self, x: Tensor) -> Tensor:
        """By mean and variance of the whole batch, in float32, which the running ones follow."""
        given, x = x.dtype, x.float()
        count = AllReduce.apply(x.new_tensor([x.numel() / x.shape[1]]))
        mean = AllReduce.apply(x.sum((0, 2, 3))) / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = AllReduce.apply(centred.square().sum((0, 2, 3))) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked += 1
                momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), momentum)
        normalised = centred * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        return torch.addcmul(self.bias.view(1, -1, 1, 1), normalised, self.weight.view(1, -1, 1, 1)).to(given)


class AllReducedBatchNormAct2d(AllReducedBatchNorm2d):
    """The same for timm's batch norms, which hold their activation."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        return self.act(self.drop(super().forward(x)))  # type: ignore[no-any-return]


class AllReduce(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since every process' loss depends on every part."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """The sum."""
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The sum of the gradients."""
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
