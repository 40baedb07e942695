"""Classes and artefacts: checked when made, the same after a round trip through text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featherseg.runtime import Artefact, Classes, FeathersegError, InputRule, Preprocessing
from featherseg.runtime.classes import default_palette
from featherseg.runtime.errors import nearest, refuse_unknown


def test_default_palette_is_the_one_of_voc() -> None:
    voc = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128))
    assert default_palette(7) == voc
    assert len(set(default_palette(255))) == 255


def test_classes_know_their_number_and_get_colours() -> None:
    classes = Classes(names=("a", "b"))
    assert len(classes) == 2
    assert classes.palette == ((0, 0, 0), (128, 0, 0))
    assert Classes.from_json(classes.to_json()) == classes
    assert Classes(("a", "b"), classes.palette, 255) == classes
    assert Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).std == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    "fields",
    [
        {"names": ()},
        {"names": ("a", "a")},
        {"names": ("a",), "palette": ((0, 0, 0), (1, 1, 1))},
        {"names": ("a",), "palette": ((0, 0, 256),)},
        {"names": ("a",), "palette": ((0, 0),)},
        {"names": ("a", "b"), "ignore_index": 1},
        {"names": ("a", "b"), "ignore_index": 256},
    ],
)
def test_impossible_classes_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(FeathersegError, match="classes"):
        Classes(**fields)


def test_an_artefact_survives_text() -> None:
    artefact = Artefact(
        classes=Classes(names=("road", "sky"), ignore_index=11),
        preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
        input_rule=InputRule(size=(720, 960), fit="letterbox"),
        align_corners=True,
        stride=16,
        card={"miou": 0.5, "data": "camvid"},
    )
    assert Artefact.from_text(artefact.to_text(), source="x") == artefact
    own = Artefact(classes=Classes(names=("a",)))
    assert Artefact.from_text(own.to_text(), source="x").input_rule.size is None


BAD_IGNORE = Artefact(classes=Classes(names=("a", "b"))).to_text().replace("255", "0")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"input_rule": 3}', "null", BAD_IGNORE])
def test_broken_metadata_names_its_file(text: str) -> None:
    with pytest.raises(FeathersegError, match=r"net\.onnx"):
        Artefact.from_text(text, source="net.onnx")


def test_input_rules_are_checked() -> None:
    with pytest.raises(FeathersegError, match="fit"):
        InputRule(size=(3, 4), fit="crop")
    assert InputRule(size=np.array([3, 4])).size == (3, 4)
    for size in ((0, 4), 512, (512,), (64, 64, 3), (64.7, 64.2), "12", ("64", "64"), (None, 64), [[3], [4]]):
        with pytest.raises(FeathersegError, match=r"input_rule.size; expected \(height, width\), two whole numbers"):
            InputRule(size=size)


def test_preprocessing_normalises_each_channel() -> None:
    image = np.array([[[255, 0, 51]]], np.uint8)
    value = Preprocessing(mean=(0.5, 0.5, 0.1), std=(0.5, 0.25, 0.1))(image)
    assert value.shape == (1, 3, 1, 1)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value.ravel(), [1, -2, 1], rtol=1e-6)


def test_errors_are_one_line_and_name_the_nearest() -> None:
    error = FeathersegError("loss", expected="a\nb", got=3, remedy="try a")
    assert str(error) == "loss; expected a b; got 3: try a"
    assert nearest("cban", ["cbam", "eca"]) == "did you mean 'cbam'?"
    assert nearest("zzz", ["cbam"]) == ""
    with pytest.raises(FeathersegError, match="one of se, cbam; got 'cban': did you mean 'cbam'"):
        refuse_unknown("attention", "cban", ["se", "cbam"])
