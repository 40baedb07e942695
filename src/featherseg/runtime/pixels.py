"""Pictures and masks between disk and arrays: read, resize, colour, write whole or not at all.

A picture is uint8 (H,W,3) RGB, upright; a mask is uint8 (H,W) of class ids.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from featherseg.runtime.axes import Box
from featherseg.runtime.classes import Classes, Colour
from featherseg.runtime.decoding import SIXTEEN_BITS, load_pixels, opened, read_raw_mask
from featherseg.runtime.errors import FeathersegError

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]
PictureSource: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]"

# fmt: off
PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm",
    ".pnm", ".jp2", ".avif", ".tga",
)
# fmt: on
"""The files taken from a folder, by lower-case suffix; a file that a person names may end as it likes."""

GRAY: Colour = (128, 128, 128)
IGNORED: Colour = (255, 255, 255)
"""The colour of the ignore index in coloured masks; a data set's background is black more often than white."""

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
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or source.size == 0:
            raise FeathersegError("image", expected="uint8 (H,W,3)", got=f"{source.dtype} {source.shape}")
        return np.ascontiguousarray(source)
    if isinstance(source, Image.Image):
        return _rgb(source, "image")
    if not isinstance(source, (str, os.PathLike)):
        raise FeathersegError("image", expected="a path, a PIL.Image or an array", got=type(source).__name__)
    with opened(source) as image:
        return _rgb(image, os.fspath(source))


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of a picture file as the eye sees it; its pixels are not read. Errors as `read_image`."""
    with opened(path) as image:
        turned = _orientation(image) in SIDEWAYS
        return image.size if turned else (image.height, image.width)


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


def resize(image: Picture, size: tuple[int, int]) -> Picture:
    """uint8 (h,w,3) -> (H,W,3): bilinear, over all source pixels where it reduces (no aliasing)."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def letterbox(image: Picture, size: tuple[int, int], fill: Colour = GRAY) -> tuple[Picture, Box]:
    """The picture as large as it fits into `size` with its aspect kept, centred on `fill`; and where it lies there."""
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = (min(size[0], max(1, round(height * scale))), min(size[1], max(1, round(width * scale))))
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


def overlay(image: Picture, mask: Mask, classes: Classes, opacity: float = 0.5) -> Image.Image:
    """The coloured mask over the picture; opacity 0 shows the picture alone, 1 the mask alone."""
    if image.shape[:2] != mask.shape:
        raise FeathersegError("overlay", expected=f"a mask of {image.shape[:2]}", got=mask.shape)
    if not 0 <= opacity <= 1:
        raise FeathersegError("overlay: opacity", expected="0..1", got=opacity)
    return Image.blend(Image.fromarray(image), _palette_image(mask, classes).convert("RGB"), opacity)


def save_mask(mask: Mask, path: str | os.PathLike[str], classes: Classes) -> None:
    """Write a palette PNG: the pixels are class ids, shown in their classes' colours. Whole or not at all."""
    image = _palette_image(mask, classes)
    write_atomically(path, lambda file: image.save(file, "PNG"))


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Give `path` the bytes that `write(file)` writes; readers see the old file or the whole new one, never a part.

    Raises:
        FeathersegError: where the folder is missing or cannot be written to; then nothing is left behind.
    """
    final = Path(path)
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


def _rgb(image: Image.Image, name: str) -> Picture:
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
    return np.array(image)


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
