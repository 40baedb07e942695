"""The peers: a library's network against the library itself, our own files against a second writing of their parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models import create_model
from featherseg.models.enet import Bottleneck, Downsampling, Upsampling, asymmetric, max_pool, max_unpool
from featherseg.models.erfnet import Downsampler, NonBottleneck1D
from featherseg.models.unet_vgg import VGG16
from featherseg.runtime.errors import FeathersegError


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(module: nn.Module) -> nn.Module:
    """The module in evaluation, its batch-norm statistics and slopes drawn at random."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for x in (part.weight.data, part.running_var):
                nn.init.uniform_(x, 0.5, 1.5)
            for x in (part.bias.data, part.running_mean):
                nn.init.uniform_(x, -0.3, 0.3)
        elif isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.3, 0.3)
    return module.eval()


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


# the libraries


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("smp_deeplabv3plus", "DeepLabV3Plus"),
        pytest.param("smp_unet", "Unet", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_a_network_of_smp_gives_what_smp_gives(name: str, architecture: str) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    theirs = lively(getattr(smp, architecture)("mobilenet_v2", encoder_weights=None, classes=4))
    ours = create_model(name, num_classes=4).eval()
    ours.load_state_dict(
        {key.replace("segmentation_head.0.", "classifier."): x for key, x in theirs.state_dict().items()}
    )
    images = noise(2, 3, 96, 160)
    assert torch.equal(ours.logits(images), theirs(images))
    odd = noise(1, 3, 75, 90)
    padded = F.pad(odd, (0, -90 % ours.multiple, 0, -75 % ours.multiple))
    cells = [-(-side // ours.stride) for side in (75, 90)]
    assert torch.equal(ours(odd).logits, ours(padded).logits[..., : cells[0], : cells[1]])


@torch.no_grad()
def test_lraspp_gives_what_torchvision_gives() -> None:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    theirs = lively(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4))
    ours = create_model("lraspp", num_classes=4).eval()
    ours.load_state_dict({key.replace("backbone.", "encoder."): x for key, x in theirs.state_dict().items()})
    for size in ((96, 160), (75, 90)):
        images = noise(2, 3, *size)
        assert torch.equal(ours.logits(images), theirs(images)["out"])


# ENet


def apart(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of which no two are close: 0.01 lies between neighbours."""
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return ((order - count / 2) / 100).reshape(shape)


@pytest.mark.parametrize("size", [(2, 2), (4, 10), (16, 6)])
def test_unpooling_is_torchs_own(size: tuple[int, int]) -> None:
    x, y = apart(2, 3, *size), noise(2, 3, size[0] // 2, size[1] // 2, seed=1)
    ours, theirs = (tensor.clone().requires_grad_() for tensor in (x, x))
    pooled, share = max_pool(ours)
    expected, indices = F.max_pool2d(theirs, 2, return_indices=True)
    assert torch.equal(pooled, expected)
    assert torch.equal(max_unpool(y, share), F.max_unpool2d(y, indices, 2))
    weights = noise(*size, seed=2)
    (max_unpool(pooled, share) * weights).sum().backward()
    (F.max_unpool2d(expected, indices, 2) * weights).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_what_is_as_good_as_equal_shares_in_unpooling() -> None:
    x = torch.tensor([[2.0, 2.0, 1.0, 0.9999], [2.0, 2.0, 0.0, 0.0]])[None, None]
    pooled, share = max_pool(x)
    assert pooled.tolist() == [[[[2.0, 1.0]]]]
    spread = max_unpool(torch.tensor([[[[4.0, 1.9]]]]), share)
    close(spread[0, 0], torch.tensor([[1.0, 1.0, 1.0, 0.9], [1.0, 1.0, 0.0, 0.0]]))
    nudged = max_unpool(torch.tensor([[[[4.0, 1.9]]]]), max_pool(x + 1e-6 * noise(*x.shape))[1])
    torch.testing.assert_close(nudged, spread, rtol=0, atol=1e-2)


def extended(x: Tensor, extension: nn.Sequential, middle: Tensor) -> Tensor:
    """The extension of a bottleneck by hand, given what its middle convolution made."""
    _, _, _, _, norm, activation, expand, last, _ = extension
    return last(F.conv2d(activation(norm(middle)), expand.weight))


@torch.no_grad()
def test_enet_bottlenecks_by_hand() -> None:
    down, up = lively(Downsampling(8, 16)), lively(Upsampling(16, 8))
    x = apart(2, 8, 12, 20)
    project, norm, activation, middle, *_ = down.extension
    inner = F.conv2d(activation(norm(F.conv2d(x, project.weight, stride=2))), middle.weight, padding=1)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    both = torch.cat([pooled, torch.zeros_like(pooled)], dim=1) + extended(x, down.extension, inner)
    y, share = down(x)
    close(y, torch.where(both > 0, both, down.activation.weight * both))

    project, norm, activation, middle, *_ = up.extension
    inner = activation(norm(F.conv2d(y, project.weight)))
    inner = F.conv_transpose2d(inner, middle.weight, stride=2, padding=1, output_padding=1)
    unpooled = F.max_unpool2d(up.main[1](F.conv2d(y, up.main[0].weight)), indices, 2)
    close(up(y, share), (unpooled + extended(y, up.extension, inner)).clamp(min=0))


@torch.no_grad()
def test_an_asymmetric_bottleneck_of_enet_sees_five_by_five() -> None:
    part = lively(Bottleneck(8, asymmetric))
    project, norm, activation, middle, *_ = part.extension
    x = noise(2, 8, 9, 11)
    inner = activation(norm(F.conv2d(x, project.weight)))
    inner = middle[2](middle[1](F.conv2d(inner, middle[0].weight, padding=(2, 0))))
    inner = F.conv2d(inner, middle[3].weight, padding=(0, 2))
    both = x + extended(x, part.extension, inner)
    close(part(x), torch.where(both > 0, both, part.activation.weight * both))


def test_dropout_of_enet_as_the_paper_has_it() -> None:
    rates = [x.p for x in create_model("enet", num_classes=2).modules() if isinstance(x, nn.Dropout2d)]
    assert rates == [0.01] * 5 + [0.1] * 22  # 0.01 before bottleneck 2.0


# ERFNet


@pytest.mark.parametrize("dilation", [1, 4])
@torch.no_grad()
def test_erfnet_layers_by_hand(dilation: int) -> None:
    layer, down = lively(NonBottleneck1D(6, dilation=dilation, dropout=0.3)), lively(Downsampler(6, 10))
    x = noise(2, 6, 10, 14)
    y = x
    for part, d in ((layer.body[0], 1), (layer.body[2], dilation)):
        tall, _, wide, norm = part
        y = F.conv2d(y, tall.weight, tall.bias, padding=(d, 0), dilation=(d, 1)).clamp(min=0)
        y = norm(F.conv2d(y, wide.weight, wide.bias, padding=(0, d), dilation=(1, d)))
        y = y if part is layer.body[2] else y.clamp(min=0)
        assert norm.eps == 1e-3
    close(layer(x), (x + y).clamp(min=0))
    both = torch.cat([F.conv2d(x, down.conv.weight, down.conv.bias, stride=2, padding=1), F.max_pool2d(x, 2)], 1)
    close(down(x), down.norm(both).clamp(min=0))


def test_dilations_and_dropout_of_erfnet() -> None:
    network = create_model("erfnet", num_classes=2)
    layers = [part for part in network.modules() if isinstance(part, NonBottleneck1D)]
    assert [part.body[2][0].dilation[0] for part in layers] == [1] * 5 + [2, 4, 8, 16] * 2 + [1] * 4
    assert [part.body[3].p for part in layers] == [0.03] * 5 + [0.3] * 8 + [0.0] * 4


# the large ones


def convolutions_of_torchvision() -> nn.Sequential:
    from torchvision.models.vgg import cfgs, make_layers

    return make_layers(cfgs["D"])


@torch.no_grad()
def test_the_encoder_of_unet_is_torchvisions_vgg16(tmp_path: Path) -> None:
    theirs, ours = convolutions_of_torchvision().eval(), VGG16().eval()
    ours.features.load_state_dict(theirs.state_dict())
    images = noise(1, 3, 65, 33)
    maps = [theirs[:end](images) for end in (4, 9, 16, 23, 30)]
    assert all(torch.equal(a, b) for a, b in zip(ours(images), maps, strict=True))
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 65, 33), (128, 32, 16), (256, 16, 8), (512, 8, 4), (512, 4, 2)]


@pytest.mark.slow
def test_unet_takes_a_file_of_torchvisions_weights(tmp_path: Path) -> None:
    state = {f"features.{key}": x for key, x in convolutions_of_torchvision().state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(2, 2)
    torch.save(state, tmp_path / "vgg16.pth")
    network = create_model("unet_vgg16", num_classes=2, pretrained=str(tmp_path / "vgg16.pth"))
    assert all(torch.equal(x, state[key]) for key, x in network.encoder.state_dict().items())
    del state["features.28.bias"]
    torch.save(state, tmp_path / "vgg16.pth")
    with pytest.raises(FeathersegError, match="26 tensors"):
        create_model("unet_vgg16", num_classes=2, pretrained=str(tmp_path / "vgg16.pth"))


@pytest.mark.slow
def test_pspnet_takes_a_file_of_timms_weights(tmp_path: Path) -> None:
    import timm

    state = timm.create_model("resnet50s").state_dict()
    torch.save(state, tmp_path / "resnet50s.pth")
    network = create_model("pspnet_resnet50", num_classes=2, pretrained=str(tmp_path / "resnet50s.pth"))
    found = network.encoder.body.state_dict()
    assert len(found) == len(state) - 2  # all but the classifier's
    assert all(torch.equal(x, state[key]) for key, x in found.items())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_pspnet_ends_at_its_output_stride(output_stride: int) -> None:
    with torch.device("meta"):
        network = create_model("pspnet_resnet50", num_classes=21, output_stride=output_stride).eval()
        output = network(torch.zeros(1, 3, 473, 480))
    cells = (-(-473 // output_stride), 480 // output_stride)
    assert network.stride == output_stride
    assert output.logits.shape == output.aux_logits[0].shape == (1, 21, *cells)
    stem = [part.out_channels for part in network.encoder.body.conv1 if isinstance(part, nn.Conv2d)]
    assert stem == [64, 64, 128]
