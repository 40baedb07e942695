"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from featherseg.runtime.engines import BACKENDS, DEVICES
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.predictor import Size


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
