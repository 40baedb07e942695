"""Measures near and far from borders against slow second writings and shifted squares worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import blobs, classes, judged

from featherseg.evaluation import BoundaryF, BoundaryIoU, Interior
from featherseg.evaluation.borders import NO_CONTOUR, band, contour, near_change, near_same
from featherseg.runtime import FeathersegError

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def square(top: int, left: int, side: int = 10, size: int = 30) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[top : top + side, left : left + side] = 1
    return labels


def eroded(region: np.ndarray) -> np.ndarray:
    """One erosion by a 3x3 square; beyond the frame nothing belongs to the region."""
    padded = np.pad(region, 1)
    height, width = region.shape
    shifts = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return np.logical_and.reduce(shifts)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, radius=st.integers(0, 7), seed=st.integers(0, 999))
def test_a_band_is_what_erosions_take_away(shape: tuple[int, int], radius: int, seed: int) -> None:
    labels = blobs(np.random.default_rng(seed), *shape, 3)
    expected = np.zeros(shape, bool)
    for label in range(3):
        region = labels == label
        inner = region
        for _ in range(radius):
            inner = eroded(inner)
        expected |= region & ~inner
    np.testing.assert_array_equal(band(labels, radius), expected)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, radius=st.integers(0, 7), seed=st.integers(0, 999))
def test_near_change_looks_at_the_square_within_the_picture(shape: tuple[int, int], radius: int, seed: int) -> None:
    labels = blobs(np.random.default_rng(seed), *shape, 3, ignored=True)
    expected = np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        window = labels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        expected[y, x] = (window != labels[y, x]).any()
    np.testing.assert_array_equal(near_change(labels, radius), expected)


@settings(max_examples=40, deadline=None)
@given(radius=st.floats(0, 6), seed=st.integers(0, 999))
def test_points_are_matched_at_euclidean_distance(radius: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((17, 23)) < 0.04, rng.integers(0, 2, (17, 23)), NO_CONTOUR).astype(np.uint8)
    y, x, label = rng.integers(0, 17, 30), rng.integers(0, 23, 30), rng.integers(0, 2, 30).astype(np.uint8)
    there = [np.argwhere(labels == own) for own in label]
    expected = [
        bool(len(places)) and bool((np.hypot(*(places - (a, b)).T) <= radius).any())
        for places, a, b in zip(there, y, x, strict=True)
    ]
    assert near_same(y, x, label, labels, radius).tolist() == expected


def test_boundary_iou_of_a_shifted_square_by_hand() -> None:
    # Bands of d = 2 inside the 10x10 square: 10*10 - 6*6 = 64 pixels. Moved right by 1, the rings share 9 columns of
    # the 4 rows at top and bottom (36 pixels), and 1 column on either side of the 6 rows between (12).
    measure = BoundaryIoU(classes(2), ratio=2 / math.hypot(30, 30))
    measure(judged(square(10, 10), square(10, 11), 2))
    shared = 2 * 2 * 9 + 6 * 2
    assert measure.iou[1] == pytest.approx(shared / (64 + 64 - shared))
    # The background's band: a frame of 2 pixels, 30*30 - 26*26 = 224, and a ring around the hole, 14*14 - 10*10 = 96.
    ring_shared = 14 * 13 - 10 * 11  # in both outer squares, 13 columns wide, and in neither hole, 11 columns
    assert measure.iou[0] == pytest.approx((224 + ring_shared) / (2 * (224 + 96) - 224 - ring_shared))


def test_boundary_iou_is_stricter_than_iou_on_large_regions_and_sums_over_pictures() -> None:
    measure = BoundaryIoU(classes(2))
    pairs = [(square(5, 5, 20), square(5, 7, 20)), (square(2, 2, 8), square(2, 2, 8))]
    for target, mask in pairs:
        measure(judged(target, mask, 2))
    assert 0.1 < measure.iou[1] < 18 / 22
    both = BoundaryIoU(classes(2))
    both.shared, both.either = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for target, mask in pairs:
        one = BoundaryIoU(classes(2))
        one(judged(target, mask, 2))
        both.shared += one.shared
        both.either += one.either
    np.testing.assert_array_equal(both.iou, measure.iou)


@pytest.mark.parametrize("make", [BoundaryIoU, BoundaryF])
def test_a_perfect_mask_is_perfect_whatever_is_said_where_it_is_ignored(make: type) -> None:
    target = square(10, 10)
    target[:, 20:] = 255
    mask = np.where(target == 255, 1, target)
    measure = make(classes(3))
    measure(judged(target, mask, 3))
    value = measure.to_json()
    assert value["mean"] == 1
    assert value["per_class"]["class2"] is None


def test_boundary_f_of_a_shifted_square_by_hand() -> None:
    exact, near = BoundaryF(classes(2), tolerance=0), BoundaryF(classes(2), tolerance=2)
    for measure in (exact, near):
        measure(judged(square(10, 10), square(10, 12), 2))
    # 36 contour pixels each; moved by 2 they share 8 at top and 8 at bottom.
    assert exact.precision[1] == pytest.approx(16 / 36)
    assert exact.recall[1] == pytest.approx(16 / 36)
    assert exact.f[1] == pytest.approx(16 / 36)
    assert near.f[1] == 1


def test_precision_and_recall_are_not_mixed_up() -> None:
    measure = BoundaryF(classes(2), tolerance=1)
    invented = np.maximum(square(2, 2), square(18, 18))
    measure(judged(square(2, 2), invented, 2))
    assert measure.recall[1] == 1
    assert measure.precision[1] == pytest.approx(0.5)
    assert measure.f[1] == pytest.approx(2 / 3)


def test_a_class_that_is_missed_or_only_invented_has_f_zero() -> None:
    for target, mask in ((square(2, 2), np.zeros((30, 30))), (np.zeros((30, 30)), square(2, 2))):
        measure = BoundaryF(classes(3))
        measure(judged(target, mask, 3))
        assert measure.f[1] == 0
        assert np.isnan(measure.f[2])


def test_no_contour_comes_about_by_an_ignored_neighbour() -> None:
    labels = np.array([[0, 255, 1, 1, 0]], np.uint8)
    assert contour(labels, labels != 255).tolist() == [[255, 255, 255, 1, 0]]


def test_interior_by_hand() -> None:
    target = square(5, 5, side=20)
    mask = target.copy()
    mask[14:16, 14:16] = 0  # a hole of 4 pixels in the middle
    mask[5, 5:9] = 0  # 4 at the border
    measure = Interior(classes(2), distance=4)
    measure(judged(target, mask, 2))
    assert measure.share_of_wrong == pytest.approx(0.5)
    assert measure.pixels[1] == 12 * 12
    assert measure.error_of_class[1] == pytest.approx(4 / 144)
    near = Interior(classes(2), distance=10)
    near(judged(target, mask, 2))
    assert near.share_of_wrong == 0


def test_a_mask_without_error_has_no_share_of_errors() -> None:
    measure = Interior(classes(2))
    measure(judged(square(5, 5), square(5, 5), 2))
    assert measure.to_json()["share_of_wrong"] is None
    assert "- %" in measure.text()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BoundaryIoU(classes(2), ratio=0), "boundary IoU: ratio; expected .* got 0"),
        (lambda: BoundaryF(classes(2), tolerance=-1), "boundary F: tolerance"),
        (lambda: Interior(classes(2), distance=0), "interior: distance"),
    ],
)
def test_settings_without_sense_are_refused(make, words: str) -> None:
    with pytest.raises(FeathersegError, match=words):
        make()
