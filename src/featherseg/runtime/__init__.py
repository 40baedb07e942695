"""The ground floor: pictures in, masks out, on numpy, Pillow and onnxruntime alone; it never imports torch."""

from featherseg.runtime.artefact import Artefact, InputRule, Preprocessing
from featherseg.runtime.axes import Box
from featherseg.runtime.classes import Classes
from featherseg.runtime.engines import Engine, OnnxEngine
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores
from featherseg.runtime.pixels import colourise, letterbox, overlay, read_image, read_mask, resize, save_mask
from featherseg.runtime.predictor import Prediction, Predictor
from featherseg.runtime.smoothing import Smoothed
from featherseg.runtime.tiles import Tiles
from featherseg.runtime.views import Views

__all__ = [
    "Artefact",
    "Box",
    "Classes",
    "Engine",
    "FeathersegError",
    "InputRule",
    "OnnxEngine",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "Smoothed",
    "Tiles",
    "Views",
    "colourise",
    "label_scores",
    "letterbox",
    "overlay",
    "read_image",
    "read_mask",
    "resize",
    "save_mask",
]
