"""Connected parts against scipy-free flooding, and objects worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import blobs, classes, judged

from featherseg.data.components import connected_parts
from featherseg.evaluation import Objects
from featherseg.runtime import FeathersegError


def flooded(labels: np.ndarray) -> np.ndarray:
    """Part ids by flooding from each pixel that has none, in the order of first pixels."""
    ids = np.full(labels.shape, -1)
    count = 0
    for seed in np.ndindex(labels.shape):
        if ids[seed] >= 0:
            continue
        stack = [seed]
        while stack:
            y, x = stack.pop()
            inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
            if inside and ids[y, x] < 0 and labels[y, x] == labels[seed]:
                ids[y, x] = count
                stack += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        count += 1
    return ids


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 999),
    kind=st.sampled_from(["noise", "blobs", "two"]),
)
def test_parts_equal_flooding(shape: tuple[int, int], seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    labels = blobs(rng, *shape, 4) if kind == "blobs" else rng.integers(0, 2 if kind == "two" else 5, shape)
    labels = labels.astype(np.uint8)
    parts = connected_parts(labels)
    np.testing.assert_array_equal(parts.ids, flooded(labels))
    np.testing.assert_array_equal(parts.label[parts.ids], labels)
    np.testing.assert_array_equal(parts.area, np.bincount(parts.ids.ravel()))


def test_a_long_snake_is_one_part() -> None:
    labels = np.zeros((41, 60), np.uint8)
    labels[::2] = 1
    labels[1::4, -1] = labels[3::4, 0] = 1
    assert np.count_nonzero(connected_parts(labels).label == 1) == 1


def one_bin(value: dict, size: str, name: str) -> dict:
    return {key: value[size]["per_class"][name][key] for key in ("objects", "recall", "iou", "found", "invented")}


def test_objects_by_hand() -> None:
    target, mask = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    target[0:4, 0:5] = 1  # small, 20 pixels, 0.2 %: half of it found, 6 pixels spill over
    mask[2:4, 0:5] = 1
    mask[4:5, 0:6] = 1
    target[20:30, 20:30] = 1  # medium, 100 pixels, 1 %: missed
    target[50:70, 50:70] = 1  # large, 400 pixels, 4 %: found, one blob with the next
    target[50:70, 72:92] = 1  # large too
    mask[50:70, 50:92] = 1  # covers both and the 40 pixels between
    mask[95:100, 95:100] = 2  # invented, 25 pixels, small
    measure = Objects(classes(3))
    measure(judged(target, mask, 3))
    value = measure.to_json()
    assert one_bin(value, "small", "class1") == {
        "objects": 1,
        "recall": 0.5,
        "iou": pytest.approx(10 / 26, abs=1e-6),
        "found": 1,
        "invented": 0,
    }
    assert one_bin(value, "medium", "class1") == {"objects": 1, "recall": 0, "iou": 0, "found": 0, "invented": 0}
    large = one_bin(value, "large", "class1")
    assert large == {"objects": 2, "recall": 1, "iou": pytest.approx(400 / 440, abs=1e-6), "found": 1, "invented": 0}
    assert one_bin(value, "small", "class2")["invented"] == 1
    assert value["small"]["per_class"]["class2"]["iou"] is None
    assert value["large"]["objects"] == 3  # the background is one too


def test_the_bins_begin_where_they_say() -> None:
    for pixels, size in ((1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large")):
        target = np.zeros(480 * 640, np.uint8)
        target[:pixels] = 1
        measure = Objects(classes(2))
        measure(judged(target.reshape(480, 640), target.reshape(480, 640), 2))
        assert measure.to_json()[size]["per_class"]["class1"]["objects"] == 1, (pixels, size)


def test_what_is_ignored_or_tiny_is_no_object() -> None:
    target = np.zeros((50, 50), np.uint8)
    target[:, 25:] = 255
    target[3:6, 3:8] = 1  # 15 pixels
    mask = np.zeros((50, 50), np.uint8)
    mask[30:34, 30:40] = 1  # where nothing is known
    measure = Objects(classes(2))
    measure(judged(target, mask, 2))
    assert (measure.count.sum(), measure.invented.sum()) == (1, 0)
    every = Objects(classes(2), smallest=1)
    every(judged(target, mask, 2))
    assert every.count.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_objects_with_edges_out_of_order_are_refused() -> None:
    with pytest.raises(FeathersegError, match="objects: edges"):
        Objects(classes(2), edges=(0.2, 0.1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_perfect_mask_finds_every_object(seed: int) -> None:
    target = blobs(np.random.default_rng(seed), 24, 30, 4, ignored=True)
    measure = Objects(classes(4), smallest=1)
    measure(judged(target, target % 255, 4))
    np.testing.assert_array_equal(measure.iou, measure.count)
    np.testing.assert_array_equal(measure.recall, measure.count)
    assert not measure.invented.any()
