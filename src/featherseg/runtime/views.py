"""Several views of one picture, at several scales and mirrored, as one engine around an engine.

The views' scores are brought to one grid (that of the largest view), turned into probabilities (softmax), averaged,
and given as the logarithm of the mean. The logarithm keeps the rest of the walk as it is: for a single view it is the
scores less a number that is the same for all classes at a place, so the labels are those of the plain engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from featherseg.runtime.artefact import Artefact
from featherseg.runtime.axes import Axis, Span
from featherseg.runtime.engines import Engine
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import resize, whole_cells

Scores = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

LARGEST_SCALE = 8.0


class Views:
    """The mean of an engine's probabilities over scales and mirror images.

    Args:
        engine: what runs each view; tiles over an engine too.
        artefact: the network's; align_corners is used.
        scales: factors of the sides of the picture that the network sees. At 1 it is left as it is; at others sides
            are rounded to multiples of 32, one at least.
        flip: "none", or "horizontal" for the mirror image beside each view.
    """

    def __init__(
        self, engine: Engine, artefact: Artefact, *, scales: Sequence[float] = (1.0,), flip: str = "none"
    ) -> None:
        if not scales or not all(0 < scale <= LARGEST_SCALE for scale in scales):
            raise FeathersegError("scales", expected=f"one or more factors, above 0 to {LARGEST_SCALE:g}", got=scales)
        if flip not in ("none", "horizontal"):
            raise FeathersegError("flip", expected="none or horizontal", got=repr(flip))
        self.engine = engine
        self.artefact = artefact
        self.scales = tuple(sorted(scales, reverse=True))  # the largest first: its grid is everyone's
        self.flip = flip

    def __call__(self, image: Picture) -> Scores:
        """uint8 (H,W,3) -> float32 (C,h,w), logarithms of probabilities."""
        total: Scores | None = None
        count = 0
        for scores in self._scores(image):
            if total is None:
                total = log_softmax(scores)
            else:
                on_grid = resize_scores(scores, total.shape[1:], align_corners=self.artefact.align_corners)
                np.logaddexp(total, log_softmax(on_grid), out=total)
            count += 1
        assert total is not None
        return total - np.float32(np.log(count))

    def _scores(self, image: Picture) -> Iterator[Scores]:
        for scale in self.scales:
            view = image if scale == 1 else resize(image, self._size(image, scale))
            yield self.engine(view)
            if self.flip == "horizontal":
                yield self.engine(np.ascontiguousarray(view[:, ::-1]))[:, :, ::-1]

    def _size(self, image: Picture, scale: float) -> tuple[int, int]:
        """The view's sides."""
        height, width = (whole_cells(side * scale) for side in image.shape[:2])
        return height, width


def log_softmax(scores: Scores) -> Scores:
    """Logarithms of the classes' probabilities, (C,h,w)."""
    shifted = scores - scores.max(axis=0)
    shifted -= np.log(np.exp(shifted).sum(axis=0))
    return np.asarray(shifted, np.float32)


def resize_scores(scores: Scores, size: tuple[int, ...], *, align_corners: bool = False) -> Scores:
    """Bilinear, (C,h,w) -> (C,H,W), of the same geometry as `label_scores`; scores of that size are left alone."""
    if scores.shape[1:] == tuple(size):
        return np.asarray(scores, np.float32)
    rows, columns = (
        Axis.of(there, wanted, Span(wanted, 0, wanted), align_corners=align_corners)
        for there, wanted in zip(scores.shape[1:], size, strict=True)
    )
    scores = scores[:, rows.read, columns.read]
    (above, below), (left, right) = rows.neighbours(), columns.neighbours()
    down = rows.fraction[:, None]
    tall = scores[:, above] + down * (scores[:, below] - scores[:, above])
    return np.asarray(tall[:, :, left] + columns.fraction * (tall[:, :, right] - tall[:, :, left]), np.float32)
