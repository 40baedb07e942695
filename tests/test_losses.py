"""Losses against numbers worked out by hand and against independent writings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from featherseg.losses import LOSSES, object_weights
from featherseg.runtime.errors import FeathersegError

# Share of each class among Cityscapes' labelled pixels (paper 004's loss is defined on these).
CITYSCAPES = (
    0.368697, 0.060850, 0.228240, 0.006554, 0.008773, 0.012273, 0.002078, 0.005513, 0.159287, 0.011578,
    0.040190, 0.012190, 0.001351, 0.069945, 0.002675, 0.002352, 0.002329, 0.000987, 0.004139,
)  # fmt: skip
FREQUENCIES = (0.6, 0.3, 0.09, 0.01)


def case(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 5, 7, generator=generator).to(dtype)
    target = torch.randint(0, 4, (2, 5, 7), generator=generator).to(torch.uint8)
    target[0, :2] = 255
    return logits, target


def fields(name: str) -> dict[str, object]:
    return {} if name == "ce" else {"frequencies": FREQUENCIES}


def by_hand(name: str, logits: torch.Tensor, target: torch.Tensor) -> float:
    """The same losses pixel by pixel in plain Python."""
    weights = [1 / math.log(f + 1.02) for f in FREQUENCIES]
    alpha = [w / max(weights) for w in weights]
    gamma = [1, 1, 0, 0]  # 60, 30, 9 and 1 times the rarest
    total, count = 0.0, 0
    for n, y, x in np.ndindex(*target.shape):
        label = int(target[n, y, x])
        if label == 255:
            continue
        scores = [math.exp(float(value)) for value in logits[n, :, y, x]]
        p = scores[label] / sum(scores)
        ce = -math.log(p)
        owfl = alpha[label] * (1 - p) ** gamma[label] * ce
        total += {"ce": ce, "wcel": weights[label] * ce, "owfl": owfl, "owfl_ce": owfl + 0.5 * ce}[name]
        count += 1
    return total / count


@pytest.mark.parametrize("name", LOSSES)
def test_value_is_that_of_the_plain_writing(name: str) -> None:
    logits, target = case()
    assert float(LOSSES[name](**fields(name))(logits, target)) == pytest.approx(by_hand(name, logits, target), rel=1e-5)


def test_cross_entropy_equals_torch() -> None:
    logits, target = case()
    expected = F.cross_entropy(logits, target.long(), ignore_index=255)
    assert torch.allclose(LOSSES["ce"]()(logits, target), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_have_no_gradient(name: str) -> None:
    logits, target = case()
    logits.requires_grad_()
    LOSSES[name](**fields(name))(logits, target).backward()
    ignored = (target == 255).unsqueeze(1).expand_as(logits)
    assert logits.grad is not None
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_valid_is_zero_with_zero_gradient(name: str) -> None:
    logits, target = case()
    logits.requires_grad_()
    loss = LOSSES[name](**fields(name))(logits, torch.full_like(target, 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_micro_batches_add_up_to_the_big_batch(name: str) -> None:
    logits, target = case()
    loss = LOSSES[name](**fields(name))
    valid = float((target != 255).sum())
    parts = [loss(logits[i : i + 1], target[i : i + 1], normaliser=valid) for i in range(2)]
    assert torch.allclose(parts[0] + parts[1], loss(logits, target))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_sure_scores_in_half_precision_stay_finite(name: str, dtype: torch.dtype) -> None:
    _, target = case()
    right = F.one_hot(target.clamp(max=3).long(), 4).permute(0, 3, 1, 2)
    for sign in (1, -1):
        logits = (sign * 200 * right).to(dtype).requires_grad_()
        loss = LOSSES[name](**fields(name))(logits, target)
        loss.backward()
        assert torch.isfinite(loss)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_owfl_groups_are_the_papers() -> None:
    alpha, gamma = object_weights(CITYSCAPES)
    assert [gamma.count(value) for value in (2, 1, 0)] == [3, 6, 10]
    printed = {0: 0.0633, 1: 0.2671, 2: 0.0937, 5: 0.6539, 8: 0.1259, 10: 0.3553, 13: 0.2411, 17: 1.0}
    assert all(alpha[index] == pytest.approx(value, abs=1e-4) for index, value in printed.items())


def test_a_class_that_never_occurs_gets_alpha_1_gamma_0() -> None:
    alpha, gamma = object_weights((0.9, 0.1, 0.0))
    assert (alpha[2], gamma[2]) == (1.0, 0.0)
    assert max(alpha[:2]) == 1.0


def test_missing_frequencies_are_said() -> None:
    with pytest.raises(FeathersegError, match="share of each class"):
        LOSSES["wcel"]()(*case())
