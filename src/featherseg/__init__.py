"""Feather-light semantic segmentation: from labelled photos to a mask on a small device.

    import featherseg

    predictor = featherseg.load("affnet-camvid")      # a trained network; an exported file needs no torch
    prediction = predictor("street.jpg")
    prediction.mask                                   # uint8 (H,W), one class id per pixel
    prediction.overlay().save("overlay.png")

    network = featherseg.create_model("dsc_deeplab", num_classes=21)
    network = featherseg.from_pretrained("runs/mine")      # with its weights; also from the hub, by ORG/NAME
    rundir = featherseg.train(run)                    # a Run comes from featherseg.recipes
    scores = featherseg.evaluate(featherseg.load(rundir), data)

Names are imported when first used, so a device that only runs exported files never imports torch.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featherseg.evaluation import evaluate as evaluate
    from featherseg.hub import from_pretrained as from_pretrained
    from featherseg.hub import load as load
    from featherseg.hub import push_to_hub as push_to_hub
    from featherseg.models import create_model as create_model
    from featherseg.models import list_models as list_models
    from featherseg.training import train as train

__version__ = "0.1.0"

FUNCTIONS = {  # public name -> the module that has it
    "load": "featherseg.hub",
    "from_pretrained": "featherseg.hub",
    "push_to_hub": "featherseg.hub",
    "create_model": "featherseg.models",
    "list_models": "featherseg.models",
    "train": "featherseg.training",
    "evaluate": "featherseg.evaluation",
}
MODULES = (  # every floor of the house; one that is not built yet is no attribute
    "runtime",
    "nn",
    "losses",
    "metrics",
    "backbones",
    "models",
    "data",
    "hub",
    "evaluation",
    "training",
    "export",
    "benchmark",
    "recipes",
)

__all__ = [
    "__version__",
    "create_model",
    "evaluate",
    "from_pretrained",
    "list_models",
    "load",
    "push_to_hub",
    "train",
]


def __getattr__(name: str) -> Any:
    """A public function or a submodule, imported on first use."""
    if name in FUNCTIONS:
        return getattr(importlib.import_module(FUNCTIONS[name]), name)
    if name in MODULES and is_built(name):
        return importlib.import_module(f"featherseg.{name}")
    raise AttributeError(f"module 'featherseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *filter(is_built, MODULES)})


def is_built(module: str) -> bool:
    """Whether a submodule exists; it is not imported."""
    return find_spec(f"featherseg.{module}") is not None
