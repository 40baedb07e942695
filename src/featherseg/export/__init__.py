"""A trained network as a file that needs no torch; it is kept only when it is proved to say the same."""

from featherseg.export.agreement import Agreement, measure_agreement
from featherseg.export.onnx import export_onnx

__all__ = ["Agreement", "export_onnx", "measure_agreement"]
