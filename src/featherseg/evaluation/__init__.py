"""A network or a Predictor + labelled pictures -> Scores."""

from featherseg.evaluation.evaluate import evaluate

__all__ = ["evaluate"]
