"""Segment one picture with an exported file, without featherseg: what another program has to do for the same mask.

    python examples/without_featherseg.py PICTURE NAME.onnx|NAME.xml MASK.png

Needs numpy, Pillow, and onnxruntime or openvino.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Array: TypeAlias = npt.NDArray[Any]
Run: TypeAlias = Callable[[Array], Array]  # uint8 (1,H,W,3) RGB -> float32 (1,C,h,w)


class Part(NamedTuple):
    """Along one axis: pixels of the network's input, and which of them the picture covers."""

    frame: int
    start: int
    length: int


def main(picture: str, file: str, out: str) -> None:
    about, run = opened_xml(file) if file.endswith(".xml") else opened_onnx(file)
    photo = ImageOps.exif_transpose(Image.open(picture)).convert("RGB")
    image, down, across = seen(photo, about["input_rule"])
    scores = run(image[None])[0]  # uint8 (1,H,W,3) -> float32 (C,h,w)
    scores = resized(scores, 1, photo.height, down, about["align_corners"])  # the scores are resized, not the labels
    scores = resized(scores, 2, photo.width, across, about["align_corners"])
    mask = scores.argmax(axis=0).astype(np.uint8)
    Image.fromarray(mask).save(out)
    for label in np.unique(mask):
        print(f"{(mask == label).mean():7.1%}  {about['classes'][label]}")


def opened_onnx(file: str) -> tuple[dict[str, Any], Run]:
    """What the file says of itself, and what gives its scores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    about = json.loads(session.get_modelmeta().custom_metadata_map["featherseg"])
    return about, lambda image: session.run(["scores"], {"image": image})[0]


def opened_xml(file: str) -> tuple[dict[str, Any], Run]:
    """The same of OpenVINO's files, whose fp32 would be bf16 wherever the processor has that."""
    import openvino

    model = openvino.Core().read_model(file)
    network = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return json.loads(model.get_rt_info("featherseg").astype(str)), lambda image: network([image])["scores"]


def seen(photo: Image.Image, rule: dict[str, Any]) -> tuple[Array, Part, Part]:
    """The picture at the size that the score on the card was measured with, uint8 (H,W,3), and where in it it lies."""
    height, width = rule["size"] or (photo.height, photo.width)
    whole = Part(height, 0, height), Part(width, 0, width)
    if rule["size"] and rule["fit"] == "letterbox":  # as large as it fits in, the rest gray
        scale = min(height / photo.height, width / photo.width)
        inner = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BILINEAR)
        left, top = (width - inner.width) // 2, (height - inner.height) // 2
        framed = Image.new("RGB", (width, height), (128, 128, 128))
        framed.paste(inner, (left, top))
        return np.asarray(framed), Part(height, top, inner.height), Part(width, left, inner.width)
    if rule["size"] and rule["fit"] == "area":  # its own aspect, about as many pixels, in multiples of 32
        scale = math.sqrt(height * width / (photo.height * photo.width))
        height, width = (max(1, round(side * scale / 32)) * 32 for side in (photo.height, photo.width))
        whole = Part(height, 0, height), Part(width, 0, width)
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR)), *whole  # without aliasing


def resized(scores: Array, axis: int, pixels: int, part: Part, align_corners: bool) -> Array:
    """Scores along one axis at the picture's pixels, bilinear."""
    cells, pixel = scores.shape[axis], np.arange(pixels)
    if align_corners:
        place = (part.start + pixel * (part.length - 1) / max(pixels - 1, 1)) * (cells - 1) / max(part.frame - 1, 1)
    else:
        place = (part.start + (pixel + 0.5) * part.length / pixels) * cells / part.frame - 0.5
    place = place.clip(0, cells - 1)
    before = place.astype(int)
    after = np.minimum(before + 1, cells - 1)
    share = (place - before).astype(np.float32).reshape([-1 if each == axis else 1 for each in range(3)])
    return scores.take(before, axis) * (1 - share) + scores.take(after, axis) * share


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
