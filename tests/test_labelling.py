"""label_scores equals the argmax of the plain bilinear resize, for any shape, ratio, border and corner rule."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featherseg.runtime import FeathersegError, label_scores, labelling

Array = npt.NDArray[np.float64]


def plain_axis(places: int, pixels: int, align_corners: bool) -> Array:
    """(pixels, places) weights of one axis, written from the definition: clamp the coordinate, mix two neighbours."""
    weights = np.zeros((pixels, places))
    for pixel in range(pixels):
        if align_corners:
            position = pixel * (places - 1) / (pixels - 1) if pixels > 1 else 0.0
        else:
            position = (pixel + 0.5) * places / pixels - 0.5
        position = min(max(position, 0.0), places - 1.0)
        low = int(position)
        weights[pixel, low] += 1 - (position - low)
        weights[pixel, min(low + 1, places - 1)] += position - low
    return weights


def plain_resize(scores: npt.NDArray[np.float32], size: tuple[int, int], align_corners: bool) -> Array:
    down = plain_axis(scores.shape[1], size[0], align_corners)
    across = plain_axis(scores.shape[2], size[1], align_corners)
    return np.einsum("yh,chw,xw->cyx", down, scores.astype(np.float64), across, optimize=True)


def assert_best(labels: npt.NDArray[np.uint8], resized: Array) -> None:
    """Every label's resized score is the highest one, up to float32 rounding of the scores."""
    assert labels.dtype == np.uint8
    assert labels.shape == resized.shape[1:]
    chosen = np.take_along_axis(resized, labels[None].astype(np.intp), axis=0)[0]
    rounding = 16 * np.finfo(np.float32).eps * max(1.0, np.abs(resized).max())
    assert (resized.max(axis=0) - chosen).max() <= rounding


def random_scores(rng: np.random.Generator, shape: tuple[int, int, int], kind: str) -> npt.NDArray[np.float32]:
    if kind == "noise":
        return rng.standard_normal(shape).astype(np.float32)
    if kind == "coarse":  # many exact ties, as quantised networks give
        return rng.integers(-2, 3, shape).astype(np.float32)
    if kind == "flat":
        return np.full(shape, rng.standard_normal(), np.float32)
    return label_map(rng, shape)


def label_map(rng: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Scores of a label map with large regions: smooth hills per class, a little noise on them."""
    channels, height, width = shape
    coarse = rng.standard_normal((channels, max(2, height // 40), max(2, width // 40))).astype(np.float32)
    hills = [np.asarray(Image.fromarray(hill).resize((width, height), Image.Resampling.BICUBIC)) for hill in coarse]
    return (6 * np.stack(hills) + 0.05 * rng.standard_normal(shape)).astype(np.float32)


sides = st.integers(1, 9)
lengths = st.one_of(st.integers(1, 40), st.sampled_from([64, 72]))


@settings(max_examples=400, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), sides, sides),
    size=st.tuples(lengths, lengths),
    align_corners=st.booleans(),
    kind=st.sampled_from(["noise", "coarse", "flat", "map"]),
    seed=st.integers(0, 2**32 - 1),
    cell_cost=st.sampled_from([labelling.CELL_COST, -1e9, 1e9]),
    at_once=st.sampled_from([None, 7, 50]),
)
def test_equals_the_plain_computation(
    shape: tuple[int, int, int],
    size: tuple[int, int],
    align_corners: bool,
    kind: str,
    seed: int,
    cell_cost: float,
    at_once: int | None,
) -> None:
    """By the rule's choice, cell by cell wherever that is possible, and plainly; in large chunks and in small ones."""
    scores = random_scores(np.random.default_rng(seed), shape, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelling, "CELL_COST", cell_cost)
        if at_once is not None:
            patch.setattr(labelling, "CELLS_AT_ONCE", at_once)
            patch.setattr(labelling, "PIXELS_AT_ONCE", at_once)
        labels = label_scores(scores, size, align_corners=align_corners)
    assert_best(labels, plain_resize(scores, size, align_corners))


@pytest.mark.parametrize("cell_cost", [labelling.CELL_COST, -1e9])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((19, 32, 64), (256, 512)),
        ((11, 45, 60), (360, 480)),
        ((11, 23, 31), (359, 487)),  # no whole ratio
        ((5, 1, 7), (40, 3)),
        ((5, 64, 48), (9, 11)),  # reduces
        ((3, 40, 40), (41, 39)),
        ((1, 6, 6), (20, 20)),
        ((150, 16, 16), (64, 64)),
        ((7, 2, 2), (300, 5)),
    ],
)
def test_equals_torch(
    shape: tuple[int, int, int],
    size: tuple[int, int],
    align_corners: bool,
    cell_cost: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(labelling, "CELL_COST", cell_cost)
    rng = np.random.default_rng(7)
    for scores in (label_map(rng, shape), rng.standard_normal(shape).astype(np.float32)):
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(scores).double()[None], size=size, mode="bilinear", align_corners=align_corners
        )[0].numpy()
        assert_best(label_scores(scores, size, align_corners=align_corners), resized)


