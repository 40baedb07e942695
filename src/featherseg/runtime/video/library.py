"""The package av, which is FFmpeg; imported when the first video is opened."""

from __future__ import annotations

from typing import Any

from featherseg.runtime.errors import FeathersegError


def library(name: str) -> Any:
    """The module av.

    Raises:
        FeathersegError: naming the video, where it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise FeathersegError(
            f"{name}: videos need the package av", remedy="pip install 'featherseg[video]'"
        ) from error
    return av
