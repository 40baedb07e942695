"""Batch norms folded into convolutions: the same scores, and a network that predicts with less."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from featherseg.models import create_model
from featherseg.models.checkpoint import save_checkpoint
from featherseg.models.engine import Normalise, TorchEngine, stripped
from featherseg.nn.folding import fold_norms
from featherseg.nn.splitting import SplitFusion
from featherseg.runtime.artefact import Artefact, Preprocessing
from featherseg.runtime.classes import Classes

NETWORKS = {"affnet": 3, "fast_scnn": 0, "spssnet": 0, "erfnet": 5, "dsc_deeplab": 51}  # name -> norms that stay


def learned(network: nn.Module) -> nn.Module:
    """Norms as after training, none of them the identity."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.6, 1.4),
                (module.weight.data, 0.7, 1.3), (module.bias.data, -0.2, 0.2),
            ):  # fmt: skip
                values.uniform_(low, high)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_stay_the_same(name: str) -> None:
    network = learned(create_model(name, num_classes=5))
    folded = copy.deepcopy(network)
    fold_norms(folded)
    assert norms(folded) == NETWORKS[name] < norms(network)
    images = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        scores = network(images).logits
        assert (folded(images).logits - scores).abs().max() < 1e-5 * scores.abs().max()


def test_what_is_not_plain_is_left_alone() -> None:
    class Active(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).relu()

    network = nn.Sequential(nn.Conv2d(3, 4, 1), Active(4), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.ReLU()).eval()
    kinds = [type(module) for module in network]
    fold_norms(network)
    assert [type(module) for module in network] == kinds


def test_the_engine_of_a_checkpoint_is_stripped_and_that_of_a_network_is_not(tmp_path: Path) -> None:
    network = learned(create_model("affnet", num_classes=5, presence=True))
    artefact = Artefact(classes=Classes(names=tuple("abcde")), stride=8)
    model = {"name": "affnet", "presence": True}
    save_checkpoint(tmp_path / "net.safetensors", network.state_dict(), model, artefact)
    before = norms(network)
    direct = TorchEngine(network, artefact, device="cpu")
    assert norms(network) == before
    assert network.presence is not None
    engine = TorchEngine.open(tmp_path / "net.safetensors", device="cpu")
    assert norms(engine.network) < before
    assert engine.network.presence is None
    image = torch.randint(0, 256, (65, 97, 3), dtype=torch.uint8).numpy()
    torch.testing.assert_close(torch.from_numpy(engine(image)), torch.from_numpy(direct(image)), rtol=1e-4, atol=1e-5)


def test_the_engine_runs_channels_last() -> None:
    """As a picture lies in memory, the quicker way: the strides tell, `is_contiguous` is content with others too."""
    seen: list[tuple[int, ...]] = []
    network = create_model("fast_scnn", num_classes=3)
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].stride()))
    engine = TorchEngine(network, Artefact(classes=Classes(names=tuple("abc")), stride=8), device="cpu")
    engine(torch.zeros((40, 50, 3), dtype=torch.uint8).numpy())
    assert seen == [(40 * 50 * 3, 1, 50 * 3, 3)]


def test_stripping_works_on_the_network_itself() -> None:
    network = create_model("fast_scnn", num_classes=3)
    assert stripped(network) is network
    assert not network.training
    assert norms(network) == 0


def test_normalising_leaves_its_input_and_gives_the_value_of_the_formula() -> None:
    preprocessing = Preprocessing()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    for kind in (torch.uint8, torch.float32):
        images = torch.randint(0, 256, (2, 3, 5, 7)).to(kind).contiguous(memory_format=torch.channels_last)
        given = images.clone()
        normalised = Normalise(preprocessing)(images)
        assert torch.equal(normalised, (images.float() / 255 - mean) / std)
        assert torch.equal(images, given)
        assert normalised.is_contiguous(memory_format=torch.channels_last)


def test_fusions_stay_whole_on_a_gpu() -> None:
    for device, split in ((None, True), (torch.device("cpu"), True), (torch.device("cuda"), False)):
        network = stripped(create_model("affnet", num_classes=3), device)
        assert any(isinstance(module, SplitFusion) for module in network.modules()) == split
