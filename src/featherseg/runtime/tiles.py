"""A large picture in overlapping tiles, as one engine around an engine; the scores are blended in the overlaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featherseg.runtime.artefact import Artefact
from featherseg.runtime.engines import Engine
from featherseg.runtime.errors import FeathersegError

Scores = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


class Tiles:
    """Runs an engine on tiles of a picture and puts their scores together.

    Tiles lie evenly, on whole cells of scores, so that neighbours overlap by `overlap` of a tile or more. Where they
    do, their scores are averaged with weights that fall off linearly towards each tile's edge, where a network sees
    least of the surroundings. The mean of scores is the logarithm of the geometric mean of probabilities, so it does
    not matter that scores are only given up to a number per place. A side that is no multiple of the stride is filled
    up by repeating the last row or column. A picture that one tile covers goes to the engine as it is.

    Args:
        engine: what runs each tile.
        artefact: the network's; its stride is used.
        size: (height, width) of a tile, multiples of the stride, 32 and more.
        overlap: the least share of a tile that it shares with the next, 0 to 0.9.
    """

    def __init__(self, engine: Engine, artefact: Artefact, *, size: tuple[int, int], overlap: float = 0.25) -> None:
        stride = artefact.stride
        if any(side < 32 or side % stride for side in size):
            nearest = "x".join(str(max(-(-32 // stride), round(side / stride)) * stride) for side in size)
            raise FeathersegError(
                "tiles",
                expected=f"sides of 32 and more, multiples of the stride {stride}",
                got="x".join(map(str, size)),
                remedy=f"take {nearest}",
            )
        if not 0 <= overlap <= 0.9:
            raise FeathersegError("overlap", expected="a share of the tile, 0 to 0.9", got=overlap)
        self.engine = engine
        self.stride = stride
        self.size = size
        self.overlap = overlap

    def __call__(self, image: Picture) -> Scores:
        """uint8 (H,W,3) -> float32 (C,h,w) at the stride."""
        height, width = image.shape[:2]
        if height <= self.size[0] and width <= self.size[1]:
            return self.engine(image)
        image = np.pad(image, ((0, -height % self.stride), (0, -width % self.stride), (0, 0)), mode="edge")
        cells = [side // self.stride for side in image.shape[:2]]
        tile = [min(side // self.stride, own) for side, own in zip(self.size, cells, strict=True)]
        weight = np.outer(ramp(tile[0], self.overlap), ramp(tile[1], self.overlap))

        total: Scores | None = None
        weights = np.zeros(cells, np.float32)
        for y in starts(cells[0], tile[0], self.overlap):
            for x in starts(cells[1], tile[1], self.overlap):
                scores = self._run(image, y, x, tile)
                if total is None:
                    total = np.zeros((len(scores), *cells), np.float32)
                part = slice(y, y + tile[0]), slice(x, x + tile[1])
                total[:, *part] += weight * scores
                weights[part] += weight
        assert total is not None
        return total / weights

    def _run(self, image: Picture, y: int, x: int, tile: list[int]) -> Scores:
        """The scores of the tile that begins at the cell (y, x)."""
        (top, left), (height, width) = ((a * self.stride, b * self.stride) for a, b in ((y, x), tile))
        scores = self.engine(np.ascontiguousarray(image[top : top + height, left : left + width]))
        if scores.shape[1:] != tuple(tile):
            raise FeathersegError(
                f"tiles: the scores of a tile of {height}x{width}",
                expected=f"{tile[0]}x{tile[1]} at the stride {self.stride}",
                got="x".join(map(str, scores.shape[1:])),
            )
        return scores


def starts(cells: int, tile: int, overlap: float) -> list[int]:
    """Where the tiles of one axis begin: as few as reach the end with the overlap, evenly spread; all in cells."""
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(cells - tile) // step) + 1
    return [round(index * (cells - tile) / max(1, count - 1)) for index in range(count)]


def ramp(tile: int, overlap: float) -> npt.NDArray[np.float32]:
    """A tile's weights along one axis: rising from its edges over the overlap, 1 between; (tile,)."""
    place = np.arange(tile)
    from_edge = np.minimum(place, place[::-1]) + 0.5
    return np.minimum(1, from_edge / max(0.5, tile * overlap)).astype(np.float32)
