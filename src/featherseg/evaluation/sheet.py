"""A sheet of pictures for a card: some of a split, one below the other, as columns of photo, truth and predictions."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from featherseg.evaluation.evaluate import Judged
from featherseg.runtime.classes import Classes
from featherseg.runtime.pixels import Mask, Picture, colourise

WIDTH = 240  # of a panel
TITLE = 20  # height of the line of titles
GAP = 4
LIMIT = 60_000  # bytes of a sheet


def spread(pictures: int, count: int = 3) -> tuple[int, ...]:
    """The places of `count` pictures, the first of a split and others evenly after it; fewer of a smaller split."""
    return tuple(sorted({index * pictures // count for index in range(count)})) if pictures else ()


class Kept:
    """Keeps some pictures of an evaluation as they have been judged; handed to `evaluate` as an observer."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = frozenset(places)
        self.seen = 0
        self.judged: list[Judged] = []

    def __call__(self, judged: Judged) -> None:
        """Keep the picture if it is one of the chosen."""
        if self.seen in self.places:
            self.judged.append(judged)
        self.seen += 1


def sheet_of(judged: Sequence[Judged], classes: Classes, predictions: Mapping[str, Sequence[Mask]]) -> bytes:
    """The sheet as a JPEG of at most `LIMIT` bytes.

    Args:
        judged: the pictures with their truth.
        classes: the colours.
        predictions: title of a column -> its masks, one per picture.
    """
    columns: dict[str, list[Image.Image]] = {
        "photo": [shrunk(each.sample.image, Image.Resampling.BILINEAR) for each in judged],
        "truth": [coloured(each.sample.mask, classes) for each in judged],
        **{title: [coloured(mask, classes) for mask in masks] for title, masks in predictions.items()},
    }
    return small_jpeg(drawn(columns))


def coloured(mask: Mask, classes: Classes) -> Image.Image:
    """uint8 (H,W) -> a panel in the classes' colours."""
    return shrunk(colourise(mask, classes), Image.Resampling.NEAREST)


def shrunk(image: Picture, how: Image.Resampling) -> Image.Image:
    """A picture at a panel's width."""
    height, width = image.shape[:2]
    return Image.fromarray(np.ascontiguousarray(image)).resize((WIDTH, max(1, round(height * WIDTH / width))), how)


def drawn(columns: Mapping[str, Sequence[Image.Image]]) -> Image.Image:
    """The panels under their columns' titles; the panels of a row are of one height."""
    heights = [panel.height for panel in next(iter(columns.values()))]
    size = (len(columns) * (WIDTH + GAP) - GAP, TITLE + sum(height + GAP for height in heights) - GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, (title, panels) in enumerate(columns.items()):
        left, top = column * (WIDTH + GAP), TITLE
        draw.text((left + WIDTH / 2, TITLE / 2), fitted(title, font), fill="black", font=font, anchor="mm")
        for panel in panels:
            sheet.paste(panel, (left, top))
            top += panel.height + GAP
    return sheet


def fitted(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A title that is no wider than a panel."""
    while len(title) > 1 and font.getlength(title) > WIDTH:
        title = title[:-2] + "…"
    return title


def small_jpeg(sheet: Image.Image) -> bytes:
    """The picture in the best quality that stays below the limit; at the lowest it is made smaller."""
    for quality in range(90, 30, -10):
        content = jpeg(sheet, quality)
        if len(content) <= LIMIT:
            return content
    return small_jpeg(sheet.resize((max(1, sheet.width * 3 // 4), max(1, sheet.height * 3 // 4))))


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The picture as the bytes of a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
