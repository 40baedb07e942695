"""Views and tiles are engines around an engine: with nothing to average they change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from featherseg.runtime import Artefact, Classes, FeathersegError, Predictor, Tiles, Views
from featherseg.runtime.tiles import ramp, starts
from featherseg.runtime.views import log_softmax, resize_scores

ARTEFACT = Artefact(classes=Classes(names=("red", "green", "blue")), stride=8)


class Cells:
    """Scores the mean colour of each cell of 8x8 pixels, and remembers the sizes that it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(image.shape[:2])
        filled = np.pad(image, ((0, -image.shape[0] % 8), (0, -image.shape[1] % 8), (0, 0)), mode="edge")
        height, width = filled.shape[0] // 8, filled.shape[1] // 8
        return filled.reshape(height, 8, width, 8, 3).mean(axis=(1, 3)).transpose(2, 0, 1).astype(np.float32) / 20


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3)).astype(np.uint8)
    return coarse.repeat(16, 0).repeat(16, 1)[:height, :width]


def mask_of(engine, picture: np.ndarray) -> np.ndarray:
    return Predictor(engine, ARTEFACT)(picture).mask


@settings(max_examples=25, deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90), seed=st.integers(0, 99))
def test_one_view_is_the_plain_engine(height: int, width: int, seed: int) -> None:
    picture = noise(height, width, seed)
    different = mask_of(Views(Cells(), ARTEFACT), picture) != mask_of(Cells(), picture)
    best, second = np.sort(resize_scores(Cells()(picture), picture.shape[:2]), axis=0)[:-3:-1]
    assert (best - second)[different].max(initial=0) < 1e-5  # only ties, which rounding decides


def test_scores_far_apart_survive_the_logarithm() -> None:
    """Probabilities of e**-200 are no floats; between two such places the border must not move."""
    scores = np.array([[[0, -200, -210]], [[-100, 0, 0]], [[-300, -300, -300]]], np.float32)
    one = Views(lambda _: scores, ARTEFACT)(noise(32, 32))
    np.testing.assert_allclose(one - one[0], scores - scores[0], atol=1e-4)


@pytest.mark.parametrize("width", [64, 96])
def test_the_mirror_image_of_an_equivariant_engine_changes_nothing(width: int) -> None:
    picture, engine = noise(64, width), Cells()
    flipped = Views(engine, ARTEFACT, flip="horizontal")(picture)
    assert engine.seen == [(64, width)] * 2
    np.testing.assert_allclose(flipped, log_softmax(Cells()(picture)), atol=1e-5)


def test_views_are_the_mean_of_probabilities() -> None:
    rng = np.random.default_rng(0)
    plain, mirrored = rng.normal(0, 3, (2, 3, 4, 5)).astype(np.float32)
    picture = noise(32, 40)

    def engine(image: np.ndarray) -> np.ndarray:
        return plain if np.array_equal(image, picture) else mirrored

    def softmax(scores: np.ndarray) -> np.ndarray:
        return np.exp(scores) / np.exp(scores).sum(0)

    expected = (softmax(plain) + softmax(mirrored)[:, :, ::-1]) / 2
    np.testing.assert_allclose(np.exp(Views(engine, ARTEFACT, flip="horizontal")(picture)), expected, atol=1e-6)


def test_scales_see_whole_cells_and_share_the_largest_grid() -> None:
    engine = Cells()
    scores = Views(engine, ARTEFACT, scales=(0.3, 1.0, 1.5), flip="horizontal")(noise(70, 100))
    assert engine.seen == [(96, 160)] * 2 + [(70, 100)] * 2 + [(32, 32)] * 2
    assert scores.shape == (3, 12, 20)
    np.testing.assert_allclose(np.exp(scores).sum(0), 1, atol=1e-5)


def test_scales_agree_on_a_simple_picture() -> None:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:, :64, 0], picture[:, 64:, 1] = 200, 200
    mask = mask_of(Views(Cells(), ARTEFACT, scales=(0.5, 1, 2), flip="horizontal"), picture)
    assert (mask[:, :60] == 0).all()
    assert (mask[:, 68:] == 1).all()


