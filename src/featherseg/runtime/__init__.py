"""The ground floor: pictures in, masks out, on numpy, Pillow and onnxruntime alone; it never imports torch."""

from featherseg.runtime.artefact import Artefact, InputRule, Preprocessing
from featherseg.runtime.classes import Classes
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.labelling import label_scores

__all__ = ["Artefact", "Classes", "FeathersegError", "InputRule", "Preprocessing", "label_scores"]