@pytest.mark.parametrize("align_corners", [False, True])
def test_at_the_scores_own_size_it_is_their_argmax_ties_included(align_corners: bool) -> None:
    scores = np.random.default_rng(0).integers(0, 3, (6, 31, 17)).astype(np.float32)
    labels = label_scores(scores, (31, 17), align_corners=align_corners)
    np.testing.assert_array_equal(labels, scores.argmax(axis=0))


def test_of_equal_classes_the_lower_id_wins_between_scores_too() -> None:
    ramp = np.linspace(0, 1, 5, dtype=np.float32)[None, :].repeat(5, axis=0)
    labels = label_scores(np.stack([0.5 + 0 * ramp, ramp, ramp]), (40, 40))
    assert set(np.unique(labels)) == {0, 1}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), align_corners=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_box_of_the_frame_is_a_crop(data: st.DataObject, align_corners: bool, seed: int) -> None:
    """At the box's own size, labels of the box are those of the whole frame, cropped."""
    scores = np.random.default_rng(seed).standard_normal((4, 5, 6)).astype(np.float32)
    frame = (37, 50)
    top, left = data.draw(st.integers(0, 36)), data.draw(st.integers(0, 49))
    height, width = data.draw(st.integers(1, 37 - top)), data.draw(st.integers(1, 50 - left))
    labels = label_scores(
        scores, (height, width), align_corners=align_corners, frame=frame, box=(top, left, height, width)
    )
    resized = plain_resize(scores, frame, align_corners)[:, top : top + height, left : left + width]
    assert_best(labels, resized)


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_box_that_is_the_frame_changes_nothing(align_corners: bool) -> None:
    scores = np.random.default_rng(3).standard_normal((5, 8, 9)).astype(np.float32)
    expected = label_scores(scores, (50, 41), align_corners=align_corners)
    labels = label_scores(scores, (50, 41), align_corners=align_corners, frame=(64, 72), box=(0, 0, 64, 72))
    np.testing.assert_array_equal(labels, expected)


def test_other_memory_layouts_and_float_types() -> None:
    scores = np.random.default_rng(1).standard_normal((5, 9, 7)).astype(np.float32)
    expected = label_scores(scores, (50, 41))
    np.testing.assert_array_equal(label_scores(np.asfortranarray(scores), (50, 41)), expected)
    np.testing.assert_array_equal(label_scores(scores.astype(np.float64), (50, 41)), expected)
    assert not np.shares_memory(label_scores(scores, (9, 7)), scores)


@pytest.mark.parametrize("value", [np.float16(2), np.float64(1e300)], ids=str)
def test_other_floats_are_converted_without_a_warning(value: np.floating) -> None:
    scores = np.full((2, 4, 4), value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if value == 2:
            assert label_scores(scores, (8, 8)).shape == (8, 8)
        else:
            with pytest.raises(FeathersegError, match="NaN or infinity"):
                label_scores(scores, (8, 8))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value: float) -> None:
    scores = np.zeros((3, 8, 8), np.float32)
    scores[2, 4, 5] = value
    with pytest.raises(FeathersegError, match="finite"):
        label_scores(scores, (64, 64))


@pytest.mark.parametrize(
    ("scores", "size", "match"),
    [
        (np.zeros((3, 8), np.float32), (8, 8), "shape"),
        (np.zeros((257, 2, 2), np.float32), (8, 8), "shape"),
        (np.zeros((3, 0, 2), np.float32), (8, 8), "shape"),
        (np.zeros((3, 2, 2), np.int64), (8, 8), "float32"),
        (np.zeros((3, 2, 2), np.float32), (0, 8), "size"),
    ],
)
def test_wrong_arguments_are_named(scores: npt.NDArray[np.float32], size: tuple[int, int], match: str) -> None:
    with pytest.raises(FeathersegError, match=match):
        label_scores(scores, size)


@pytest.mark.parametrize(
    ("frame", "box"), [(None, (0, 0, 4, 4)), ((8, 8), None), ((8, 8), (0, 5, 4, 4)), ((8, 8), (0, 0, 0, 4))]
)
def test_a_box_must_lie_in_its_frame(frame: tuple[int, int] | None, box: tuple[int, int, int, int] | None) -> None:
    with pytest.raises(FeathersegError, match="box"):
        label_scores(np.zeros((2, 2, 2), np.float32), (8, 8), frame=frame, box=box)
