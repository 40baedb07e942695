"""IoU and recall by the size of objects, where an object is a connected part of a class in the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featherseg.data.components import Parts, connected_parts
from featherseg.evaluation.evaluate import Judged
from featherseg.evaluation.measure import percent
from featherseg.metrics import Fractions, json_number
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError

SIZES = ("small", "medium", "large")
EDGES = (32 * 32 / (480 * 640), 96 * 96 / (480 * 640))
"""COCO's 32 x 32 and 96 x 96 pixels as shares of a picture of 480 x 640: 0.33 % and 3 %."""

FOUND = 0.5

SMALLEST = 16
"""Of the 6476 parts of CamVid's 101 val masks, 2571 have fewer pixels, 1051 a single one: debris of the drawing."""


class Objects:
    """Scores of objects in three bins of size.

    An object is an 8-connected part of one class in the truth; its size is its share of the picture's pixels. The
    prediction's parts are taken in the same way, ignored pixels left out. Of an object o of class c:

    - recall is the share of its pixels that are predicted as c; it is *found* where that is half or more;
    - IoU is |o & P| / |o | Q|: P all pixels predicted as c, and Q those parts of P that touch o, without their pixels
      in other true objects of class c. So what spills over an object's edge counts against it, and a blob that covers
      two objects counts its surplus against both.

    A part of the prediction that touches no object of its class is *invented*, and binned by its own size.

    Args:
        classes: the data's.
        edges: where medium and large begin, as shares of the picture.
        smallest: objects and inventions of fewer pixels are left out.
    """

    name = "objects"

    def __init__(self, classes: Classes, *, edges: tuple[float, float] = EDGES, smallest: int = SMALLEST) -> None:
        if not 0 < edges[0] < edges[1]:
            raise FeathersegError("objects: edges", expected="two shares of the picture, ascending", got=edges)
        self.classes = classes
        self.edges = edges
        self.smallest = smallest
        shape = (len(classes), len(SIZES))
        self.count, self.found, self.invented = (np.zeros(shape, np.int64) for _ in range(3))
        self.recall, self.iou = (np.zeros(shape, np.float64) for _ in range(2))  # sums over objects

    def __call__(self, judged: Judged) -> None:
        """Add one picture."""
        target, ignore_index = judged.sample.mask, self.classes.ignore_index
        mask = np.where(target == ignore_index, target, judged.mask)
        true, found = connected_parts(target), connected_parts(mask)
        right = (target == mask) & (target != ignore_index)
        hit = np.bincount(true.ids[right], minlength=len(true.area))
        surplus = np.bincount(found.ids[target != mask], minlength=len(found.area))
        objects, blobs = touching(true, found, right)
        union = true.area + np.bincount(objects, weights=surplus[blobs], minlength=len(true.area))
        recall, iou = hit / true.area, hit / union

        counted = (true.label != ignore_index) & (true.area >= self.smallest)
        place = self._places(true, target.size)[counted]
        self._add(self.count, place, np.ones(len(place)))
        self._add(self.found, place, recall[counted] >= FOUND)
        self._add(self.recall, place, recall[counted])
        self._add(self.iou, place, iou[counted])

        invented = (found.label != ignore_index) & (found.area >= self.smallest)
        invented[blobs] = False
        place = self._places(found, target.size)[invented]
        self._add(self.invented, place, np.ones(len(place)))

    def _places(self, parts: Parts, pixels: int) -> npt.NDArray[np.intp]:
        """Class and bin of each part as one index."""
        size = np.searchsorted(self.edges, parts.area / pixels, side="right")
        return parts.label.astype(np.intp) * len(SIZES) + size

    def _add(self, sums: npt.NDArray[Any], place: npt.NDArray[np.intp], values: npt.NDArray[Any]) -> None:
        sums += np.bincount(place, weights=values, minlength=sums.size).reshape(sums.shape).astype(sums.dtype)

    def to_json(self) -> dict[str, Any]:
        """For each bin the means over its objects, of all classes together and of each class."""
        sizes = {
            size: {
                **self._bin(self.count[:, place].sum(), *(item[:, place].sum() for item in self._sums())),
                "per_class": {
                    name: self._bin(self.count[index, place], *(item[index, place] for item in self._sums()))
                    for index, name in enumerate(self.classes.names)
                },
            }
            for place, size in enumerate(SIZES)
        }
        return {"edges": [round(edge, 6) for edge in self.edges], "smallest": self.smallest, **sizes}

    def _sums(self) -> tuple[npt.NDArray[Any], ...]:
        return self.recall, self.iou, self.found, self.invented

    def _bin(self, count: Any, recall: Any, iou: Any, found: Any, invented: Any) -> dict[str, Any]:
        def mean(total: Any) -> float | None:
            return json_number(float(total / count)) if count else None

        return {
            "objects": int(count),
            "recall": mean(recall),
            "iou": mean(iou),
            "found": mean(found),
            "invented": int(invented),
        }

    def columns(self) -> dict[str, Fractions]:
        """None."""
        return {}

    def text(self) -> str:
        """A line for each size."""
        value = self.to_json()
        lines = [self._line(size, **value[size]) for size in SIZES]
        low, high = (f"{100 * edge:.2g} %" for edge in self.edges)
        head = (
            f"true objects of {self.smallest} pixels and more by size (medium from {low} of the picture on, large from "
            f"{high}), means over objects:"
        )
        return "\n".join(
            [head, f"  {'':<7} {'objects':>7} {'IoU':>8} {'recall':>8} {'found':>8} {'invented':>9}", *lines]
        )

    def _line(self, size: str, *, objects: int, invented: int, **means: Any) -> str:
        shares = "".join(f" {percent(means[key]):>8}" for key in ("iou", "recall", "found"))
        return f"  {size:<7} {objects:>7}{shares} {invented:>9}"


def touching(
    true: Parts, found: Parts, right: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The pairs (true part, predicted part) that share a right pixel, each once."""
    news = right.copy()  # along a row a pair repeats; only where one of the two changes can another begin
    news[:, 1:] &= (
        (true.ids[:, 1:] != true.ids[:, :-1]) | (found.ids[:, 1:] != found.ids[:, :-1]) | ~right[:, :-1]
    )  # fmt: skip
    pairs = np.unique(true.ids[news] * len(found.area) + found.ids[news])
    return pairs // len(found.area), pairs % len(found.area)
