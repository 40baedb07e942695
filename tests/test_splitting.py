"""Convolutions over resized maps, taken apart: the same result without resizing."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_folding import learned

from featherseg.models import create_model
from featherseg.nn.blocks import resize
from featherseg.nn.folding import fold_norms
from featherseg.nn.fusion import FusingConv
from featherseg.nn.splitting import SplitFusion, shifted_resizing, split_fusions

sides = st.integers(2, 23)


@given(size=sides, source=st.integers(1, 23), shift=st.sampled_from([-1, 0, 1]), align_corners=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_row_makes_a_place_of_a_resize(size: int, source: int, shift: int, align_corners: bool) -> None:
    x = torch.randn(1, 1, source, 1, dtype=torch.float64)
    resized = F.pad(resize(x, (size, 1), align_corners=align_corners), (0, 0, 1, 1))[0, 0, :, 0]  # place -1 comes first
    made = shifted_resizing(size, source, shift, x, align_corners) @ x[0, 0, :, 0]
    torch.testing.assert_close(made, resized[1 + shift : 1 + shift + size], atol=1e-5, rtol=1e-5)


@given(
    first=st.tuples(sides, sides),
    deep=st.tuples(sides, sides),
    batch=st.integers(1, 3),
    align_corners=st.booleans(),
    bias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
@torch.no_grad()
def test_split_equals_whole(
    first: tuple[int, int], deep: tuple[int, int], batch: int, align_corners: bool, bias: bool
) -> None:
    """At any sizes, the ratio need not be whole and the deep map not the smaller one."""
    torch.manual_seed(0)
    whole = FusingConv((3, 2, 4, 5), 6, deep=2, bias=bias, align_corners=align_corners).eval()
    whole[1].running_mean.uniform_(-1, 1)
    whole[1].running_var.uniform_(0.5, 2)
    maps = [torch.randn(batch, c, *size) for c, size in ((3, first), (2, (4, 6)), (4, deep), (5, deep))]
    expected = whole(maps)
    for _ in range(2):  # with its batch norm, which processes that share batches have in a form that is not folded
        torch.testing.assert_close(SplitFusion(whole)(maps), expected, atol=2e-5, rtol=1e-4)
        fold_norms(whole)


@pytest.mark.parametrize(
    ("name", "fields", "splits"),
    [
        ("affnet", {}, 1),
        ("affnet", {"fusion": "ewa"}, 0),
        ("affnet", {"fusion": "concat", "plan": "literal"}, 1),
        ("deeplabv3plus", {}, 1),
        ("dsc_deeplab", {"output_stride": 32}, 1),
        ("dsc_deeplab", {"output_stride": 8}, 0),  # half of the sides: nothing to gain
        ("fe_deeplab", {}, 1),
        ("caspp_deeplab", {}, 1),
        ("hybrid_fusion", {}, 0),
    ],
)
@torch.inference_mode()
def test_networks_score_the_same(name: str, fields: dict[str, object], splits: int) -> None:
    torch.manual_seed(0)
    network = learned(create_model(name, num_classes=5, **fields))
    quick = copy.deepcopy(network)
    fold_norms(quick)
    split_fusions(quick)
    assert sum(isinstance(module, SplitFusion) for module in quick.modules()) == splits
    for size in ((65, 97), (96, 64)):
        images = torch.randn(2, 3, *size)
        scores = network(images).logits
        assert (quick(images).logits - scores).abs().max() < 1e-5 * scores.abs().max()
