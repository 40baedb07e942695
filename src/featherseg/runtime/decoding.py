"""Picture files to pixels, as they are stored or as the eye sees them, with every way of failing as one line that names
the file.
"""

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

EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
UPRIGHT = {  # the EXIF orientation -> what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns at half the size that it refuses; the refusal is enough. Said once, behind all that the caller filters:
# the filters are one list for all threads, which those that read must not change.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)


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
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FeathersegError(
            f"{os.fspath(path)}: the picture is too large ({error})", remedy="cut it into smaller pictures"
        ) from error
    except (OSError, SyntaxError, ValueError, RuntimeError, struct.error) as error:  # RuntimeError: of AVIF
        raise unreadable(os.fspath(path), error) from error


def load_pixels(image: Image.Image, name: str) -> None:
    """Decode the pixels."""
    try:
        image.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        RuntimeError,
        IndexError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
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


def seen_size(image: Image.Image) -> tuple[int, int]:
    """(height, width) as the eye sees it, from the header."""
    return image.size if _orientation(image) in SIDEWAYS else (image.height, image.width)


def scaled_down(image: Image.Image, at_least: tuple[int, int]) -> None:
    """Have an opened JPEG decoded at a half, a quarter or an eighth of its size, no smaller than (height, width)."""
    size = at_least if _orientation(image) in SIDEWAYS else at_least[::-1]  # Pillow's is (width, height), as stored
    image.draft(image.mode, size)


def as_seen(image: Image.Image, name: str) -> Image.Image:
    """The picture decoded, upright, 8 bits, RGB; the image itself where it is all that."""
    load_pixels(image, name)
    orientation = _orientation(image)
    if image.mode in SIXTEEN_BITS:
        image = _high_byte(image, name)
    elif "transparency" in image.info:
        image = image.copy()  # whose info is its own
        del image.info["transparency"]  # Pillow would warn that it is lost
    elif image.mode == "F":
        raise FeathersegError(f"{name}: floating point pixels have no agreed range", remedy="convert it to 8 bits")
    try:
        image = image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise FeathersegError(f"{name}: a picture of mode {image.mode}", expected="RGB or gray") from error
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
        image.info = {}  # or it would be turned once more where it is read again
    return image


def _high_byte(image: Image.Image, name: str) -> Image.Image:
    """16-bit gray -> 8-bit gray."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise FeathersegError(
            f"{name}: gray values",
            expected="0..65535",
            got=f"{values.min()}..{values.max()}",
            remedy="convert to 8 bits",
        )
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation; None where there is none or the EXIF block is broken, which harms no pixel."""
    try:
        value = image.getexif().get(EXIF_ORIENTATION)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return None
    return value if isinstance(value, int) else None
