"""Each part of the shelf against a second writing of its equation, by loops, einsum or plain functions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherseg.models.caspp_deeplab import DenselyAdjacentPrediction
from featherseg.models.hybrid_fusion import ChannelGram, PositionAttention
from featherseg.models.spssnet import ChainedResidualPooling
from featherseg.nn.aspp import ASPP, RATES, AtrousConv, SeparableAtrousConv
from featherseg.nn.attention import CBAM, ECA, ChannelAttention, SpatialAttention, SqueezeExcitation
from featherseg.nn.blocks import (
    ConvBNReLU,
    DepthwiseSeparable,
    InvertedResidual,
    crop_padding,
    pad_to_multiple,
    resize,
    size_of,
)
from featherseg.nn.fusion import RefiningHead, concat_at_first
from featherseg.nn.pooling import PyramidPooling, average_pool


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(module, *, seed: int = 0):
    """The module in evaluation, with weights and batch-norm statistics that leave no part idle."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in module.state_dict().items():
            if name.endswith("running_var") or (name.endswith("weight") and x.ndim == 1):
                x.copy_(0.5 + torch.rand(x.shape, generator=generator))
            elif x.is_floating_point():
                x.copy_(0.3 * torch.randn(x.shape, generator=generator))
    return module.eval()


def cbr(x: Tensor, block: nn.Sequential, *, relu: bool = True) -> Tensor:
    """A CBR by hand: every tap of the kernel a shifted, weighted copy; batch norm as its formula."""
    conv, norm = block[0], block[1]
    (k, _), (s, _), (d, _) = conv.kernel_size, conv.stride, conv.dilation
    height, width = (math.ceil(side / s) for side in size_of(x))
    reach = d * (k // 2)
    padded = F.pad(x, (reach,) * 4)
    y = torch.zeros(x.shape[0], conv.out_channels, height, width)
    for l in range(k):  # noqa: E741
        for m in range(k):
            tap = padded[:, :, l * d : l * d + x.shape[2] : s, m * d : m * d + x.shape[3] : s]
            weight = conv.weight[:, :, l, m]
            y += tap * weight[:, 0, None, None] if conv.groups > 1 else torch.einsum("ncij,oc->noij", tap, weight)
    if conv.bias is not None:
        y += conv.bias[:, None, None]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    y = (y - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    return y.clamp_min(0) if relu else y


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "dilation", "bias"), [(1, 1, 1, True), (3, 2, 1, False), (3, 1, 4, True)])
@torch.no_grad()
def test_cbr(kernel: int, stride: int, dilation: int, bias: bool) -> None:
    block = lively(ConvBNReLU(5, 7, kernel, stride=stride, dilation=dilation, bias=bias))
    x = noise(2, 5, 9, 12)
    close(block(x), cbr(x, block))


@torch.no_grad()
def test_depthwise_separable() -> None:
    block = lively(DepthwiseSeparable(6, 4, stride=2))
    x = noise(2, 6, 9, 12)
    close(block(x), cbr(cbr(x, block[0]), block[1]))


@pytest.mark.parametrize(("out", "stride", "expansion"), [(6, 1, 6), (6, 2, 6), (8, 1, 6), (6, 1, 1)])
@torch.no_grad()
def test_inverted_residual(out: int, stride: int, expansion: int) -> None:
    block = lively(InvertedResidual(6, out, stride=stride, expansion=expansion))
    x = noise(2, 6, 9, 12)
    wide = cbr(x, block.body[0]) if expansion > 1 else x
    y = cbr(cbr(wide, block.body[1]), block.body[2:4], relu=False)
    close(block(x), x + y if stride == 1 and out == 6 else y)


def channel_attention(x: Tensor, mlp: nn.Sequential) -> Tensor:
    """CBAM's Eq. 2, one picture at a time, by matrix products."""
    first, second = mlp[0].weight[:, :, 0, 0], mlp[2].weight[:, :, 0, 0]
    pictures = []
    for picture in x:
        total = torch.zeros(x.shape[1])
        for pooled in (picture.flatten(1).sum(1) / picture[0].numel(), picture.flatten(1).sort(1).values[:, -1]):
            hidden = first @ pooled + (mlp[0].bias if mlp[0].bias is not None else 0)
            total += second @ hidden.clamp_min(0) + (mlp[2].bias if mlp[2].bias is not None else 0)
        pictures.append(picture / (1 + (-total).exp())[:, None, None])
    return torch.stack(pictures)


