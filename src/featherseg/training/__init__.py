"""Training: a Run in, a run directory out."""

from featherseg.training.loop import train
from featherseg.training.run import DataSpec, Part, Run, with_overrides
from featherseg.training.schedules import SCHEDULES

__all__ = ["SCHEDULES", "DataSpec", "Part", "Run", "train", "with_overrides"]
