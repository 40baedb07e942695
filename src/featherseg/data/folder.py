"""A person's own labelled pictures.

    ROOT/images/SPLIT/STEM.ext   ROOT/masks/SPLIT/STEM.png   (without SPLIT folders: one split)
    ROOT/classes.yaml

classes.yaml:

    names: [background, cat, dog]      # the id of a class is its place
    ignore_index: 255
    colors: {background: [0, 0, 0], cat: [64, 0, 0]}      # only where masks are colour-coded
    terms: what the pictures may be used for              # optional; travels with what is trained on them
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featherseg.data.samples import IndexMasks, Mask, SegData, pair_up
from featherseg.runtime.classes import Classes, Colour, default_palette
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import read_image

KEYS = ("names", "ignore_index", "colors", "terms")


class Settings(NamedTuple):
    """The content of classes.yaml."""

    classes: Classes
    colours: dict[str, Colour]
    terms: str


def open_folder(root: Path, split: str) -> SegData:
    """One split of a folder; `split` is left aside where there are no split folders."""
    classes, colours, terms = read_settings(root / "classes.yaml")
    has_splits = any(path.is_dir() and not path.name.startswith(".") for path in (root / "images").glob("*"))
    part = split if has_splits else "."
    ids = {index: index for index in range(len(classes))} | {classes.ignore_index: classes.ignore_index}
    decode: Callable[[Path], Mask] = ColourMasks(colours, classes) if colours else IndexMasks(ids, classes=classes)
    return SegData(
        name="folder",
        root=root,
        split=split if has_splits else "all",
        classes=classes,
        pairs=pair_up(root / "images" / part, root / "masks" / part, split=split),
        decode=decode,
        terms=terms,
    )


def is_folder(root: Path) -> bool:
    """Whether the tree looks like the folder format."""
    return (root / "classes.yaml").is_file()


def read_settings(path: Path) -> Settings:
    """The checked content of classes.yaml; every fault is one line that names the file."""
    import yaml

    if not path.is_file():
        raise FeathersegError(
            f"{path}: there is no such file", remedy="write one with a line like 'names: [background, cat, dog]'"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise FeathersegError(f"{path}: no valid YAML ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("names"), list) or not content["names"]:
        raise FeathersegError(f"{path}", expected="a line like 'names: [background, cat, dog]'")
    for key in content:
        refuse_unknown(f"{path}: key", key, KEYS)
    try:
        return settings_of(content)
    except FeathersegError as error:
        raise FeathersegError(f"{path}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise FeathersegError(
            f"{path}: a value of the wrong kind ({error})",
            expected="ignore_index: 255 and colors: {cat: [64, 0, 0], ...}",
        ) from error


def settings_of(content: dict[str, Any]) -> Settings:
    """classes.yaml's values as what they mean."""
    names = tuple(str(name) for name in content["names"])
    colours: dict[str, Colour] = {}
    for name, (red, green, blue) in (content.get("colors") or {}).items():
        refuse_unknown("colors of class", str(name), names)
        colours[str(name)] = (int(red), int(green), int(blue))
    palette = default_palette(len(names))
    classes = Classes(
        names=names,
        palette=tuple(colours.get(name, palette[index]) for index, name in enumerate(names)),
        ignore_index=int(content.get("ignore_index", 255)),
    )
    return Settings(classes, colours, str(content.get("terms", "")))


class ColourMasks:
    """Reads colour-coded masks; a colour that no class has is refused with file, colour and pixel.

    Args:
        colours: class name -> RGB.
        classes: what the ids mean.
    """

    def __init__(self, colours: dict[str, Colour], classes: Classes) -> None:
        self.codes = {classes.names.index(name): r << 16 | g << 8 | b for name, (r, g, b) in colours.items()}
        self.ignore_index = classes.ignore_index

    def __call__(self, path: Path) -> Mask:
        """A mask file -> uint8 (H,W) class ids."""
        image = read_image(path).astype(np.uint32)
        codes = image[..., 0] << 16 | image[..., 1] << 8 | image[..., 2]
        ids = np.full(codes.shape, self.ignore_index, np.uint8)
        known = np.zeros(codes.shape, bool)
        for class_id, code in self.codes.items():
            here = codes == code
            ids[here] = class_id
            known |= here
        if not known.all():
            row, column = (int(place) for place in np.argwhere(~known)[0])
            raise FeathersegError(
                f"{path}: colour {tuple(image[row, column].tolist())} at pixel (x={column}, y={row}) is no class",
                expected="the colours of classes.yaml",
                remedy="add it to colors, or save the masks without anti-aliasing",
            )
        return ids
