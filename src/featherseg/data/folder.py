"""A person's own labelled pictures.

    ROOT/images/SPLIT/STEM.ext   ROOT/masks/SPLIT/STEM.png   (without SPLIT folders: one split)
    ROOT/classes.yaml

classes.yaml:

    names: [background, cat, dog]      # the id of a class is its place
    ignore_index: 255
    colors: {background: [0, 0, 0], cat: [64, 0, 0]}      # only where masks are colour-coded
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from featherseg.data.samples import LabelTable, Mask, SegData, pair_up
from featherseg.runtime.classes import Classes, default_palette
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import read_image, read_mask

KEYS = ("names", "ignore_index", "colors", "terms")


def open_folder(root: Path, split: str) -> SegData:
    """One split of a folder; `split` is left aside where there are no split folders."""
    settings = read_classes_file(root / "classes.yaml")
    classes, colours = settings["classes"], settings["colors"]
    has_splits = any(path.is_dir() for path in (root / "images").glob("*"))
    part = split if has_splits else "."
    ids = {index: index for index in range(len(classes))} | {classes.ignore_index: classes.ignore_index}
    table = LabelTable(ids, classes=classes)

    def decode(path: Path) -> Mask:
        return from_colours(path, classes, colours) if colours else table(read_mask(path), path)

    return SegData(
        name="folder",
        root=root,
        split=split if has_splits else "all",
        classes=classes,
        pairs=pair_up(root / "images" / part, root / "masks" / part, split=split),
        decode=decode,
        terms=settings["terms"],
    )


def is_folder(root: Path) -> bool:
    """Whether the tree looks like the folder format."""
    return (root / "classes.yaml").is_file()


def read_classes_file(path: Path) -> dict[str, Any]:
    """The checked content of classes.yaml: classes, colors (name -> RGB), terms."""
    import yaml

    if not path.is_file():
        raise FeathersegError(
            f"{path}: there is no such file", remedy="write one with a line like 'names: [background, cat, dog]'"
        )
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FeathersegError(f"{path}: no valid YAML ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("names"), list):
        raise FeathersegError(f"{path}", expected="a line like 'names: [background, cat, dog]'")
    for key in content:
        refuse_unknown(f"{path}: key", key, KEYS)
    names = tuple(str(name) for name in content["names"])
    colours = {str(name): tuple(int(part) for part in rgb) for name, rgb in (content.get("colors") or {}).items()}
    for name in colours:
        refuse_unknown(f"{path}: colors of class", name, names)
    palette = default_palette(len(names))
    return {
        "classes": Classes(
            names=names,
            palette=tuple(colours.get(name, palette[index]) for index, name in enumerate(names)),  # type: ignore[misc]
            ignore_index=int(content.get("ignore_index", 255)),
        ),
        "colors": colours,
        "terms": str(content.get("terms", "")),
    }


def from_colours(path: Path, classes: Classes, colours: dict[str, tuple[int, ...]]) -> Mask:
    """A colour-coded mask as class ids; a colour that no class has is refused with file, colour and pixel."""
    image = read_image(path).astype(np.uint32)
    codes = image[..., 0] << 16 | image[..., 1] << 8 | image[..., 2]
    ids = np.full(codes.shape, classes.ignore_index, np.uint8)
    known = np.zeros(codes.shape, bool)
    for name, (red, green, blue) in colours.items():
        here = codes == (red << 16 | green << 8 | blue)
        ids[here] = classes.names.index(name)
        known |= here
    if not known.all():
        row, column = (int(place) for place in np.argwhere(~known)[0])
        raise FeathersegError(
            f"{path}: colour {tuple(image[row, column].tolist())} at pixel (x={column}, y={row}) is no class",
            expected="the colours of classes.yaml",
            remedy="add it to colors, or save the masks without anti-aliasing",
        )
    return ids
