"""Pillow beside simplejpeg (`pip install simplejpeg`) on a JPEG of 1024x2048: as an array, and as a picture to resize.

    python benchmarks/jpeg_decoders.py

Processor time, medians over turns taken one after the other; the pixels must be the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

import featherseg

STREET = Path(featherseg.__file__).parent / "runtime" / "bundled" / "street.jpg"
TURNS = 40


def photo() -> bytes:
    """The bundled street, enlarged, as a file."""
    file = BytesIO()
    Image.open(STREET).convert("RGB").resize((2048, 1024), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def by_pillow(content: bytes) -> Image.Image:
    """The decoded picture."""
    image = Image.open(BytesIO(content))
    image.load()
    return image


def main() -> None:
    content = photo()
    ways: dict[str, Callable[[], object]] = {
        "array, Pillow": lambda: np.asarray(by_pillow(content)),
        "array, simplejpeg": lambda: simplejpeg.decode_jpeg(content, "RGB"),
        "picture, Pillow": lambda: by_pillow(content),
        "picture, simplejpeg": lambda: Image.fromarray(simplejpeg.decode_jpeg(content, "RGB")),
    }
    print("same pixels:", np.array_equal(ways["array, Pillow"](), ways["array, simplejpeg"]()))  # type: ignore[arg-type]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, decode in ways.items():
            began = time.process_time()
            decode()
            taken[name].append(1000 * (time.process_time() - began))
    for name, times in taken.items():
        print(f"{name:20} {np.median(times):5.1f} ms")


if __name__ == "__main__":
    main()
