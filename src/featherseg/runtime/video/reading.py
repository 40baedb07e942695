"""A video file to frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.video.library import library

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

USUAL_RATE = Fraction(25)  # where a file does not tell
MISSING_SECONDS = 0.5  # a video that ends so much before its announced end is cut off


class Clip(NamedTuple):
    """What a video file says of itself.

    Attributes:
        rate: frames per second, the mean where it varies.
        frames: how many there are, counted or by the length; None where the file does not tell.
    """

    rate: Fraction
    frames: int | None


def describe(path: str | os.PathLike[str]) -> Clip:
    """What a video file says of itself; errors as `frames`, except that damage further on is not seen."""
    with _opened(os.fspath(path)) as (_, stream):
        rate = _fraction(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        return Clip(rate, stream.frames or round(_seconds(stream) * rate) or None)


def frames(path: str | os.PathLike[str]) -> Iterator[Picture]:
    """The frames of a video one by one, upright: uint8 (H,W,3) RGB.

    Raises:
        FeathersegError: at once, for a file that is missing or no video; after the last frame that can be read, for a
            file that is damaged or cut off.
    """
    return _arrays(os.fspath(path), "rgb24")


def masks(path: str | os.PathLike[str]) -> Iterator[Mask]:
    """The masks of a file that `Writer` wrote as `IDS`, one by one: uint8 (H,W) of class ids. Errors as `frames`."""
    return _arrays(os.fspath(path), "gray")


def _arrays(name: str, pixels: str) -> Iterator[npt.NDArray[np.uint8]]:
    """Every frame as an array of FFmpeg's kind `pixels`, then the error of what could not be read."""
    faults: list[str] = []
    count, end = 0, 0.0
    with _opened(name) as (container, stream):
        announced = _seconds(stream)
        start = float((stream.start_time or 0) * _fraction(stream.time_base))
        for frame in _decoded(name, container, stream, faults):
            count, end = count + 1, (frame.time or 0) - start
            turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy's
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format=pixels), turns))
    if not faults and end + MISSING_SECONDS < announced:
        faults.append(f"it ends at {end:.1f} of {announced:.1f} seconds")
    if faults or not count:
        raise FeathersegError(
            f"{name}: {count or 'no'} frames could be read, not all ({faults[0]})"
            if faults
            else f"{name}: has no frames",
            remedy="the file is damaged or cut off; copy it again",
        )


def _decoded(name: str, container: Any, stream: Any, faults: list[str]) -> Iterator[Any]:
    """FFmpeg's frames; what cannot be decoded is left out and noted."""
    av = library(name)
    stream.thread_type = "AUTO"
    packets = container.demux(stream)  # the last one is empty: it asks for the frames that the decoder holds back
    while True:
        try:
            packet = next(packets, None)
            some = [] if packet is None else packet.decode()
        except av.FFmpegError as error:
            faults.append(error.strerror or type(error).__name__)
            continue
        if packet is None:
            return
        if packet.is_corrupt:
            faults.append("a frame is cut off")
        yield from some


@contextmanager
def _opened(name: str) -> Iterator[tuple[Any, Any]]:
    """A video file and its video stream."""
    av = library(name)
    if not os.path.isfile(name):
        raise FeathersegError(f"{name}: there is no such file")
    try:
        container = av.open(name)
    except (av.FFmpegError, OSError) as error:
        raise FeathersegError(
            f"{name}: is not a video of a known format ({error.strerror})",
            remedy="if it should be, it is damaged or cut off; copy it again",
        ) from error
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise FeathersegError(f"{name}: holds no video that can be read")
        yield container, stream


def _seconds(stream: Any) -> float:
    """How long the stream says it is; 0 where it does not."""
    if stream.duration is not None:
        return float(stream.duration * _fraction(stream.time_base))
    text = stream.metadata.get("DURATION", "")  # Matroska's: 00:00:02.400000000
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return 0.0


def _fraction(value: Any) -> Fraction:
    """From the package's own kind of fraction, too."""
    return Fraction(value.numerator, value.denominator)
