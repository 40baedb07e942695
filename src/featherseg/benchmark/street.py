"""What the networks look at: the street that comes with the package; and scores as of one."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
from PIL import Image

from featherseg.benchmark.tails import Scores
from featherseg.runtime.pixels import Picture, read_image, resize


def street_picture(size: tuple[int, int]) -> Picture:
    """uint8 (H,W,3)."""
    with as_file(files("featherseg.runtime") / "bundled" / "street.jpg") as path:
        return resize(read_image(path), size)


def boundary_cells(scores: Scores) -> float:
    """The share of cells whose four corners disagree: what `label_scores` has to compute."""
    top = scores.argmax(axis=0)
    corner = top[:-1, :-1]
    disagree = (corner != top[1:, :-1]) | (corner != top[:-1, 1:]) | (corner != top[1:, 1:])
    return float(disagree.mean()) if disagree.size else 0.0


def street_scores(shape: tuple[int, int, int], seed: int = 0) -> Scores:
    """Scores (C,h,w) as of a street: a smooth hill or two per class, rough at their feet as real scores are.

    For networks with random weights, whose own scores are noise or one class throughout; about a tenth of the cells
    lies on a boundary, more than on real pictures.
    """
    rng = np.random.default_rng(seed)
    classes, height, width = shape
    coarse = rng.standard_normal((classes, 4, 8)).astype(np.float32)
    hills = [np.asarray(Image.fromarray(hill).resize((width, height), Image.Resampling.BICUBIC)) for hill in coarse]
    return (6 * np.stack(hills) + 0.05 * rng.standard_normal(shape)).astype(np.float32)
