"""Scores against scikit-learn and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, jaccard_score
from sklearn.metrics import confusion_matrix as reference

from featherseg.metrics import Scores, confusion_matrix, iou_of, means_of_present
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError


def classes(count: int) -> Classes:
    return Classes(names=tuple(f"class{index}" for index in range(count)))


@pytest.mark.parametrize("count", [2, 11, 255])
def test_confusion_equals_scikit_learn(count: int) -> None:
    rng = np.random.default_rng(count)
    target = rng.integers(0, count, (40, 50)).astype(np.uint8)
    mask = rng.integers(0, count, (40, 50)).astype(np.uint8)
    target[:5] = 255
    valid = target != 255
    ours = confusion_matrix(mask, target, count)
    assert (ours == reference(target[valid], mask[valid], labels=range(count))).all()


@pytest.mark.parametrize("block", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (60, 90)])
def test_runs_are_counted_as_their_pixels_are(size: tuple[int, int], block: int) -> None:
    """Label maps of blocks, of which the small ones are counted pixel by pixel, the large ones by runs."""
    rng = np.random.default_rng(block)
    small = rng.integers(0, 6, (2, size[0] // block + 1, size[1] // block + 1)).astype(np.uint8)
    mask, target = small.repeat(block, axis=1).repeat(block, axis=2)[:, : size[0], : size[1]]
    target = np.where(target == 5, 255, target).astype(np.uint8)
    expected = np.zeros((6, 6), np.int64)
    valid = target != 255
    np.add.at(expected, (target[valid], mask[valid]), 1)
    found = confusion_matrix(mask, target, 6)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    empty = np.zeros((0, 4), np.uint8)
    assert not confusion_matrix(empty, empty, 6).any()


def test_scores_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 5, 5000).astype(np.uint8)
    mask = np.where(rng.random(5000) < 0.7, target, rng.integers(0, 5, 5000)).astype(np.uint8)
    scores = Scores(confusion_matrix(mask, target, 5), classes(5))
    assert scores.iou == pytest.approx(jaccard_score(target, mask, average=None))
    assert scores.miou == pytest.approx(jaccard_score(target, mask, average="macro"))
    assert scores.fwiou == pytest.approx(jaccard_score(target, mask, average="weighted"))
    assert scores.pixel_accuracy == pytest.approx((target == mask).mean())
    assert scores.class_accuracy == pytest.approx(balanced_accuracy_score(target, mask))


def test_by_hand_with_an_absent_class() -> None:
    #                 truth 0: 3 right, 1 taken for 1; truth 1: 2 right; class 2 nowhere
    scores = Scores(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), classes(3))
    assert scores.iou[:2] == pytest.approx([3 / 4, 2 / 3])
    assert np.isnan(scores.iou[2])
    assert scores.absent == ("class2",)
    assert scores.miou == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert scores.class_accuracy == pytest.approx((3 / 4 + 1) / 2)
    assert scores.pixel_accuracy == pytest.approx(5 / 6)
    assert scores.fwiou == pytest.approx((4 * 3 / 4 + 2 * 2 / 3) / 6)
    assert scores.to_json()["iou"]["class2"] is None


def test_many_matrices_at_once_are_scored_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 9, (6, 4, 4))
    stack[2, 3] = stack[2, :, 3] = 0
    stack[3] = 0
    hit, truth, found = np.diagonal(stack, axis1=1, axis2=2), stack.sum(2), stack.sum(1)
    each = [Scores(matrix, classes(4)) for matrix in stack]
    np.testing.assert_array_equal(iou_of(hit, truth, found), [scores.iou for scores in each])
    np.testing.assert_allclose(means_of_present(iou_of(hit, truth, found)), [scores.miou for scores in each])


def test_a_class_only_predicted_counts_as_zero() -> None:
    scores = Scores(np.array([[3, 1], [0, 0]]), classes(2))
    assert scores.iou == pytest.approx([3 / 4, 0])


def test_wrong_shapes_and_labels_are_refused() -> None:
    with pytest.raises(FeathersegError, match="same shape"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
    for mask, target in ((5, 0), (0, 5), (2, 0), (0, 2), (1, 2), (255, 0), (0, 254)):  # 2 is the first that is no class
        stray = max(mask, target)
        with pytest.raises(FeathersegError, match=rf"labels; expected 0\.\.1.*; got {stray}$"):
            confusion_matrix(np.full((2, 2), mask, np.uint8), np.full((2, 2), target, np.uint8), 2)


@pytest.mark.parametrize("ignore_index", [2, 200, 255])
def test_the_ignore_index_counts_nowhere(ignore_index: int) -> None:
    target, mask = np.array([[0, 1, ignore_index]], np.uint8), np.array([[0, 0, 1]], np.uint8)
    assert confusion_matrix(mask, target, 2, ignore_index=ignore_index).tolist() == [[1, 0], [1, 0]]


def test_scores_are_compared_by_identity() -> None:
    scores = Scores(np.eye(2, dtype=np.int64), classes(2))
    assert scores == scores
    assert scores != Scores(np.eye(2, dtype=np.int64), classes(2))
    assert len({scores}) == 1
