"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import replace
from pathlib import Path

from featherseg.runtime.engines import BACKENDS, DEVICES
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.predictor import Predictor, Size
from featherseg.runtime.tiles import Tiles
from featherseg.runtime.views import Views


def add_size(parser: argparse.ArgumentParser) -> None:
    """``--size``: what a Predictor takes as `size`."""
    parser.add_argument(
        "--size",
        type=parse_size,
        metavar="own|HxW",
        help="the size at which the network sees a picture, as 720x960, or own for the picture's own (default: the one "
        "that its score was measured with). The mask has the picture's size in any case",
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """``--backend``, wherever a Predictor runs."""
    parser.add_argument("--backend", default="auto", choices=("auto", *BACKENDS), help="what runs the network")


def add_device(parser: argparse.ArgumentParser, what: str = "where it runs", default: str | None = "auto") -> None:
    """``--device``, wherever a network runs."""
    parser.add_argument("--device", default=default, choices=DEVICES, help=what)


OVERLAP = 0.25


def add_views(parser: argparse.ArgumentParser) -> None:
    """``--scales``, ``--flip``, ``--tiles`` and ``--overlap``, which `viewed` reads."""
    parser.add_argument(
        "--scales",
        type=parse_scales,
        metavar="S,...",
        help="mean of the probabilities over pictures at these factors of the size, as 0.75,1,1.25",
    )
    parser.add_argument("--flip", action="store_true", help="mean of the probabilities with those of the mirror image")
    parser.add_argument(
        "--tiles",
        type=parse_tiles,
        metavar="HxW",
        help="run large pictures in overlapping tiles, as 512x512, at their own size unless --size says otherwise",
    )
    parser.add_argument("--overlap", type=float, help=f"least share that two tiles have in common (default: {OVERLAP})")


def viewed(predictor: Predictor, args: argparse.Namespace) -> Predictor:
    """The predictor with the views and tiles that were asked for around its engine."""
    if args.overlap is not None and args.tiles is None:
        raise FeathersegError("--overlap is that of tiles", remedy="add --tiles HxW")
    engine, artefact = predictor.engine, predictor.artefact
    if args.tiles is not None:
        engine = Tiles(engine, artefact, size=args.tiles, overlap=OVERLAP if args.overlap is None else args.overlap)
    if args.scales or args.flip:
        engine = Views(engine, artefact, scales=args.scales or (1.0,), flip="horizontal" if args.flip else "none")
    return replace(predictor, engine=engine)


def overlap_of(args: argparse.Namespace) -> float | None:
    """``--overlap``; None without ``--tiles``."""
    given: float = OVERLAP if args.overlap is None else args.overlap
    return None if args.tiles is None else given


def size_of(args: argparse.Namespace) -> Size:
    """``--size``; with ``--tiles`` the picture's own where it was left out."""
    own: Size = "own"
    size: Size = args.size
    return own if size is None and args.tiles is not None else size


def parse_count(text: str) -> int:
    """1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 and more; got {text!r}")
    return int(text)


def parse_scales(text: str) -> tuple[float, ...]:
    """``0.75,1,1.25`` -> factors."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected factors with commas between, as 0.75,1,1.25; got {text!r}"
        ) from None


def parse_tiles(text: str) -> tuple[int, int]:
    """``HxW`` -> (height, width)."""
    size = None if text == "own" else parse_size(text)
    if not isinstance(size, tuple):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, as 512x512; got {text!r}")
    return size


def parse_names(text: str) -> tuple[str, ...]:
    """``a,b,c`` -> names."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names with commas between; got {text!r}")
    return names


def parse_size(text: str) -> Size:
    """``own`` or ``HxW`` -> what a Predictor takes."""
    if text == "own":
        return "own"
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected own or HEIGHTxWIDTH, as 720x960; got {text!r}")
    return int(match[1]), int(match[2])


def require_folder(option: str, folder: Path) -> None:
    """Refuse, before any work is done, a folder that cannot be made or written to."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise FeathersegError(f"{option} {folder}", expected="a folder", got=f"a file, {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise FeathersegError(f"{option} {folder}: {there} cannot be written to", remedy="choose another folder")
