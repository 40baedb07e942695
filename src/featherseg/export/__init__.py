"""A trained network as a file for a device; it is kept only when it is proved to say the same."""

from featherseg.export.agreement import Agreement, measure_agreement
from featherseg.export.exporter import PRECISIONS, TARGETS, export

__all__ = ["PRECISIONS", "TARGETS", "Agreement", "export", "measure_agreement"]
