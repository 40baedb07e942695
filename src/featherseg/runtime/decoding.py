"""Picture files to pixels as they are stored, with every way of failing as one line that names the file."""

from __future__ import annotations

import os
import struct
import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from featherseg.runtime.errors import FeathersegError

SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's modes of 16-bit gray; in mode I the values lie in 32 bits."""


LOSSY = ("JPEG", "MPO", "JPEG2000")
"""Pillow's names of formats that change values."""


class RawMask(NamedTuple):
    """A mask file as it is stored.

    Attributes:
        pixels: integer (H,W), the indices of a palette picture or the values of a gray one; or uint8 (H,W,3) RGB.
        palette: uint8 (256,3), the colours of a palette picture.
        lossy: whether its format blurs values (JPEG).
    """

    pixels: npt.NDArray[np.integer]
    palette: npt.NDArray[np.uint8] | None
    lossy: bool


def read_raw_mask(path: str | os.PathLike[str]) -> RawMask:
    """A mask file as it is stored, whatever it means; errors as `opened` and `load_pixels`."""
    name = os.fspath(path)
    with opened(path) as image:
        step = gray_step(image)
        lossy = image.format in LOSSY
        load_pixels(image, name)
        if image.mode == "LA":
            image = image.convert("L")
        if image.mode in ("P", "L", "1", *SIXTEEN_BITS):
            palette = None
            if image.mode == "P":
                colours = np.array(image.getpalette("RGB") or [], np.uint8)
                palette = np.zeros((256, 3), np.uint8)
                palette[: len(colours) // 3] = colours.reshape(-1, 3)
            values = np.array(image)
            return RawMask((values.astype(np.uint8) if image.mode == "1" else values) // step, palette, lossy)
        return RawMask(np.array(image.convert("RGB")), None, lossy)


def opened(path: str | os.PathLike[str]) -> Image.Image:
    """A picture file with its header read, its pixels not yet."""
    try:
        with warnings.catch_warnings():  # Pillow warns at half the size that it refuses; the refusal is enough
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path)
    except FileNotFoundError as error:
        raise FeathersegError(f"{os.fspath(path)}: there is no such file") from error
    except IsADirectoryError as error:
        raise FeathersegError(f"{os.fspath(path)}: is a folder", expected="a picture") from error
    except UnidentifiedImageError as error:
        raise FeathersegError(
            f"{os.fspath(path)}: is not a picture of a known format",
            remedy="convert it to PNG or JPEG, or leave it out",
        ) from error
    except Image.DecompressionBombError as error:
        raise FeathersegError(
            f"{os.fspath(path)}: the picture is too large ({error})", remedy="cut it into smaller pictures"
        ) from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise unreadable(os.fspath(path), error) from error


def load_pixels(image: Image.Image, name: str) -> None:
    """Decode the pixels."""
    try:
        image.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        IndexError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: Exception) -> FeathersegError:
    """The error of a picture whose pixels cannot be had."""
    return FeathersegError(
        f"{name}: the picture cannot be read ({error or type(error).__name__})",
        remedy="the file is damaged or cut off; copy it again or leave it out",
    )


def gray_step(image: Image.Image) -> int:
    """What an id is multiplied by: Pillow stretches 2- and 4-bit gray to 0..255 as it decodes."""
    tile = getattr(image, "tile", None)  # only pictures that come from a file have it: (codec, box, offset, raw mode)
    raw = tile[0][3] if tile else None
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    return {"L;2": 85, "L;4": 17}.get(raw, 1) if isinstance(raw, str) else 1
