"""Frame after frame of a video, as one engine around an engine: labels that flicker less."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featherseg.runtime.engines import Engine
from featherseg.runtime.errors import FeathersegError

Scores = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


class Smoothed:
    """The exponential average of an engine's scores over the pictures that it is given, one after the other.

    ``average = past * average + (1 - past) * scores``. As with tiles, the mean of scores is the logarithm of the
    geometric mean of probabilities, so scores may be given up to a number per place. What moves leaves a trail of about
    1 / (1 - past) frames. One object is for one video; a picture of another size begins anew.

    Args:
        engine: what runs each frame.
        past: the weight of what was before, 0 (nothing changes) to below 1.
    """

    def __init__(self, engine: Engine, past: float) -> None:
        if not 0 <= past < 1:
            raise FeathersegError("smooth", expected="the weight of the past, 0 to below 1", got=past)
        self.engine = engine
        self.past = np.float32(past)
        self.average: Scores | None = None
        self.size: tuple[int, ...] = ()  # of the picture before

    def __call__(self, image: Picture) -> Scores:
        """uint8 (H,W,3) -> float32 (C,h,w); the arrays given before are left alone."""
        scores = self.engine(image)
        if self.past and self.average is not None and self.size == image.shape:
            scores = scores + self.past * (self.average - scores)
        self.average, self.size = scores, image.shape
        return scores