@settings(max_examples=40, deadline=None)
@given(
    small=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    large=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    align=st.booleans(),
)
def test_scores_are_resized_as_torch_does(small: tuple[int, int], large: tuple[int, int], align: bool) -> None:
    scores = np.random.default_rng(0).normal(size=(2, *small)).astype(np.float32)
    expected = F.interpolate(torch.from_numpy(scores)[None], large, mode="bilinear", align_corners=align)[0]
    np.testing.assert_allclose(resize_scores(scores, large, align_corners=align), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 96), (40, 33), (64, 50)])
def test_one_tile_is_the_plain_engine(shape: tuple[int, int]) -> None:
    picture, engine = noise(*shape), Cells()
    np.testing.assert_array_equal(Tiles(engine, ARTEFACT, size=(64, 96))(picture), Cells()(picture))
    assert engine.seen == [shape]


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(32, 200), st.integers(32, 200)),
    size=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    overlap=st.floats(0, 0.9),
)
def test_tiles_of_an_engine_that_sees_one_cell_change_nothing(
    shape: tuple[int, int], size: tuple[int, int], overlap: float
) -> None:
    picture, engine = noise(*shape), Cells()
    tiles = Tiles(engine, ARTEFACT, size=(8 * size[0], 8 * size[1]), overlap=overlap)
    np.testing.assert_allclose(tiles(picture), Cells()(picture), rtol=1e-4, atol=1e-4)
    largest = tuple(max(side) for side in zip(*engine.seen, strict=True))
    assert all(side <= 8 * own for side, own in zip(largest, size, strict=True))


@settings(max_examples=100, deadline=None)
@given(cells=st.integers(1, 300), tile=st.integers(1, 40), overlap=st.floats(0, 0.9))
def test_tiles_cover_an_axis_with_the_overlap(cells: int, tile: int, overlap: float) -> None:
    tile = min(tile, cells)
    places = starts(cells, tile, overlap)
    assert places[0] == 0
    assert places[-1] == cells - tile
    steps = np.diff(places)
    assert (steps > 0).all()
    assert (steps <= max(1, int(tile * (1 - overlap)))).all()
    assert (ramp(tile, overlap) > 0).all()


def test_where_tiles_overlap_the_nearer_one_counts_more() -> None:
    tiles = iter([np.zeros((3, 4, 8), np.float32), np.ones((3, 4, 8), np.float32)])
    blended = Tiles(lambda _: next(tiles), ARTEFACT, size=(32, 64), overlap=0.5)(noise(32, 96))
    row = blended[0, 0]
    np.testing.assert_allclose(row[4:8], [0.5 / 4, 1.5 / 4, 2.5 / 4, 3.5 / 4])
    assert (row[:4] == 0).all()
    assert (row[8:] == 1).all()


def test_views_go_around_tiles() -> None:
    picture = noise(96, 128)
    views = Views(Tiles(Cells(), ARTEFACT, size=(64, 64)), ARTEFACT, flip="horizontal")
    np.testing.assert_array_equal(mask_of(views, picture), mask_of(Views(Cells(), ARTEFACT), picture))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Views(Cells(), ARTEFACT, scales=()), "scales; expected one or more"),
        (lambda: Views(Cells(), ARTEFACT, scales=(1, -1)), "scales"),
        (lambda: Views(Cells(), ARTEFACT, scales=(float("nan"),)), "scales"),
        (lambda: Views(Cells(), ARTEFACT, flip="up"), "flip; expected none or horizontal; got 'up'"),
        (lambda: Tiles(Cells(), ARTEFACT, size=(100, 64)), "multiples of the stride 8; got 100x64: take 96x64"),
        (lambda: Tiles(Cells(), ARTEFACT, size=(16, 64)), "32 and more.*: take 32x64"),
        (lambda: Tiles(Cells(), ARTEFACT, size=(64, 64), overlap=1), "overlap"),
    ],
)
def test_settings_without_sense_are_refused(make, words: str) -> None:
    with pytest.raises(FeathersegError, match=words):
        make()


def test_an_engine_of_another_stride_cannot_be_tiled() -> None:
    with pytest.raises(FeathersegError, match="tile of 64x64; expected 8x8 at the stride 8; got 4x4"):
        Tiles(lambda _: np.zeros((3, 4, 4), np.float32), ARTEFACT, size=(64, 64))(noise(96, 96))
