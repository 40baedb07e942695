"""What networks cost on this machine: latency, memory, and how far that is from what the machine can do."""

from featherseg.benchmark.measuring import measure
from featherseg.benchmark.plan import Plan
from featherseg.benchmark.timing import Race

__all__ = ["Plan", "Race", "measure"]
