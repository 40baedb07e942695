"""Intervals over pictures against the textbook's resampling; groups by frequency against the paper's table."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from judged import classes, judged

from featherseg.evaluation import Bootstrap, GammaGroups
from featherseg.evaluation.groups import CARD, OWN, magnitudes
from featherseg.metrics import Scores
from featherseg.runtime import Classes, FeathersegError


def confusions(pictures: int = 40, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 50, (count, count)) + np.diag(rng.integers(50, 400, count)) for _ in range(pictures)]


def shown(measure, matrices: list[np.ndarray]) -> None:
    for matrix in matrices:
        measure(SimpleNamespace(confusion=matrix))


def test_every_resample_draws_as_many_pictures_as_there_are() -> None:
    measure = Bootstrap(classes(1), 7, resamples=500)
    shown(measure, [np.array([[1]])] * 7)
    assert (measure.truth == 7).all()
    assert not measure.open.any()


def test_draws_are_multinomial() -> None:
    pictures = 5
    measure = Bootstrap(classes(pictures), pictures, resamples=20_000)
    shown(measure, [np.diag(np.arange(pictures) == index).astype(int) for index in range(pictures)])
    times = measure.hit  # how often each picture is in each resample
    np.testing.assert_allclose(times.mean(0), 1, atol=0.03)
    np.testing.assert_allclose(times.var(0), 1 - 1 / pictures, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(times.T)[0, 1:], -1 / (pictures - 1), atol=0.03)


def test_intervals_equal_the_textbook() -> None:
    matrices = confusions()
    measure = Bootstrap(classes(3), len(matrices), resamples=4000)
    shown(measure, matrices)
    rng = np.random.default_rng(2)
    stack = np.stack(matrices)
    plain = [Scores(stack[rng.integers(0, 40, 40)].sum(0), classes(3)).miou for _ in range(4000)]
    np.testing.assert_allclose(measure.interval(measure.miou), np.quantile(plain, [0.025, 0.975]), atol=0.002)
    low, high = measure.to_json()["miou"]
    assert low < Scores(stack.sum(0), classes(3)).miou < high


def test_equal_seeds_draw_equal_pictures() -> None:
    matrices = confusions()
    first, again, other = (Bootstrap(classes(3), 40, resamples=50, seed=seed) for seed in (0, 0, 1))
    for measure in (first, again, other):
        shown(measure, matrices)
    np.testing.assert_array_equal(first.miou, again.miou)
    assert not np.array_equal(first.miou, other.miou)


def test_pictures_that_are_all_alike_leave_no_doubt() -> None:
    measure = Bootstrap(classes(3), 9)
    shown(measure, [np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])] * 9)
    value = measure.to_json()
    assert value["miou"] == [pytest.approx((3 / 4 + 2 / 3) / 2, abs=1e-6)] * 2
    assert value["iou"]["class2"] == [None, None]
    assert value["pixel_accuracy"] == [pytest.approx(5 / 6, abs=1e-6)] * 2


def test_too_few_pictures_or_resamples_are_refused() -> None:
    measure = Bootstrap(classes(3), 3)
    shown(measure, confusions(2))
    with pytest.raises(FeathersegError, match="bootstrap: pictures; expected 3; got 2"):
        measure.to_json()
    with pytest.raises(FeathersegError, match="bootstrap: pictures; expected 3; got more"):
        shown(measure, confusions(2))
    with pytest.raises(FeathersegError, match="resamples"):
        Bootstrap(classes(3), 3, resamples=1)


CITYSCAPES = {  # name: (share of the labelled pixels, IoU of AFFNet in paper 004, Table VIII)
    "road": (0.368697, 96.9),
    "sidewalk": (0.060850, 83.2),
    "building": (0.228240, 90.4),
    "wall": (0.006554, 78.3),
    "fence": (0.008773, 66.7),
    "pole": (0.012273, 40.3),
    "traffic light": (0.002078, 48.5),
    "traffic sign": (0.005513, 61.4),
    "vegetation": (0.159287, 90.1),
    "terrain": (0.011578, 74.1),
    "sky": (0.040190, 92.6),
    "person": (0.012190, 71.5),
    "rider": (0.001351, 52.4),
    "car": (0.069945, 92.1),
    "truck": (0.002675, 81.5),
    "bus": (0.002352, 83.9),
    "train": (0.002329, 81.5),
    "motorcycle": (0.000987, 60.7),
    "bicycle": (0.004139, 62.0),
}


def with_iou(percents: list[float]) -> np.ndarray:
    """A confusion matrix with these IoU: what is missed goes to an extra class, which is not asked for."""
    matrix = np.diag([round(10 * value) for value in percents] + [0])
    matrix[:-1, -1] = [1000 - round(10 * value) for value in percents]
    return matrix


def test_groups_are_those_of_the_papers_table() -> None:
    names = Classes(names=(*CITYSCAPES, "nothing"))
    measure = GammaGroups(names, [*(share for share, _ in CITYSCAPES.values()), 0.0])
    shown(measure, [with_iou([iou for _, iou in CITYSCAPES.values()])])
    assert {gamma: len(members) for gamma, members in measure.groups().items()} == {0: 10, 1: 6, 2: 3}
    assert {gamma: round(100 * value, 1) for gamma, value in measure.miou().items()} == {0: 67.7, 1: 75.6, 2: 92.5}
    assert "nothing" not in measure.text()


def test_magnitudes_are_those_of_the_loss() -> None:
    losses = pytest.importorskip("featherseg.losses")
    rng = np.random.default_rng(0)
    for _ in range(50):
        shares = tuple(10 ** rng.uniform(-5, 0, 7))
        assert magnitudes(shares) == losses.object_weights(shares)[1]
    assert magnitudes((0.001, 0.0, 0.01, 0.1)) == [0, None, 1, 2]


@pytest.mark.parametrize(
    ("card", "source"),
    [
        ({"data": {"class_frequencies": [0.9, 0.05, 0.05]}}, CARD),
        ({"data": {"class_frequencies": {"class2": 0.05, "class1": 0.05, "class0": 0.9}}}, CARD),
        ({"data": {"class_frequencies": [0.9, 0.1]}}, OWN),
        ({"data": {}}, OWN),
        ({}, OWN),
    ],
)
def test_frequencies_come_from_the_card_or_from_the_pictures(card: dict, source: str) -> None:
    measure = GammaGroups.by_card(classes(3), card)
    target = np.zeros((10, 10))
    target[0], target[1] = 1, 2
    measure(judged(target, target, 3))
    value = measure.to_json()
    assert value["frequencies"] == source
    assert source in measure.text()
    # By the card class0 is 18 times as frequent as the others; on the picture it is 8 times.
    assert value["gamma"]["0"]["classes"] == list(classes(3).names)[1 if source == CARD else 0 :]


def test_frequencies_of_the_wrong_number_are_refused() -> None:
    with pytest.raises(FeathersegError, match="groups: frequencies; expected 3 shares; got 2"):
        GammaGroups(classes(3), [0.5, 0.5])
