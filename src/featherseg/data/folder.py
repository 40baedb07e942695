"""A person's own labelled pictures.

    ROOT/images/SPLIT/STEM.ext   ROOT/masks/SPLIT/STEM.png   (without SPLIT folders: one split)
    ROOT/classes.yaml

classes.yaml:

    names: [background, cat, dog]      # the id of a class is its place
    ignore_index: 255
    colors: {background: [0, 0, 0], cat: [64, 0, 0], ignore: [255, 255, 255]}  # only where masks are colour-coded
    terms: what the pictures may be used for              # optional; travels with what is trained on them
    allow: [binary-mask]                                  # optional; kinds of fault that are none here
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from featherseg.data.formats import Format
from featherseg.data.masks import MAY_BE_RIGHT, ColourMasks, IndexMasks, MaskReader
from featherseg.data.samples import SegData, pair_up
from featherseg.runtime.classes import Classes, Colour, default_palette
from featherseg.runtime.errors import FeathersegError, refuse_unknown

KEYS = ("names", "ignore_index", "colors", "terms", "allow")
SPLITS = ("train", "val", "test")
IGNORED = "ignore"
"""Of colors: whose pixels count nowhere, unless a class is called so."""


class Settings(NamedTuple):
    """The content of classes.yaml; `colours` are those of classes and of what is ignored, by name."""

    classes: Classes
    colours: dict[str, Colour]
    terms: str
    allowed: tuple[str, ...]


def open_folder(root: Path, split: str) -> SegData:
    """One split of a folder; `split` is left aside where there are no split folders."""
    settings = read_settings(root / "classes.yaml")
    has_splits = splits_of(root) != ("all",)
    part = split if has_splits else "."
    pairs, unpaired = pair_up(root / "images" / part, root / "masks" / part, split=split)
    return SegData(
        name="folder",
        root=root,
        split=split if has_splits else "all",
        classes=settings.classes,
        pairs=pairs,
        unpaired=unpaired,
        masks=reader_of(settings),
        terms=settings.terms,
        allowed=settings.allowed,
    )


def reader_of(settings: Settings) -> MaskReader:
    """Reads ids, or colours where classes.yaml names them."""
    classes = settings.classes
    ids = {name: index for index, name in enumerate(classes.names)}
    doubt_binary = "binary-mask" not in settings.allowed
    if settings.colours:
        colours = {colour: ids.get(name, classes.ignore_index) for name, colour in settings.colours.items()}
        return ColourMasks(colours, classes=classes, doubt_binary=doubt_binary)
    own = {index: index for index in (*ids.values(), classes.ignore_index)}
    return IndexMasks(own, classes=classes, doubt_binary=doubt_binary)


def splits_of(root: Path) -> tuple[str, ...]:
    """The folders below images or masks, train, val and test first; ("all",) where there are none."""
    below = [path for kind in ("images", "masks") for path in (root / kind).glob("*")]
    found = {path.name for path in below if path.is_dir() and not path.name.startswith(".")}
    known = [split for split in SPLITS if split in found]
    return (*known, *sorted(found - set(known))) or ("all",)


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
    for name in content["names"]:
        if isinstance(name, bool):
            raise FeathersegError(
                "names",
                expected="words",
                got=f"YAML's {str(name).lower()}",
                remedy="put words like 'no' and 'yes' in quotes",
            )
    names = tuple(str(name) for name in content["names"])
    colours: dict[str, Colour] = {}
    for name, (red, green, blue) in (content.get("colors") or {}).items():
        refuse_unknown("colors of class", str(name), (*names, IGNORED))
        colour = (int(red), int(green), int(blue))
        if colour in colours.values():
            other = next(known for known in colours if colours[known] == colour)
            raise FeathersegError("colors", expected="one for each class", got=f"{colour} for {other} and {name}")
        colours[str(name)] = colour
    allowed = tuple(str(kind) for kind in content.get("allow") or ())
    for kind in allowed:
        refuse_unknown("allow", kind, MAY_BE_RIGHT)
    palette = default_palette(len(names))
    classes = Classes(
        names=names,
        palette=tuple(colours.get(name, palette[index]) for index, name in enumerate(names)),
        ignore_index=int(content.get("ignore_index", 255)),
    )
    return Settings(classes, colours, str(content.get("terms", "")), allowed)


FORMAT = Format(
    title="a folder with images, masks and classes.yaml",
    open=open_folder,
    looks_like=lambda root: (root / "classes.yaml").is_file(),
    splits=splits_of,
)
