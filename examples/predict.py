"""Segment one picture and say what is in it; runs from the base install, without torch.

    python examples/predict.py PICTURE [NAME_OR_PATH] [OUT]

NAME_OR_PATH is a name of trained weights, an exported .onnx file or a run directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import featherseg


def main(picture: str, network: str = "affnet-camvid", out: str = ".") -> None:
    predictor = featherseg.load(network)
    prediction = predictor(picture)

    for name, share in prediction.shares().items():
        print(f"{share:7.1%}  {name}")

    stem = Path(picture).stem
    prediction.save(Path(out) / f"{stem}_mask.png")  # uint8 class ids, with a palette
    prediction.overlay(opacity=0.6).save(Path(out) / f"{stem}_overlay.png")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
