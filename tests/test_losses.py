"""Losses against a second writing in numpy, against other libraries' true counterparts, and their contract."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_by_hand import FREQUENCIES, VARIANTS, by_hand, case, ours
from sklearn.metrics import f1_score, log_loss
from torchvision.ops import sigmoid_focal_loss

from featherseg.losses import LOSSES, absent_classes, loss_fields, object_weights
from featherseg.runtime.errors import FeathersegError

variants = pytest.mark.parametrize("variant", VARIANTS)
PIXEL_PART = {"ce_dice": "ce", "owfl_se": "owfl"}  # of the losses that have another part too
DOCUMENTED_LEAK = ("dice unmasked", "ce_dice unmasked")  # ignored pixels have a gradient


def test_the_menu_is_the_contracts() -> None:
    assert list(LOSSES) == ["ce", "wcel", "focal", "dice", "ce_dice", "owfl", "owfl_ce", "owfl_se", "ohem"]
    assert {name for name, _ in VARIANTS.values()} == set(LOSSES)


@variants
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), occurring=st.integers(1, 4), wide=st.booleans())
def test_value_is_that_of_the_second_writing(variant: str, seed: int, occurring: int, wide: bool) -> None:
    logits, target, presence = case(seed, occurring=occurring)
    value = float(ours(variant, logits, target.long() if wide else target, presence))
    assert value == pytest.approx(by_hand(variant, logits.double().numpy(), target.numpy(), presence.numpy()), rel=2e-5)


@variants
def test_gradient_is_the_slope_of_the_second_writing(variant: str) -> None:
    logits, target, presence = case(occurring=3)
    logits.requires_grad_()
    presence.requires_grad_()
    ours(variant, logits, target, presence).backward()
    assert logits.grad is not None
    scores, flags = logits.detach().double().numpy(), presence.detach().double().numpy()
    slopes = np.zeros_like(scores)
    for place in np.ndindex(*scores.shape):
        step = np.zeros_like(scores)
        step[place] = 1e-6
        up, down = (by_hand(variant, scores + sign * step, target.numpy(), flags) for sign in (1, -1))
        slopes[place] = (up - down) / 2e-6
    np.testing.assert_allclose(logits.grad.numpy(), slopes, rtol=1e-4, atol=1e-7)
    assert (presence.grad is not None) == (variant == "owfl_se")


# Counterparts in other libraries.


def test_cross_entropy_equals_torch() -> None:
    logits, target, _ = case()
    assert torch.allclose(LOSSES["ce"]()(logits, target), F.cross_entropy(logits, target.long(), ignore_index=255))


def test_class_weights_equal_torch_but_for_its_normaliser() -> None:
    logits, target, _ = case()
    weights = torch.tensor([0.5, 2.0, 0.25, 1.0])
    summed = F.cross_entropy(logits, target.long(), weights, ignore_index=255, reduction="sum")
    value = LOSSES["ce"](class_weights=tuple(weights.tolist()))(logits, target)
    assert torch.allclose(value, summed / (target != 255).sum())
    by_weight = weights[target[target != 255].long()].sum()
    again = LOSSES["ce"](class_weights=tuple(weights.tolist()))(logits, target, normaliser=by_weight)
    assert torch.allclose(again, F.cross_entropy(logits, target.long(), weights, ignore_index=255))


def test_weighted_cross_entropy_equals_scikit_learn() -> None:
    logits, target, _ = case()
    valid = (target != 255).numpy()
    probs = logits.softmax(1).permute(0, 2, 3, 1).numpy()[valid]
    weights = 1 / np.log(np.array(FREQUENCIES) + 1.02)
    labels = target.numpy()[valid]
    expected = log_loss(labels, probs, sample_weight=weights[labels], normalize=False, labels=range(4)) / valid.sum()
    assert float(LOSSES["wcel"](frequencies=FREQUENCIES)(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_focal_of_two_classes_is_torchvisions() -> None:
    score = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    target = (score.sin() > 0).long()
    expected = sigmoid_focal_loss(score, target.float(), alpha=-1, gamma=2, reduction="mean")
    logits = torch.stack([torch.zeros_like(score), score], dim=1)
    assert torch.allclose(LOSSES["focal"](alpha=1.0)(logits, target), expected)


def test_dice_of_sure_scores_is_one_minus_macro_f1() -> None:
    _, target, _ = case()
    guess = torch.randint(0, 4, target.shape, generator=torch.Generator().manual_seed(1))
    logits = 100.0 * F.one_hot(guess, 4).permute(0, 3, 1, 2)
    valid = target != 255
    expected = 1 - f1_score(target[valid].numpy(), guess[valid].numpy(), average="macro")
    assert float(LOSSES["dice"]()(logits, target)) == pytest.approx(expected, abs=1e-6)


def test_dice_equals_segmentation_models_pytorch() -> None:
    peers = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, target, _ = case()  # every class occurs; that library gives absent classes no loss
    peer = peers.DiceLoss("multiclass", smooth=1e-5, eps=1e-12, ignore_index=255)
    assert torch.allclose(LOSSES["dice"]()(logits, target), peer(logits, target.long()))


def test_the_semantic_encoding_part_is_torchs_binary_cross_entropy() -> None:
    logits, target, presence = case(occurring=3)
    loss = LOSSES["owfl_se"](frequencies=FREQUENCIES, se_weight=1.0)
    here = torch.stack([torch.tensor([float((t == c).any()) for c in range(4)]) for t in target])
    part = loss(logits, target, presence=presence) - loss(logits, target)
    assert torch.allclose(part, F.binary_cross_entropy_with_logits(presence, here))
    assert torch.allclose(loss(logits, target), LOSSES["owfl"](frequencies=FREQUENCIES)(logits, target))


# Ignored pixels, empty batches, extreme scores.


@variants
def test_ignored_pixels_have_no_gradient(variant: str) -> None:
    logits, target, presence = case()
    logits.requires_grad_()
    ours(variant, logits, target, presence).backward()
    ignored = (target == 255).unsqueeze(1).expand_as(logits)
    assert logits.grad is not None
    assert (logits.grad[ignored] == 0).all() == (variant not in DOCUMENTED_LEAK)
    assert (logits.grad[~ignored] != 0).any()


@variants
def test_nothing_valid_is_zero_with_zero_gradient(variant: str) -> None:
    logits, target, presence = case()
    logits.requires_grad_()
    presence.requires_grad_()
    loss = ours(variant, logits, torch.full_like(target, 255), presence)
    loss.backward()
    assert loss.item() == 0
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert (logits.grad == 0).all()
    assert presence.grad is None or (presence.grad == 0).all()


@variants
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1e4, -1e4, 0.0])
def test_sure_scores_of_any_precision_stay_finite(variant: str, dtype: torch.dtype, size: float) -> None:
    _, target, presence = case()
    right = F.one_hot(target.clamp(max=3).long(), 4).permute(0, 3, 1, 2)
    logits = (size * right).to(dtype).requires_grad_()
    loss = ours(variant, logits, target, presence)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@variants
def test_half_precision_scores_are_reckoned_in_float32(variant: str) -> None:
    logits, target, presence = case()
    rough = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = ours(variant, rough, target, presence)
    assert torch.equal(value, ours(variant, rough.float(), target, presence))


def test_the_ignored_label_may_be_any() -> None:
    logits, target, _ = case()
    expected = LOSSES["ce"]()(logits, target)
    for label in (-100, 4, 21):
        moved = torch.where(target == 255, label, target.long())
        assert torch.equal(LOSSES["ce"](ignore_index=label)(logits, moved), expected)
    byte = torch.full_like(target, 1)
    assert float(LOSSES["ce"](ignore_index=-255)(logits, byte)) > 0  # -255 is 1 in uint8


def test_hard_examples_of_few_pixels_keep_one() -> None:
    logits = torch.tensor([[[[3.0, 4.0]], [[0.0, 0.0]]]])
    target = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert float(LOSSES["ohem"]()(logits, target)) == pytest.approx(math.log(1 + math.exp(-3)))


@variants
def test_pictures_without_labels_change_nothing(variant: str) -> None:
    logits, target, presence = case()
    more = ours(
        variant,
        torch.cat((logits, logits + 1)),
        torch.cat((target, torch.full_like(target, 255))),
        torch.cat((presence, presence + 1)),
    )
    assert torch.allclose(more, ours(variant, logits, target, presence))


# Micro-batches.


@variants
def test_parts_add_up_to_the_whole(variant: str) -> None:
    logits, target, presence = case()
    name, fields = VARIANTS[variant]
    loss = LOSSES[name](**fields)
    slices = (slice(0, 1), slice(1, 3))
    normaliser = sum(loss.count(target[part]) for part in slices)
    assert torch.equal(normaliser, loss.count(target))
    parts = [
        loss(logits[part], target[part], normaliser=normaliser, share=0.5, presence=presence[part]) for part in slices
    ]
    alone = [loss(logits[part], target[part], presence=presence[part]) for part in slices]
    if not loss.per_micro_batch:
        assert torch.allclose(sum(parts), loss(logits, target))
        assert not torch.allclose(sum(alone) / 2, loss(logits, target), rtol=1e-3)
    elif name in ("dice", "ohem"):
        assert torch.allclose(sum(parts), sum(alone) / 2)
    else:  # the sum over pixels adds up, the other part is averaged
        pixel = PIXEL_PART[name]
        sum_part = LOSSES[pixel](**{key: value for key, value in fields.items() if key in loss_fields(pixel)})
        others = [whole - sum_part(logits[part], target[part]) for whole, part in zip(alone, slices, strict=True)]
        assert torch.allclose(sum(parts), sum_part(logits, target) + sum(others) / 2)


def test_counts_are_valid_pixels_or_all() -> None:
    _, target, _ = case()
    valid = int((target != 255).sum())
    for name in LOSSES:
        assert int(LOSSES[name]().count(target)) == (target.numel() if name == "focal" else valid)
    assert int(LOSSES["focal"](focal_mean="valid").count(target)) == valid
    assert {name for name, loss in LOSSES.items() if loss.per_micro_batch} == {"dice", "ce_dice", "owfl_se", "ohem"}
    assert {name for name, loss in LOSSES.items() if loss.needs_presence} == {"owfl_se"}


# What the papers print, and the quirks of their code.

# Cityscapes: class, share among labelled pixels, gamma, alpha (paper 004).
CITYSCAPES = (
    ("road", 0.368697, 2, 0.0633), ("sidewalk", 0.060850, 1, 0.2671), ("building", 0.228240, 2, 0.0937),
    ("wall", 0.006554, 0, 0.7925), ("fence", 0.008773, 0, 0.7322), ("pole", 0.012273, 1, 0.6539),
    ("traffic light", 0.002078, 0, 0.9511), ("traffic sign", 0.005513, 0, 0.8244),
    ("vegetation", 0.159287, 2, 0.1259), ("terrain", 0.011578, 1, 0.6680), ("sky", 0.040190, 1, 0.3553),
    ("person", 0.012190, 1, 0.6556), ("rider", 0.001351, 0, 0.9831), ("car", 0.069945, 1, 0.2411),
    ("truck", 0.002675, 0, 0.9263), ("bus", 0.002352, 0, 0.9395), ("train", 0.002329, 0, 0.9405),
    ("motorcycle", 0.000987, 0, 1.0000), ("bicycle", 0.004139, 0, 0.8707),
)  # fmt: skip


def test_owfl_groups_and_weights_are_the_papers() -> None:
    alpha, gamma = object_weights([share for _, share, _, _ in CITYSCAPES])
    assert gamma == [group for _, _, group, _ in CITYSCAPES]
    assert [gamma.count(value) for value in (0, 1, 2)] == [10, 6, 3]
    assert alpha == pytest.approx([printed for *_, printed in CITYSCAPES], abs=1e-4)


def test_a_class_that_never_occurs_gets_alpha_1_gamma_0_and_is_named() -> None:
    alpha, gamma = object_weights((0.9, 0.1, 0.0))
    assert (alpha[2], gamma[2]) == (1.0, 0.0)
    assert max(alpha[:2]) == 1.0
    assert absent_classes((0.9, 0.1, 0.0), ("road", "car", "tram")) == ("tram",)


def test_the_focal_mean_over_all_pixels_is_smaller_by_the_share_of_valid_ones() -> None:
    logits, target, _ = case()
    over_all, over_valid = (LOSSES["focal"](focal_mean=mean)(logits, target) for mean in ("all", "valid"))
    assert torch.allclose(over_all, over_valid * (target != 255).float().mean())
    assert LOSSES["focal"]().focal_mean == "all"  # type: ignore[attr-defined]


def test_ignored_pixels_inside_dice_are_false_positives() -> None:
    logits, target, _ = case()
    masked, parity = (LOSSES["dice"](dice_mask_ignored=mask)(logits, target) for mask in (True, False))
    assert parity > masked
    assert torch.equal(masked, LOSSES["dice"]()(logits, target))


# Values that are refused.


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("focal", {"focal_mean": "vaild"}, "did you mean 'valid'"),
        ("focal", {"gamma": -1}, "loss.gamma"),
        ("focal", {"alpha": math.nan}, "loss.alpha"),
        ("focal", {"alpha": "half"}, "loss.alpha"),
        ("ce", {"class_weights": (1, -1)}, "loss.class_weights"),
        ("ce", {"class_weights": 3}, "one per class"),
        ("ce", {"ignore_index": 25.5}, "whole number"),
        ("dice", {"eps": 0}, "loss.eps"),
        ("dice", {"dice_mask_ignored": "no"}, "true or false"),
        ("ce_dice", {"dice_weight": -0.1}, "loss.dice_weight"),
        ("ohem", {"threshold": 1.5}, "loss.threshold"),
        ("ohem", {"min_kept": 2}, "loss.min_kept"),
        ("wcel", {"frequencies": (0.0, 0.0)}, "a class that occurs"),
        ("wcel", {"frequencies": (1.5, 0.0)}, "loss.frequencies"),
        ("wcel", {"frequencies": FREQUENCIES, "c": 1.0}, "more than 1"),
        ("owfl_ce", {"ce_weight": -1}, "loss.ce_weight"),
        ("owfl_se", {"se_weight": math.inf}, "loss.se_weight"),
    ],
)
def test_values_of_no_use_are_refused(name: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(FeathersegError, match=words):
        LOSSES[name](**fields)


def test_what_does_not_fit_the_scores_is_said() -> None:
    logits, target, presence = case()
    with pytest.raises(FeathersegError, match="share of each class"):
        LOSSES["wcel"]()(logits, target)
    with pytest.raises(FeathersegError, match="4 values, one per class; got 2"):
        LOSSES["owfl"](frequencies=(0.5, 0.5))(logits, target)
    with pytest.raises(FeathersegError, match="4 values, one per class; got 3"):
        LOSSES["ce"](class_weights=(1, 1, 1))(logits, target)
    with pytest.raises(FeathersegError, match="of the same size"):
        LOSSES["ce"]()(logits, target[:, :3])
    with pytest.raises(FeathersegError, match=r"labels 0..3 or 255; got 9"):
        LOSSES["ce"]()(logits, torch.full_like(target, 9))
    with pytest.raises(FeathersegError, match="presence"):
        LOSSES["owfl_se"](frequencies=FREQUENCIES)(logits, target, presence=presence[:, :2])
