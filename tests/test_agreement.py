"""What is said of a file that does not agree: what was expected, and where it was worst."""

from __future__ import annotations

import numpy as np

from featherseg.export.agreement import SIZES, Agreement, measure_agreement
from featherseg.models import create_model
from featherseg.models.engine import TorchEngine
from featherseg.runtime.artefact import Artefact
from featherseg.runtime.classes import Classes


def agreement_of(precision: str, **values: object) -> Agreement:
    known = {"sizes": SIZES, "pictures": 1, "largest_difference": 0.31, "equal_pixels": 0.95, "latency_ms": (1.0, 1.0)}
    return Agreement(precision=precision, **{**known, **values})  # type: ignore[arg-type]


def test_eight_bits_are_judged_by_pixels_not_by_scores() -> None:
    agreement = agreement_of("int8", max_drop=0.5, equal_at=(0.98, 0.99, 0.8), layers_in_float=tuple("abcdef"))
    assert agreement.tolerance == "97 % equal pixels and at most 0.5 mIoU points lost"
    assert agreement.summary() == "95.000 % equal pixels (at 64x96 80.000 %) with a, b, c, d and 2 more in float"


def test_other_precisions_are_judged_by_both() -> None:
    agreement = agreement_of("fp32")
    assert agreement.tolerance == "scores within 0.001 of the largest and 99.99 % equal pixels"
    assert agreement.summary() == "scores within 0.31 and 95.000 % equal pixels"


def test_equal_pixels_are_told_for_each_size() -> None:
    network = create_model("fast_scnn", num_classes=3).eval()
    artefact = Artefact(classes=Classes(names=("a", "b", "c")), stride=network.stride)
    engine = TorchEngine(network, artefact, device="cpu")

    def wrong_at_the_smallest(image: np.ndarray) -> np.ndarray:
        scores = engine(image)
        return np.roll(scores, 1, axis=0) if image.shape[:2] == SIZES[-1] else scores

    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    agreement = measure_agreement(network, artefact, wrong_at_the_smallest, [picture], precision="fp32")
    assert agreement.equal_at == (1.0, 1.0, 0.0)
    pixels = [height * width for height, width in SIZES]
    assert agreement.equal_pixels == (pixels[0] + pixels[1]) / sum(pixels)
