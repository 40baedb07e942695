"""A head's loss taken at once and in parts against the plain way: resize everything, then the loss, then backward."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from featherseg.losses import LOSSES, loss_fields
from featherseg.models import SegOutput
from featherseg.training import head_loss
from featherseg.training.objective import objective

CLASSES = 5
FREQUENCIES = {"frequencies": (0.5, 0.3, 0.1, 0.07, 0.03)}


def plain(output: SegOutput, target: Tensor, loss: Any, *, aux_weight: float, align_corners: bool, **rest: Any) -> Any:
    def of(logits: Tensor, presence: Tensor | None = None) -> Tensor:
        size = target.shape[-2:]
        large = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=align_corners)
        return loss(large, target, presence=presence, **rest)

    return of(output.logits, output.presence) + sum(aux_weight * of(logits) for logits in output.aux_logits)


def example(dtype: torch.dtype = torch.float32) -> tuple[SegOutput, Tensor]:
    torch.manual_seed(0)
    main, first, second = (torch.randn(4, CLASSES, *size, dtype=dtype) for size in ((6, 7), (3, 4), (33, 50)))
    leaves = [x.contiguous(memory_format=torch.channels_last).requires_grad_() for x in (main, first, second)]
    target = torch.randint(0, CLASSES, (4, 33, 50), dtype=torch.uint8)
    target[torch.rand(target.shape) < 0.1] = 255
    return SegOutput(leaves[0], tuple(leaves[1:]), torch.randn(4, CLASSES, requires_grad=True)), target


def gradients(output: SegOutput) -> list[Tensor]:
    leaves = [output.logits, *output.aux_logits, *([output.presence] if output.presence is not None else [])]
    return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("at_once", [1, 1 << 14, 1 << 30])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_are_those_of_the_plain_way(
    name: str, at_once: int, align_corners: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(head_loss.SCORES_AT_ONCE, "cpu", at_once)
    loss = LOSSES[name](**(FREQUENCIES if "frequencies" in loss_fields(name) else {}))
    found = []
    for way in (plain, objective):
        for rest in ({}, {"normaliser": torch.tensor(9000.0), "share": 0.25}):
            output, target = example()
            value = way(output, target, loss, aux_weight=0.4, align_corners=align_corners, **rest)
            (value * 3).backward()  # as a loss scaler would
            found.append((value.detach(), gradients(output)))
    for (value, slopes), (reference, expected) in zip(found[2:], found[:2], strict=True):
        torch.testing.assert_close(value, reference)
        torch.testing.assert_close(slopes, expected, rtol=1e-4, atol=1e-7)


def test_half_precision_scores_get_half_precision_gradients_reckoned_in_float32() -> None:
    loss = LOSSES["ce"]()
    found = []
    for way in (plain, objective):
        output, target = example(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16, enabled=way is objective):  # it does not matter
            value = way(output, target, loss, aux_weight=0.4, align_corners=False)
        value.backward()
        found.append((value.detach(), gradients(output)))
    torch.testing.assert_close(found[1][0], found[0][0])
    for ours, reference in zip(found[1][1], found[0][1], strict=True):
        assert ours.dtype == reference.dtype
        torch.testing.assert_close(ours, reference)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 90), st.integers(1, 90)), st.booleans()
)
def test_enlarging_is_interpolate_at_any_ratio(old: tuple[int, int], new: tuple[int, int], align_corners: bool) -> None:
    scores = torch.randn(2, 3, *old)
    reference = F.interpolate(scores, size=new, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(head_loss.enlarge(scores, new, align_corners=align_corners), reference)


def test_what_was_kept_from_inference_serves_training() -> None:
    head_loss.resizing.cache_clear()
    output, target = example()
    with torch.inference_mode():
        scored = objective(output, target, LOSSES["ce"](), aux_weight=0.4, align_corners=False)
    trained = objective(output, target, LOSSES["ce"](), aux_weight=0.4, align_corners=False)
    trained.backward()
    assert scored == trained.detach()


def test_nothing_of_the_large_size_outlives_the_loss() -> None:
    """What autograd still holds when the loss is known is no larger than the scores at their own size."""
    kept: weakref.WeakSet[Holder] = weakref.WeakSet()

    class Holder:
        def __init__(self, value: Tensor) -> None:
            self.value = value
            kept.add(self)

    largest = {}
    for way in (plain, objective):
        output, target = example()
        with torch.autograd.graph.saved_tensors_hooks(Holder, lambda holder: holder.value):
            value = way(output, target, LOSSES["ce"](), aux_weight=0.4, align_corners=False)
        largest[way] = max(holder.value.numel() for holder in kept)
        del value
    assert largest[objective] <= max(leaf.numel() for leaf in (output.logits, *output.aux_logits))
    assert largest[plain] >= target.numel() * CLASSES
