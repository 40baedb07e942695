"""From scores to labels: ours, and what is usually done instead.

- exact: `label_scores`, which resizes nothing.
- plain: resize all scores to the picture, then argmax: in torch where it is installed, else in numpy.
- graph: the same two operations as a part of the exported graph, which then gives labels: the fastest plain tail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featherseg.runtime.engines import BACKENDS
from featherseg.runtime.mask_output import add_mask

Scores = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Size = tuple[int, int]

TAILS = ("exact", "plain", "graph")


def plain_labels(scores: Scores, size: Size, *, align_corners: bool, threads: int) -> Labels:
    """float32 (C,h,w) -> uint8 (H,W) by the tail "plain"; torch takes so many threads, numpy one."""
    if BACKENDS["torch"].installed():
        return torch_labels(scores, size, align_corners=align_corners, threads=threads)
    return numpy_labels(scores, size, align_corners=align_corners)


def tail_text(tail: str) -> str:
    """The tail in words."""
    where = "torch" if BACKENDS["torch"].installed() else "numpy"
    return {"exact": "label_scores", "plain": f"resize + argmax, {where}"}.get(tail, "resize + argmax, in the graph")


def torch_labels(scores: Scores, size: Size, *, align_corners: bool, threads: int) -> Labels:
    """The usual two lines."""
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        full = torch.nn.functional.interpolate(
            torch.from_numpy(scores)[None], size=size, mode="bilinear", align_corners=align_corners
        )
        labels: Labels = full[0].argmax(dim=0).to(torch.uint8).numpy()
        return labels


def numpy_labels(scores: Scores, size: Size, *, align_corners: bool) -> Labels:
    """Columns, then rows of all classes resized; argmax."""
    (y0, y1, fy), (x0, x1, fx) = (
        neighbours(places, pixels, align_corners=align_corners)
        for places, pixels in zip(scores.shape[1:], size, strict=True)
    )
    wide = scores[:, :, x0] * (1 - fx) + scores[:, :, x1] * fx
    full = wide[:, y0] * (1 - fy)[:, None] + wide[:, y1] * fy[:, None]
    labels: Labels = full.argmax(axis=0).astype(np.uint8)
    return labels


def neighbours(
    places: int, pixels: int, *, align_corners: bool
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Scores]:
    """Of every pixel: the places below and above it, and how far it lies between them."""
    if align_corners:
        position = np.arange(pixels) * ((places - 1) / max(1, pixels - 1))
    else:
        position = np.clip((np.arange(pixels) + 0.5) * places / pixels - 0.5, 0, places - 1)
    low = np.minimum(np.floor(position).astype(np.intp), places - 1)
    return low, np.minimum(low + 1, places - 1), (position - low).astype(np.float32)


def write_with_tail(source: Path, target: Path, size: Size, *, align_corners: bool) -> None:
    """A copy of an exported file that takes pictures of one size and gives labels, uint8 (1,H,W).

    Needs onnx. The size is fixed because that is how the graph runs fastest. A file exported with a mask has these very
    operations already.
    """
    import onnx

    model: Any = onnx.load(source)
    for dimension, side in zip(model.graph.input[0].type.tensor_type.shape.dim[1:3], size, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = side
    if all(output.name != "mask" for output in model.graph.output):
        add_mask(model, align_corners=align_corners)
    mask = next(output for output in model.graph.output if output.name == "mask")
    del model.graph.output[:], model.graph.value_info[:]  # shapes of any size; onnxruntime finds those of this one
    model.graph.output.append(mask)
    onnx.save(model, target)
