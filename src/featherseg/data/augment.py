"""Joint augmentation of a picture and its class ids: scale, crop, flip, colour; randomness is an argument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as PILImage

from featherseg.data.masks import Mask
from featherseg.data.samples import Image
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import GRAY

# RGB -> luma and two chroma axes (YIQ): in it, hue is an angle and saturation a length.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What training does to a picture; every value is drawn from the generator handed in.

    Attributes:
        crop_size: (height, width) of what comes out.
        scale: the picture is scaled by a factor whose logarithm is uniform between these two.
        flip: probability of a left-right flip.
        brightness: factor 1 +- this.
        contrast: factor 1 +- this, about the picture's mean.
        saturation: factor 1 +- this.
        hue: angle in radians +- this.
    """

    crop_size: tuple[int, int] = (360, 480)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop_size", tuple(int(side) for side in self.crop_size))
        object.__setattr__(self, "scale", tuple(float(factor) for factor in self.scale))
        if len(self.crop_size) != 2 or min(self.crop_size) < 32:
            raise FeathersegError("augment.crop_size", expected="(height, width) of 32 or more", got=self.crop_size)
        for name in ("flip", "brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise FeathersegError(f"augment.{name}", expected="0..1", got=getattr(self, name))
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise FeathersegError("augment.scale", expected="(smallest, largest) factor", got=self.scale)

    def __call__(
        self, image: Image, mask: Mask, rng: np.random.Generator, *, ignore_index: int = 255
    ) -> tuple[Image, Mask]:
        """uint8 (H,W,3), uint8 (H,W) -> the same at `crop_size`; what lies outside the picture is gray and ignored."""
        image, mask = self.scaled_crop(image, mask, rng, ignore_index)
        if rng.random() < self.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return np.ascontiguousarray(self.recolour(image, rng)), np.ascontiguousarray(mask)

    def scaled_crop(self, image: Image, mask: Mask, rng: np.random.Generator, ignore_index: int) -> tuple[Image, Mask]:
        """Choose the window first and resize only what is in it: the cost is that of the crop, not of the picture."""
        height, width = mask.shape
        factor = float(np.exp(rng.uniform(*np.log(self.scale))))
        full = (max(1, round(height * factor)), max(1, round(width * factor)))  # the size of the whole scaled picture
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
        window = slice(*rows), slice(*columns)
        out_image = np.empty((*self.crop_size, 3), np.uint8)
        out_image[:] = GRAY
        out_mask = np.full(self.crop_size, ignore_index, np.uint8)
        out_image[window] = np.asarray(PILImage.fromarray(image).resize(size, PILImage.Resampling.BILINEAR, box))
        out_mask[window] = np.asarray(PILImage.fromarray(mask).resize(size, PILImage.Resampling.NEAREST, box))
        return out_image, out_mask

    def recolour(self, image: Image, rng: np.random.Generator) -> Image:
        """Brightness, contrast, saturation and hue as one affine map of RGB."""
        if not any((self.brightness, self.contrast, self.saturation, self.hue)):
            return image
        brightness, contrast, saturation = (
            float(rng.uniform(1 - reach, 1 + reach)) for reach in (self.brightness, self.contrast, self.saturation)
        )
        angle = float(rng.uniform(-self.hue, self.hue))
        cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
        chroma = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        matrix = brightness * contrast * (FROM_YIQ @ chroma @ TO_YIQ)
        mean = float(image[::4, ::4].mean())  # a sixteenth of the pixels tells the mean
        offset = np.full((3, 1), brightness * (1 - contrast) * mean)
        affine = tuple(np.hstack([matrix, offset]).ravel().tolist())  # rows of (red, green, blue, 1)
        return np.array(PILImage.fromarray(image).convert("RGB", affine))


def draw_offset(side: int, crop: int, rng: np.random.Generator) -> int:
    """Where the crop begins in the scaled picture; negative where the picture is the smaller one and lies inside."""
    low, high = sorted((0, side - crop))
    return int(rng.integers(low, high + 1))
