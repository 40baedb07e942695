"""Training: a Run in, a run directory out."""

from featherseg.training.loop import train
from featherseg.training.overrides import with_overrides
from featherseg.training.parts import DataSpec, Distill, Freeze, Part
from featherseg.training.run import Run
from featherseg.training.schedules import SCHEDULES

__all__ = ["SCHEDULES", "DataSpec", "Distill", "Freeze", "Part", "Run", "train", "with_overrides"]
