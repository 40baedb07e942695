"""Frames to a video file, whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.video.library import library

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

BT709, LIMITED = 1, 1  # FFmpeg's numbers: how RGB became luma and chroma, and that these leave out the ends of 0..255


class Form(NamedTuple):
    """A kind of file to write.

    Attributes:
        container: FFmpeg's name of the file format.
        encoders: encoder -> its options, the preferred one first.
        given, stored: FFmpeg's names of the pixels that are given and of those that are stored.
        even: what the sides must be a multiple of.
    """

    container: str
    encoders: dict[str, dict[str, str]]
    given: str
    stored: str
    even: int


COLOUR = Form("mp4", {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"b": "8M"}}, "rgb24", "yuv420p", 2)
"""Pictures to look at, uint8 (H,W,3): MP4 with H.264, or MPEG-4 where FFmpeg was built without x264."""

IDS = Form("matroska", {"ffv1": {"level": "3"}}, "gray", "gray", 1)
"""Masks, uint8 (H,W): Matroska with FFV1, which keeps every class id as it is."""


class Writer:
    """Writes a video; the file gets its name when it is complete, and after an error there is none.

    Args:
        path: the file, replaced where it exists. Without a frame nothing is written.
        rate: frames per second.
        form: `COLOUR` or `IDS`.

    Raises:
        FeathersegError: where it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], rate: Fraction | float, form: Form = COLOUR) -> None:
        self.path = Path(path)
        self.rate = Fraction(rate).limit_denominator(1001)
        self.form = form
        self.count = 0
        self._av = library(str(path))
        self._draft = self.path.with_name(f".{secrets.token_hex(8)}.tmp")  # in the same folder: renamed, never copied
        self._container: Any = None
        self._stream: Any = None

    def write(self, pixels: Picture | Mask) -> None:
        """Add a frame: uint8 (H,W,3) RGB, or (H,W) ids. All get the size of the first one, an odd side of a colour
        picture one more pixel.
        """
        try:
            height, width = (side + side % self.form.even for side in pixels.shape[:2])
            if self._container is None:
                self._open(width, height)
            missing = height - pixels.shape[0], width - pixels.shape[1]
            if any(missing):
                pixels = np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)][: pixels.ndim], mode="edge")
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), self.form.given)
            self._mux(self._converted(frame))
        except (self._av.FFmpegError, OSError) as error:
            raise self._cannot(error) from error

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        try:
            with self._container:
                if error is None:
                    self._mux(None)
            if error is None:
                with self._draft.open("rb+") as file:
                    os.fsync(file.fileno())
                os.replace(self._draft, self.path)
        except (self._av.FFmpegError, OSError) as problem:
            if error is None:
                raise self._cannot(problem) from problem
        finally:
            with suppress(OSError):
                self._draft.unlink()

    def _open(self, width: int, height: int) -> None:
        name, options = next(item for item in self.form.encoders.items() if self._encodes(item[0]))
        self._container = self._av.open(str(self._draft), "w", format=self.form.container)
        self._stream = self._container.add_stream(name, rate=self.rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, self.form.stored
        if self.form.given == "rgb24":
            context = self._stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = LIMITED

    def _converted(self, frame: Any) -> Any:
        """The frame as it is stored, of the video's size, with its place in time."""
        wide, high = self._stream.width, self._stream.height
        if self.form.given == "rgb24":
            frame = frame.reformat(wide, high, self.form.stored, dst_colorspace="ITU709", dst_color_range="MPEG")
        elif (frame.width, frame.height) != (wide, high):
            frame = frame.reformat(wide, high, self.form.stored, interpolation="POINT")
        frame.pts, frame.time_base = self.count, 1 / self.rate
        self.count += 1
        return frame

    def _mux(self, frame: Any) -> None:
        """Encode a frame, or what the encoder still holds."""
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _encodes(self, name: str) -> bool:
        try:
            return bool(self._av.Codec(name, "w").is_encoder)
        except ValueError:  # this FFmpeg was built without it
            return False

    def _cannot(self, error: Exception) -> FeathersegError:
        return FeathersegError(f"{self.path}: cannot be written ({getattr(error, 'strerror', None) or error})")
