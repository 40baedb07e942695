"""A name of trained weights -> its file: in the package, $FEATHERSEG_WEIGHTS, ./weights, the cache, in that order.

A name is a set of files, NAME.onnx, NAME.xml, NAME.safetensors, that lie in one of these folders, side by side or in a
folder NAME of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from featherseg.runtime.engines import BACKENDS
from featherseg.runtime.errors import FeathersegError, nearest

BUNDLED = Path(__file__).with_name("bundled")
"""Networks that come with the package."""

VARIABLE = "FEATHERSEG_WEIGHTS"
MISSING = {
    ".onnx": "featherseg export {name} --to onnx writes one from the checkpoint",
    ".xml": "featherseg export {name} --to openvino writes one from the checkpoint",
}
"""Suffix -> what makes such a file, where a name has a checkpoint alone."""

SUFFIXES = tuple(backend.suffix for backend in BACKENDS.values())


def folders() -> list[Path]:
    """Where names are looked for, first to last; a folder need not exist."""
    own = os.environ.get(VARIABLE)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [BUNDLED, *([Path(own).expanduser()] if own else []), Path("weights"), Path(cache) / "featherseg"]


def available() -> dict[str, list[Path]]:
    """Every known name, sorted, and its files, the first place first."""
    found: dict[str, list[Path]] = {}
    for folder in folders():
        for path in _weights_in(folder):
            found.setdefault(path.stem, []).append(path)
    return dict(sorted(found.items()))


def find(name: str, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file of a name; an earlier suffix goes before an earlier folder.

    Args:
        name: as `affnet-camvid`.
        suffixes: which kinds of file will do, the preferred one first.

    Raises:
        FeathersegError: for an unknown name, with the known ones; and for a name that has no such file.
    """
    known = available()
    if name not in known:
        names = ", ".join(known) or f"none: no weights in {', '.join(map(str, folders()))}"
        raise FeathersegError(f"there are no weights {name!r}; known names are {names}", remedy=nearest(name, known))
    for suffix in suffixes:
        for path in known[name]:
            if path.suffix == suffix:
                return path
    lies_in = "{name}{suffix} is looked for in {folders}"
    exportable = any(path.suffix == BACKENDS["torch"].suffix for path in known[name])
    remedy = MISSING.get(suffixes[0], lies_in) if exportable else lies_in
    raise FeathersegError(
        f"weights {name!r}",
        expected=f"a file {' or '.join(suffixes)}",
        got=", ".join(str(path) for path in known[name]),
        remedy=remedy.format(name=name, suffix=suffixes[0], folders=", ".join(map(str, folders()))),
    )


def _weights_in(folder: Path) -> Iterator[Path]:
    """Files NAME.ext and NAME/NAME.ext of a folder."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # missing, or not ours to read: neither is an error
        return
    for entry in entries:
        if entry.suffix in SUFFIXES and entry.is_file():
            yield entry
        elif entry.is_dir():
            own = (entry / f"{entry.name}{suffix}" for suffix in SUFFIXES)
            yield from (path for path in own if path.is_file())
