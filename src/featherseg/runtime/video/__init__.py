"""Moving pictures: a video file to frames, and frames to a video file.

    with video.Writer("overlay.mp4", video.describe("clip.mp4").rate) as writer:
        for frame in video.frames("clip.mp4"):
            writer.write(np.asarray(predictor(frame).overlay()))

The package av brings FFmpeg with it: pip install 'featherseg[video]'. Sound is left out.
"""

from featherseg.runtime.video.reading import Clip, describe, frames, masks
from featherseg.runtime.video.writing import COLOUR, IDS, Form, Writer

__all__ = ["COLOUR", "IDS", "Clip", "Form", "Writer", "describe", "frames", "masks"]
