"""A torch network as an engine: uint8 picture -> scores at the network's stride, like an exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from featherseg.models.base import SegNetwork
from featherseg.models.checkpoint import load_checkpoint
from featherseg.nn.folding import fold_norms
from featherseg.nn.splitting import split_fusions
from featherseg.runtime.artefact import Artefact, Preprocessing
from featherseg.runtime.engines import DEVICES
from featherseg.runtime.errors import FeathersegError, refuse_unknown


class Normalise(nn.Module):
    """`Preprocessing` on the device that computes: uint8 (N,3,H,W) -> float32, (x / 255 - mean) / std."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        for name in ("mean", "std"):
            value = torch.tensor(getattr(preprocessing, name), dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N,3,H,W) uint8 -> float32."""
        scaled = images.to(torch.float32, copy=True).div_(255)  # in place: new memory costs more than the arithmetic
        return scaled.sub_(self.mean).div_(self.std)


class TorchEngine:
    """Runs a network on one picture at a time.

    Args:
        network: the network; it is put into evaluation mode.
        artefact: what the network says of itself.
        device: where it runs: a name of `DEVICES`, or torch's own, as cuda:1.
    """

    def __init__(self, network: SegNetwork, artefact: Artefact, *, device: str | torch.device = "auto") -> None:
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.normalise = Normalise(artefact.preprocessing).to(self.device)
        self.artefact = artefact

    @classmethod
    def open(cls, path: Path | str, *, device: str = "auto") -> TorchEngine:
        """The engine of a checkpoint (.safetensors)."""
        network, artefact = load_checkpoint(path)
        return cls(stripped(network, choose_device(device)), artefact, device=device)

    @torch.inference_mode()
    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (H,W,3) -> float32 (C,h,w)."""
        self.network.eval()
        # The batch's axis comes first: added after turning the others it has a stride by which torch takes the whole
        # for channels first, and runs its slower kernels.
        images = torch.from_numpy(np.ascontiguousarray(image))[None].to(self.device).permute(0, 3, 1, 2)
        scores = self.network(self.normalise(images)).logits[0]
        return np.ascontiguousarray(scores.float().cpu().numpy())


def stripped(network: SegNetwork, device: torch.device | None = None) -> SegNetwork:
    """The network itself, in place made quicker and fit for prediction alone, on the CPU or on `device`.

    Without training heads, batch norms folded, fusions split; its scores differ by rounding alone. On a GPU fusions
    stay whole: split they need fewer products but a third more operations, each of which has to be launched.
    """
    network.drop_training_heads()
    fold_norms(network.eval())
    if device is None or device.type == "cpu":
        split_fusions(network)
    return network


def choose_device(name: str | torch.device) -> torch.device:
    """ "auto" takes CUDA, then Apple's GPU, then the CPU; a device that is not there is refused."""
    if isinstance(name, torch.device):
        return name
    refuse_unknown("device", name, DEVICES)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, usable in there.items() if usable))
    if not there[name]:
        raise FeathersegError(f"device {name!r} is not to be had here", remedy="use auto or cpu")
    return torch.device(name)
