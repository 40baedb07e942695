"""Pictures and masks between disk and arrays: read, resize, colour, write whole or not at all.

A picture is uint8 (H,W,3) RGB, upright; a mask is uint8 (H,W) of class ids.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from featherseg.runtime.axes import Box
from featherseg.runtime.classes import Classes, Colour
from featherseg.runtime.decoding import as_seen, opened, read_raw_mask, scaled_down, seen_size
from featherseg.runtime.errors import FeathersegError

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
PictureSource: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]"
Pixels: TypeAlias = "Image.Image | Picture"
"""A picture as it is held between reading and writing: Pillow's own, RGB and upright, or the array that was given."""

# fmt: off
CELL = 32
"""Networks take sides of 32 pixels and more; their deepest features lie at up to 1/32 of that."""

PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm",
    ".pnm", ".jp2", ".avif", ".tga",
)
# fmt: on
"""The files taken from a folder, by lower-case suffix; a file that a person names may end as it likes."""

GRAY: Colour = (128, 128, 128)
IGNORED: Colour = (255, 255, 255)
"""The colour of the ignore index in coloured masks; a data set's background is black more often than white."""


def read_image(source: PictureSource) -> Picture:
    """A picture as the eye sees it: upright (EXIF orientation applied), 8 bits, RGB.

    16-bit gray keeps its high byte (Pillow does the same with 16-bit colour). Transparency is dropped, not blended:
    the colours under it are kept, as training tools do. Of an animation the first frame is read.

    Args:
        source: a path, a Pillow image, or a uint8 array (H,W,3), which is returned as it is.

    Returns:
        uint8 (H,W,3) RGB.

    Raises:
        FeathersegError: one line that names the file, for files that are missing, truncated, too large or no picture.
    """
    picture = decoded(source)
    return picture if isinstance(picture, np.ndarray) else np.array(picture)


def decoded(source: PictureSource, *, at_least: tuple[int, int] | None = None) -> Pixels:
    """As `read_image`, but what Pillow decoded stays with Pillow: turning it into an array would copy it twice.

    Args:
        source: a path, a Pillow image, or a uint8 array (H,W,3), which is returned as it is.
        at_least: (height, width) that is needed of a file. A JPEG is then decoded at a half, a quarter or an eighth of
            its size where that is still enough, which is cheaper; its pixels are averages over blocks.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or source.size == 0:
            raise FeathersegError("image", expected="uint8 (H,W,3)", got=f"{source.dtype} {source.shape}")
        return np.ascontiguousarray(source)
    if isinstance(source, Image.Image):
        return as_seen(source, "image")
    if not isinstance(source, (str, os.PathLike)):
        raise FeathersegError("image", expected="a path, a PIL.Image or an array", got=type(source).__name__)
    with opened(source) as image:
        if at_least is not None:
            scaled_down(image, at_least)
        return as_seen(image, os.fspath(source))


def size_of(picture: Pixels) -> tuple[int, int]:
    """(height, width)."""
    return (picture.height, picture.width) if isinstance(picture, Image.Image) else (picture.shape[0], picture.shape[1])


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of a picture file as the eye sees it; its pixels are not read. Errors as `read_image`."""
    with opened(path) as image:
        return seen_size(image)


def read_mask(path: str | os.PathLike[str]) -> Mask:
    """Class ids from an index mask: the indices of a palette picture, the values of a gray one (16 bits if below 256).

    Returns:
        uint8 (H,W).

    Raises:
        FeathersegError: as `read_image`, and for colour pictures, whose ids would have to be guessed.
    """
    name = os.fspath(path)
    ids = read_raw_mask(path).pixels
    if ids.ndim == 3:
        raise FeathersegError(
            f"{name}: a mask holds one class id per pixel",
            expected="a palette or gray picture",
            got="a colour picture",
            remedy="convert the colours to ids, or name the colours in classes.yaml",
        )
    if ids.min() < 0 or ids.max() > 255:
        raise FeathersegError(f"{name}: class ids", expected="0..255", got=f"{ids.min()}..{ids.max()}")
    return ids.astype(np.uint8)


