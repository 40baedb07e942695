"""Joint augmentation of a picture and its class ids: scale, crop, turn, colour; randomness is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFilter

from featherseg.data.masks import Mask
from featherseg.data.samples import Image
from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.runtime.pixels import GRAY

Picture: TypeAlias = PILImage.Image
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom

# RGB -> luma and two chroma axes (YIQ): in it, hue is an angle and saturation a length.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)

BLUR_SIGMA = 1.1  # of a 5x5 Gaussian
ROTATED_SHARE = 0.25  # of the pictures, where rotation is asked for


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What training does to a picture; every value is drawn from the generator handed in.

    The second half are the ways of paper 003's code family; `recipes.dsc_deeplab` sets them together.

    Attributes:
        crop_size: (height, width) of what comes out.
        scale: the picture is scaled by a factor whose logarithm is uniform between these two.
        flip: probability of a left-right flip.
        brightness: factor 1 +- this.
        contrast: factor 1 +- this, about the picture's mean.
        saturation: factor 1 +- this.
        hue: angle in radians +- this.
        scale_of: what the factor refers to: the "picture", or the "crop": then it is uniform itself, and the picture
            with factor 1 just fits into the crop.
        aspect: width over height is changed by (1 +- this) / (1 +- this).
        rotation: a quarter of the pictures is turned by up to so many degrees.
        blur: probability of a 5x5 Gaussian blur.
        hsv: hue, saturation and value are multiplied by 1 +- these.
        pad_label: the label of what lies outside the picture; -1 ignores it.
    """

    crop_size: tuple[int, int] = (360, 480)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    scale_of: str = "picture"
    aspect: float = 0.0
    rotation: float = 0.0
    blur: float = 0.0
    hsv: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pad_label: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop_size", tuple(int(side) for side in self.crop_size))
        object.__setattr__(self, "scale", tuple(float(factor) for factor in self.scale))
        if len(self.crop_size) != 2 or min(self.crop_size) < 32:
            raise FeathersegError("augment.crop_size", expected="(height, width) of 32 or more", got=self.crop_size)
        object.__setattr__(self, "hsv", tuple(float(gain) for gain in self.hsv))
        refuse_unknown("augment.scale_of", self.scale_of, ("picture", "crop"))
        if len(self.hsv) != 3 or not all(0 <= gain < 1 for gain in self.hsv):
            raise FeathersegError("augment.hsv", expected="three gains of 0 to below 1", got=self.hsv)
        if not 0 <= self.aspect < 1 or not 0 <= self.rotation <= 180 or not -1 <= self.pad_label <= 255:
            raise FeathersegError("augment", expected="0 <= aspect < 1, rotation 0..180, pad_label -1..255")
        for name in ("flip", "brightness", "contrast", "saturation", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise FeathersegError(f"augment.{name}", expected="0..1", got=getattr(self, name))
        if not 0 <= self.hue < math.inf:
            raise FeathersegError("augment.hue", expected="radians, 0 or more", got=self.hue)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise FeathersegError("augment.scale", expected="(smallest, largest) factor", got=self.scale)

    def __call__(
        self, image: Image, mask: Mask, rng: np.random.Generator, *, ignore_index: int = 255
    ) -> tuple[Image, Mask]:
        """uint8 (H,W,3), uint8 (H,W) -> the same at `crop_size`; what lies outside the picture is gray and ignored."""
        outside = ignore_index if self.pad_label < 0 else self.pad_label
        picture, labels = self.scaled_crop(image, mask, rng, outside)
        if rng.random() < self.flip:
            picture, labels = (each.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT) for each in (picture, labels))
        picture = self.recolour(picture, rng)
        if self.blur and rng.random() < self.blur:
            picture = picture.filter(ImageFilter.GaussianBlur(BLUR_SIGMA))
        if self.rotation and rng.random() < ROTATED_SHARE:
            picture, labels = rotated(picture, labels, float(rng.uniform(-self.rotation, self.rotation)), outside)
        if any(self.hsv):
            picture = hsv_jittered(picture, self.hsv, rng)
        return np.array(picture), np.array(labels)

    def scaled_crop(self, image: Image, mask: Mask, rng: np.random.Generator, outside: int) -> tuple[Picture, Picture]:
        """Choose the window first and resize only what is in it: the cost is that of the crop, not of the picture.

        From here to the end both stay Pillow's: each way into an array and back costs as much as a change of colour.
        """
        height, width = mask.shape
        full = self.scaled_size(height, width, rng)  # the size of the whole scaled picture
        top, left = (draw_offset(side, crop, rng) for side, crop in zip(full, self.crop_size, strict=True))
        rows = (max(0, -top), min(self.crop_size[0], full[0] - top))  # where in the crop the picture lies
        columns = (max(0, -left), min(self.crop_size[1], full[1] - left))
        box = (
            (left + columns[0]) * width / full[1],
            (top + rows[0]) * height / full[0],
            (left + columns[1]) * width / full[1],
            (top + rows[1]) * height / full[0],
        )
        size = (columns[1] - columns[0], rows[1] - rows[0])
        parts = (
            resized(image, size, box, PILImage.Resampling.BILINEAR),
            resized(mask, size, box, PILImage.Resampling.NEAREST),
        )
        crop = self.crop_size[::-1]
        if size == crop:
            return parts
        padded = PILImage.new("RGB", crop, GRAY), PILImage.new("L", crop, outside)
        for whole, part in zip(padded, parts, strict=True):
            whole.paste(part, (columns[0], rows[0]))
        return padded

    def scaled_size(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """The (height, width) that the whole picture is scaled to."""
        if self.scale_of == "picture":
            factor = float(np.exp(rng.uniform(*np.log(self.scale))))
        else:
            factor = min(self.crop_size[0] / height, self.crop_size[1] / width) * float(rng.uniform(*self.scale))
        stretch = 1.0
        if self.aspect:
            up, down = rng.uniform(1 - self.aspect, 1 + self.aspect, 2)
            stretch = float(np.sqrt(up / down))
        return max(1, round(height * factor / stretch)), max(1, round(width * factor * stretch))

    def recolour(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """Brightness, contrast, saturation and hue as one affine map of RGB."""
        if not any((self.brightness, self.contrast, self.saturation, self.hue)):
            return picture
        brightness, contrast, saturation = (
            float(rng.uniform(1 - reach, 1 + reach)) for reach in (self.brightness, self.contrast, self.saturation)
        )
        angle = float(rng.uniform(-self.hue, self.hue))
        cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
        chroma = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        matrix = brightness * contrast * (FROM_YIQ @ chroma @ TO_YIQ)
        mean = float(np.asarray(every_fourth(picture)).mean())
        offset = np.full((3, 1), brightness * (1 - contrast) * mean)
        affine = tuple(np.hstack([matrix, offset]).ravel().tolist())  # rows of (red, green, blue, 1)
        return picture.convert("RGB", affine)


def draw_offset(side: int, crop: int, rng: np.random.Generator) -> int:
    """Where the crop begins in the scaled picture; negative where the picture is the smaller one and lies inside."""
    low, high = sorted((0, side - crop))
    return int(rng.integers(low, high + 1))


def resized(array: Image, size: tuple[int, int], box: Box, way: PILImage.Resampling) -> Picture:
    """The box of a picture or mask, resized to (width, height); Pillow is given no more than what can be read of it.

    It would first copy the whole picture.
    """
    reach = [math.ceil((box[axis + 2] - box[axis]) / size[axis]) + 1 for axis in (0, 1)]
    x, y = (max(0, math.floor(box[axis]) - reach[axis]) for axis in (0, 1))
    right, bottom = (math.ceil(box[axis + 2]) + reach[axis] for axis in (0, 1))
    part = PILImage.fromarray(array[y:bottom, x:right])
    return part.resize(size, way, (box[0] - x, box[1] - y, box[2] - x, box[3] - y))


def every_fourth(picture: Picture) -> Picture:
    """Every fourth pixel of every fourth row: a sixteenth of the pixels tells the mean."""
    size = -(-picture.width // 4), -(-picture.height // 4)
    step = (4, 0, -1.5, 0, 4, -1.5)  # Pillow looks up the place of a pixel's middle: 4 (x + 0.5) - 1.5 = 4 x + 0.5
    return picture.transform(size, PILImage.Transform.AFFINE, step)


def rotated(picture: Picture, labels: Picture, degrees: float, outside: int) -> tuple[Picture, Picture]:
    """Both turned about their middle; what comes in from outside is gray, and `outside` in the mask."""
    turned = picture.rotate(degrees, PILImage.Resampling.BILINEAR, fillcolor=GRAY)
    return turned, labels.rotate(degrees, PILImage.Resampling.NEAREST, fillcolor=outside)


def hsv_jittered(picture: Picture, gains: tuple[float, float, float], rng: np.random.Generator) -> Picture:
    """Hue (round the circle), saturation and value (clipped) times 1 +- their gains."""
    factors = 1 + rng.uniform(-1, 1, 3) * gains
    steps = np.arange(256)
    hue = (steps * factors[0]) % 256
    rest = [np.clip(steps * factor, 0, 255) for factor in factors[1:]]
    table = np.concatenate([hue, *rest]).astype(np.uint8).tolist()
    return picture.convert("HSV").point(table).convert("RGB")
