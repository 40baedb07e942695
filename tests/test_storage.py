"""Weights in less space come back within half a step, through the file, into every reader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import featherseg
from featherseg.models import SegNetwork, create_model
from featherseg.models.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from featherseg.models.storage import SCALE, pack, unpack
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

ARTEFACT = Artefact(classes=Classes(names=("a", "b", "c")))
SHAPES = ((1, 100), (3, 150), (4, 12, 3, 3), (6, 128, 1, 1), (2, 25, 2, 2))


@pytest.fixture(scope="module")
def network() -> SegNetwork:
    torch.manual_seed(0)
    return create_model("fast_scnn", num_classes=3).eval()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 2**31), st.floats(-45, 30), st.floats(0, 20))
def test_int8_is_off_by_half_a_step_of_its_channel_at_most(
    shape: tuple[int, ...], seed: int, exponent: float, spread: float
) -> None:
    """Channels of magnitudes that lie up to 2 ** spread apart, in all of float32's range."""
    generator = torch.Generator().manual_seed(seed)
    factors = 2.0 ** (exponent + spread * torch.rand(shape[0], *[1] * (len(shape) - 1), generator=generator))
    weight = torch.randn(shape, generator=generator) * factors
    packed = pack({"w": weight}, "int8")
    assert {name: value.dtype for name, value in packed.items()} == {"w": torch.int8, f"w{SCALE}": torch.float32}
    assert packed[f"w{SCALE}"].shape == shape[:1]
    back = unpack(packed)["w"]
    assert back.dtype == torch.float32
    assert back.shape == weight.shape
    off = (back.double() - weight.double()).abs().flatten(1).amax(1)
    half_a_step = weight.double().abs().flatten(1).amax(1) / 127 / 2
    assert (off <= half_a_step * 1.0001 + 1e-30).all()


def test_a_channel_of_zeros_stays_zero_and_spoils_no_other() -> None:
    weight = torch.randn(4, 12, 3, 3)
    weight[1] = 0
    weight[2] *= 1e-6
    back = unpack(pack({"w": weight}, "int8"))["w"]
    assert (back[1] == 0).all()
    assert torch.allclose(back[2], weight[2], atol=float(weight[2].abs().max()) / 250)
    assert (unpack(pack({"w": torch.zeros(2, 140)}, "int8"))["w"] == 0).all()


def test_int8_halves_kernels_of_few_weights_a_channel() -> None:
    weights = {
        "depthwise": torch.randn(4, 1, 5, 5),
        "picture": torch.randn(8, 3, 3, 3),
        "few": torch.randn(8, 96, 1, 1),
        "many": torch.randn(4, 128, 1, 1),
    }
    packed = pack(weights, "int8")
    halves = {name: value for name, value in packed.items() if value.dtype == torch.float16}
    assert halves.keys() == {"depthwise", "picture", "few"}
    assert packed.keys() - halves.keys() == {"many", f"many{SCALE}"}
    back = unpack(packed)
    assert all(torch.equal(back[name], weights[name].half().float()) for name in halves)


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_what_is_small_or_no_fraction_stays_as_it_is(storage: str) -> None:
    weights = {"variance": torch.tensor([1e-12, 1e9]), "seen": torch.tensor(7), "table": torch.ones(2, 2).long()}
    back = unpack(pack(weights, storage))
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in weights.items())


def test_fp16_keeps_what_its_range_cannot_hold() -> None:
    packed = pack({"small": torch.ones(2, 2), "large": torch.full((2, 2), 1e6)}, "fp16")
    assert [packed[name].dtype for name in ("small", "large")] == [torch.float16, torch.float32]
    assert (unpack(packed)["large"] == 1e6).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(FeathersegError, match="storage; expected one of fp32, fp16, int8; got 'int4'"):
        pack({}, "int4")
    for few_or_many in (2, 140):
        with pytest.raises(FeathersegError, match="w holds numbers that are not finite"):
            pack({"w": torch.full((1, few_or_many), float("nan"))}, "int8")
    weight = torch.ones(2, 3, dtype=torch.int8)
    for tensors, words in (
        ({"w": weight}, r"net: w; expected float32 scales \(2,\) under w::scale; got none"),
        ({"w": weight, "w::scale": torch.ones(3)}, r"got torch.float32 \(3,\)"),
        ({"w": weight, "w::scale": torch.ones(2).int()}, r"got torch.int32 \(2,\)"),
        ({"w::scale": torch.ones(2)}, "net: w::scale; expected the weights that it scales"),
    ):
        with pytest.raises(FeathersegError, match=words):
            unpack(tensors, source="net")


@pytest.mark.parametrize("storage", ["fp32", "fp16", "int8"])
def test_through_the_file_into_every_reader(tmp_path: Path, network: SegNetwork, storage: str) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, network.state_dict(), {"name": "fast_scnn"}, ARTEFACT, storage=storage)
    weights, model, artefact = read_checkpoint(path)
    assert (model, artefact) == ({"name": "fast_scnn"}, ARTEFACT)
    own = network.state_dict()
    assert {name: (value.shape, value.dtype) for name, value in weights.items()} == {
        name: (value.shape, value.dtype) for name, value in own.items()
    }
    if storage == "fp32":
        assert all(torch.equal(weights[name], value) for name, value in own.items())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    loaded, _ = load_checkpoint(path)
    with torch.inference_mode():
        before, after = network(images).logits, loaded.eval()(images).logits
    tolerance = {"fp32": 0.0, "fp16": 1e-2, "int8": 0.2}[storage]
    assert float((before - after).abs().max() / before.abs().max()) <= tolerance
    assert featherseg.load(path, device="cpu").classes.names == ("a", "b", "c")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    per_parameter = {"fp32": (4, 4.2), "fp16": (2, 2.25), "int8": (1, 1.5)}[storage]
    assert per_parameter[0] * parameters < path.stat().st_size < per_parameter[1] * parameters


def test_a_file_that_lost_a_scale_is_refused_by_name(tmp_path: Path, network: SegNetwork) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, network.state_dict(), {"name": "fast_scnn"}, ARTEFACT, storage="int8")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    lost = next(name for name in tensors if name.endswith(SCALE))
    del tensors[lost]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(FeathersegError, match=lost.removesuffix(SCALE)) as refused:
        load_checkpoint(path)
    assert str(path) in str(refused.value)
    assert lost in str(refused.value)


def test_fp16_of_all_tensors_as_earlier_files_have_it_is_widened(tmp_path: Path, network: SegNetwork) -> None:
    halves = {name: v.half() if v.is_floating_point() else v for name, v in network.state_dict().items()}
    path = tmp_path / "old.safetensors"
    save_checkpoint(path, halves, {"name": "fast_scnn"}, ARTEFACT)
    weights, _, _ = read_checkpoint(path)
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    load_checkpoint(path)


def test_the_shipped_checkpoint_loads() -> None:
    path = Path(__file__).parents[1] / "weights" / "affnet-camvid.safetensors"
    if not path.is_file():
        pytest.skip("no weights here")
    network, artefact = load_checkpoint(path)
    assert next(network.parameters()).dtype == torch.float32
    assert artefact.card["model"]["name"] == "affnet"