def resize(image: Pixels, size: tuple[int, int]) -> Picture:
    """(h,w) -> uint8 (H,W,3): bilinear, over all source pixels where it reduces (no aliasing)."""
    height, width = size
    if isinstance(image, np.ndarray):
        if image.shape[:2] == (height, width):
            return image
        image = Image.fromarray(image)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def whole_cells(side: float) -> int:
    """The multiple of `CELL` that is nearest to a side, `CELL` at least."""
    return max(1, round(side / CELL)) * CELL


def inside(own: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest size within `size` that has the aspect of `own`."""
    scale = min(size[0] / own[0], size[1] / own[1])
    return min(size[0], max(1, round(own[0] * scale))), min(size[1], max(1, round(own[1] * scale)))


def letterbox(image: Pixels, size: tuple[int, int], fill: Colour = GRAY) -> tuple[Picture, Box]:
    """The picture as large as it fits into `size` with its aspect kept, centred on `fill`; and where it lies there."""
    inner = inside(size_of(image), size)
    box = Box((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2, *inner)
    framed = np.empty((*size, 3), np.uint8)
    framed[:] = fill
    framed[box.top : box.top + box.height, box.left : box.left + box.width] = resize(image, inner)
    return framed, box


def colourise(mask: Mask, classes: Classes) -> Picture:
    """uint8 (H,W) -> (H,W,3): every id in its class's colour, the ignore index white.

    Raises:
        FeathersegError: for an id that is neither a class nor the ignore index.
    """
    return np.array(_palette_image(mask, classes).convert("RGB"))


def overlay(image: Pixels, mask: Mask, classes: Classes, opacity: float = 0.5) -> Image.Image:
    """The coloured mask over the picture; opacity 0 shows the picture alone, 1 the mask alone."""
    if size_of(image) != mask.shape:
        raise FeathersegError("overlay", expected=f"a mask of {size_of(image)}", got=mask.shape)
    if not 0 <= opacity <= 1:
        raise FeathersegError("overlay: opacity", expected="0..1", got=opacity)
    below = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return Image.blend(below, _palette_image(mask, classes).convert("RGB"), opacity)


def count_ids(mask: Mask) -> npt.NDArray[np.int64]:
    """How many pixels have each of the ids 0..255; Pillow counts bytes, numpy would first widen each to eight."""
    return np.array(Image.fromarray(mask).histogram(), np.int64)


def save_mask(mask: Mask, path: str | os.PathLike[str], classes: Classes) -> None:
    """Write a palette PNG: the pixels are class ids, shown in their classes' colours. Whole or not at all."""
    save_png(_palette_image(mask, classes), path)


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a PNG, whole or not at all.

    Run lengths (Z_RLE) are the way of packing that zlib has for PNG. On photos it takes a third of the time of Pillow's
    own choice and about the same bytes; on masks, which are made of runs, fewer bytes, too.
    """
    write_atomically(path, lambda file: image.save(file, "PNG", compress_type=zlib.Z_RLE))


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Give `path` the bytes that `write(file)` writes; readers see the old file or the whole new one, never a part.

    Raises:
        FeathersegError: where the folder is missing or cannot be written to; then nothing is left behind.
    """
    final = Path(os.path.realpath(path))  # what a link leads to is written, the link stays
    draft = final.with_name(f".{secrets.token_hex(8)}.tmp")  # in the same folder: a rename never crosses disks
    try:
        with draft.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, final)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError):
            raise FeathersegError(f"{final}: cannot be written ({error.strerror or error})") from error
        raise


def _palette_image(mask: Mask, classes: Classes) -> Image.Image:
    """A Pillow palette picture of the mask."""
    if mask.dtype != np.uint8 or mask.ndim != 2 or mask.size == 0:
        raise FeathersegError("mask", expected="uint8 (H,W)", got=f"{mask.dtype} {mask.shape}")
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(classes)] = classes.palette
    colours[classes.ignore_index] = IGNORED
    known = np.zeros(256, bool)
    known[: len(classes)] = known[classes.ignore_index] = True
    if int(mask.max()) >= len(classes) and not known[mask].all():
        stray = int(np.setdiff1d(mask, np.flatnonzero(known))[0])
        raise FeathersegError(
            "mask", expected=f"ids below {len(classes)} or the ignore index {classes.ignore_index}", got=stray
        )
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(colours.tobytes())
    return image
