"""A network or a Predictor + labelled pictures -> Scores, and measures beyond them."""

from featherseg.evaluation.bootstrap import Bootstrap
from featherseg.evaluation.boundary import BoundaryF, BoundaryIoU
from featherseg.evaluation.detail import detail
from featherseg.evaluation.evaluate import Judged, evaluate
from featherseg.evaluation.groups import GammaGroups
from featherseg.evaluation.interior import Interior
from featherseg.evaluation.measure import Measure
from featherseg.evaluation.objects import Objects

__all__ = [
    "Bootstrap",
    "BoundaryF",
    "BoundaryIoU",
    "GammaGroups",
    "Interior",
    "Judged",
    "Measure",
    "Objects",
    "detail",
    "evaluate",
]