def spatial_attention(x: Tensor, weight: Tensor) -> Tensor:
    """CBAM's Eq. 3, place by place."""
    k = weight.shape[-1]
    both = F.pad(torch.stack([x.sum(1) / x.shape[1], x.sort(1).values[:, -1]], dim=1), (k // 2,) * 4)
    y = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            gate = (both[:, :, i : i + k, j : j + k] * weight[0]).sum((1, 2, 3))
            y[:, :, i, j] = x[:, :, i, j] / (1 + (-gate).exp())[:, None]
    return y


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_channel_attention(bias: bool) -> None:
    part = lively(ChannelAttention(12, 3, bias=bias))
    x = noise(2, 12, 5, 7)
    close(part(x), channel_attention(x, part.mlp))


@pytest.mark.parametrize("kernel", [3, 7])
@torch.no_grad()
def test_spatial_attention(kernel: int) -> None:
    part = lively(SpatialAttention(kernel))
    x = noise(2, 4, 5, 7)
    close(part(x), spatial_attention(x, part.conv.weight))


@torch.no_grad()
def test_cbam() -> None:
    part = lively(CBAM(16, reduction=4, kernel_size=3))
    x = noise(2, 16, 5, 7)
    assert part[0].mlp[0].out_channels == 4
    close(part(x), spatial_attention(channel_attention(x, part[0].mlp), part[1].conv.weight))
    assert CBAM(4, reduction=16)[0].mlp[0].out_channels == 1


@torch.no_grad()
def test_squeeze_excitation() -> None:
    part = lively(SqueezeExcitation(32, reduction=8))
    x = noise(2, 32, 5, 7)
    first, second = part.mlp[0].weight[:, :, 0, 0], part.mlp[2].weight[:, :, 0, 0]
    mean = torch.einsum("ncij->nc", x) / 35
    gate = torch.einsum("ch,nh->nc", second, torch.einsum("hc,nc->nh", first, mean).clamp_min(0)).sigmoid()
    close(part(x), torch.einsum("ncij,nc->ncij", x, gate))


@torch.no_grad()
def test_eca() -> None:
    part = lively(ECA(64))
    x = noise(2, 64, 5, 7)
    weight = part.conv.weight.flatten()
    reach = len(weight) // 2
    mean = F.pad(x.mean((2, 3)), (reach, reach))
    for c in range(64):
        gate = sum(weight[t] * mean[:, c + t] for t in range(len(weight))).sigmoid()
        close(part(x)[:, c], x[:, c] * gate[:, None, None])


@pytest.mark.parametrize(("channels", "kernel"), [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)])
def test_eca_kernel(channels: int, kernel: int) -> None:
    t = int(abs((math.log2(channels) + 1) / 2))  # the authors' own code
    assert ECA(channels).conv.kernel_size == (t if t % 2 else t + 1,) == (kernel,)


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_aspp(bias: bool) -> None:
    part = lively(ASPP(6, (1, 2, 3), out_channels=4, bias=bias))
    x = noise(2, 6, 7, 9)
    mean = cbr(x.mean((2, 3), keepdim=True), part.image).repeat(1, 1, 7, 9)
    every = [cbr(x, part.point), *(cbr(x, branch) for branch in part.atrous), mean]
    assert [branch[0].dilation for branch in part.atrous] == [(1, 1), (2, 2), (3, 3)]
    close(part(x), cbr(torch.cat(every, 1), part.project))


@torch.no_grad()
def test_aspp_recalibrates_the_concatenated_map() -> None:
    part = lively(ASPP(6, (1, 2, 3), out_channels=4, recalibrate=ChannelAttention(20, 5)))
    x = noise(2, 6, 7, 9)
    mean = cbr(x.mean((2, 3), keepdim=True), part.image).repeat(1, 1, 7, 9)
    every = torch.cat([cbr(x, part.point), *(cbr(x, branch) for branch in part.atrous), mean], 1)
    close(part(x), cbr(channel_attention(every, part.recalibrate.mlp), part.project))


@torch.no_grad()
def test_separable_atrous_conv_is_one_convolution_of_rank_one_kernels() -> None:
    part = lively(SeparableAtrousConv(6, 4, 2))
    x = noise(2, 6, 7, 9)
    whole = AtrousConv(6, 4, 2).eval()
    whole[0].weight.copy_(torch.einsum("oc,cij->ocij", part[1][0].weight[:, :, 0, 0], part[0].weight[:, 0]))
    whole[1].load_state_dict(part[1][1].state_dict())
    close(part(x), whole(x))


def test_rates_reach_equally_far_in_the_picture() -> None:
    assert {tuple(rate * stride for rate in rates) for stride, rates in RATES.items()} == {(96, 192, 288)}


@pytest.mark.parametrize("size", [(6, 6), (7, 11), (1, 1), (3, 17), (32, 64)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_average_pool(size: tuple[int, int], bins: int) -> None:
    x = noise(2, 3, *size)
    close(average_pool(x, bins), F.adaptive_avg_pool2d(x, bins))


@pytest.mark.parametrize(("kernel_size", "align_corners"), [(1, False), (3, True)])
@torch.no_grad()
def test_spp(kernel_size: int, align_corners: bool) -> None:
    part = lively(PyramidPooling(8, 3, 5, kernel_size=kernel_size, align_corners=align_corners))
    x = noise(2, 8, 7, 11)
    every = [x]
    for bins, branch in zip((1, 2, 3, 6), part.branches, strict=True):
        grid = cbr(F.adaptive_avg_pool2d(x, bins), branch)
        every.append(F.interpolate(grid, size=(7, 11), mode="bilinear", align_corners=align_corners))
    close(part(x), cbr(torch.cat(every, 1), part.project))


@pytest.mark.parametrize(("reach", "size"), [(3, (4, 6)), (5, (7, 3)), (3, (1, 2))])
def test_densely_adjacent_prediction(reach: int, size: tuple[int, int]) -> None:
    classes, (height, width) = 2, size
    x = noise(1, classes * reach**2, height, width)
    expected = torch.zeros(1, classes, height, width)
    for c in range(classes):
        for i in range(height):
            for j in range(width):
                for l in range(reach):  # noqa: E741
                    for m in range(reach):
                        a, b = i + l - reach // 2, j + m - reach // 2
                        if 0 <= a < height and 0 <= b < width:
                            expected[0, c, i, j] += x[0, c * reach**2 + l * reach + m, a, b] / reach**2
    close(DenselyAdjacentPrediction(classes, reach=reach)(x), expected)


@torch.no_grad()
def test_position_attention() -> None:
    part = lively(PositionAttention(6, 3))
    part.gamma.fill_(0.7)
    x = noise(2, 6, 3, 4)
    q, k, v = part.query(x), part.key(x), part.value(x)
    for i in range(3):
        for j in range(4):
            likeness = torch.einsum("nc,nchw->nhw", q[:, :, i, j], k)
            weight = likeness.flatten(1).softmax(1).reshape(2, 3, 4)
            seen = torch.einsum("nhw,nchw->nc", weight, v)
            close(part(x)[:, :, i, j], x[:, :, i, j] + 0.7 * seen)


@torch.no_grad()
def test_channel_gram() -> None:
    part = ChannelGram()
    part.gamma.fill_(0.7)
    x = noise(2, 6, 3, 4)
    gram = torch.einsum("ncij,ndij->ncd", x, x)
    for c in range(6):
        weight = (-gram[:, c]).softmax(1)  # the maximum only shifts
        close(part(x)[:, c], x[:, c] + 0.7 * torch.einsum("nd,ndij->nij", weight, x))


def test_attentions_that_learn_their_share_begin_with_none() -> None:
    x = noise(1, 6, 3, 4)
    assert torch.equal(PositionAttention(6, 3)(x), x)
    assert torch.equal(ChannelGram()(x), x)


@torch.no_grad()
def test_chained_residual_pooling() -> None:
    part = lively(ChainedResidualPooling(4))
    x = noise(2, 4, 6, 7)

    def peak(y: Tensor) -> Tensor:
        return F.pad(y, (2,) * 4, value=-math.inf).unfold(2, 5, 1).unfold(3, 5, 1).amax((-1, -2))

    first = F.conv2d(peak(x), part.links[0].weight, padding=1)
    second = F.conv2d(peak(first), part.links[1].weight, padding=1)
    close(part(x), x + first + second)


@torch.no_grad()
def test_refining_head() -> None:
    part = lively(RefiningHead((2, 4), 3, output_stride=16, width=8))
    shallow, deep = noise(2, 2, 5, 7), noise(2, 4, 2, 3)
    x = torch.cat([shallow, resize(deep, (5, 7), align_corners=True)], dim=1)
    y = cbr(cbr(x, part[0]), part[2])
    close(
        part([shallow, deep]),
        torch.einsum("ncij,oc->noij", y, part[4].weight[:, :, 0, 0]) + part[4].bias[:, None, None],
    )


@pytest.mark.parametrize("align_corners", [False, True])
def test_resize_and_concat(align_corners: bool) -> None:
    x, y = noise(1, 2, 9, 13), noise(1, 3, 4, 5)
    joined = concat_at_first([x, y], align_corners=align_corners)
    assert torch.equal(joined[:, :2], x)
    assert torch.equal(joined[:, 2:], resize(y, (9, 13), align_corners=align_corners))
    for i, j in ((0, 0), (3, 5), (8, 12), (7, 1)):
        if align_corners:
            a, b = i * 3 / 8, j * 4 / 12
        else:
            a, b = max(0.0, (i + 0.5) * 4 / 9 - 0.5), max(0.0, (j + 0.5) * 5 / 13 - 0.5)
        a0, b0 = int(a), int(b)
        a1, b1 = min(a0 + 1, 3), min(b0 + 1, 4)
        top = y[0, :, a0, b0] * (1 - b + b0) + y[0, :, a0, b1] * (b - b0)
        bottom = y[0, :, a1, b0] * (1 - b + b0) + y[0, :, a1, b1] * (b - b0)
        close(joined[0, 2:, i, j], top * (1 - a + a0) + bottom * (a - a0))


@pytest.mark.parametrize("size", [(32, 64), (33, 63), (39, 40), (1, 1)])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_padding_and_cropping(size: tuple[int, int], stride: int) -> None:
    x = noise(2, 3, *size)
    padded = pad_to_multiple(x, 8)
    assert size_of(padded) == tuple(8 * math.ceil(side / 8) for side in size)
    assert torch.equal(padded[..., : size[0], : size[1]], x)
    assert padded.count_nonzero() == x.count_nonzero()
    every = padded[..., ::stride, ::stride]  # stands for a network
    cells = [math.ceil(side / stride) for side in size]
    cropped = crop_padding(every, size, 8, stride=stride)
    assert torch.equal(cropped, every[..., : cells[0], : cells[1]])
