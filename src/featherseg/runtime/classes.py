"""What the numbers in a mask mean: names, colours and the id that does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from featherseg.runtime.errors import FeathersegError

Colour = tuple[int, int, int]

MOST_CLASSES = 255
"""A byte counts that far beside the ignore index."""


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, in the order of their ids.

    Attributes:
        names: one name per class; the id of a class is its place.
        palette: one RGB colour (0..255) per class.
        ignore_index: the label of pixels that count nowhere, 0..255, outside the classes' ids.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...] = ()
    ignore_index: int = 255

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        if any(len(colour) != 3 for colour in self.palette):
            raise FeathersegError("classes.palette", expected="colours of red, green and blue")
        palette = tuple((int(r), int(g), int(b)) for r, g, b in self.palette) or default_palette(len(names))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "palette", palette)
        if not 1 <= len(names) <= MOST_CLASSES:
            raise FeathersegError("classes.names", expected=f"1 to {MOST_CLASSES} names", got=len(names))
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise FeathersegError("classes.names", expected="each name once", got=f"{twice!r} twice")
        if len(palette) != len(names):
            raise FeathersegError("classes.palette", expected=f"{len(names)} colours", got=len(palette))
        if any(not 0 <= part <= 255 for colour in palette for part in colour):
            raise FeathersegError("classes.palette", expected="colours of 0..255")
        if not len(names) <= self.ignore_index <= 255:
            raise FeathersegError(
                "classes.ignore_index", expected=f"{len(names)}..255 (above the class ids)", got=self.ignore_index
            )

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        """The three values as they lie in every artefact."""
        return {
            "classes": list(self.names),
            "palette": [list(colour) for colour in self.palette],
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Classes:
        """The inverse of `to_json`; other keys are left alone."""
        return cls(
            names=tuple(value["classes"]),
            palette=tuple(tuple(colour) for colour in value["palette"]),
            ignore_index=int(value["ignore_index"]),
        )


def default_palette(count: int) -> tuple[Colour, ...]:
    """The PASCAL VOC colours: bit k of the three colour bits of an id goes to bit 7-k of red, green and blue."""
    colours = []
    for index in range(count):
        red = green = blue = 0
        bits = index
        for place in range(7, -1, -1):
            red |= (bits & 1) << place
            green |= (bits >> 1 & 1) << place
            blue |= (bits >> 2 & 1) << place
            bits >>= 3
        colours.append((red, green, blue))
    return tuple(colours)
