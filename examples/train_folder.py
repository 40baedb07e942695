"""Train AFFNet on a folder of one's own labelled pictures, score it, and segment a picture with it.

    python examples/train_folder.py ROOT OUT [key=value ...]

ROOT holds images/train, images/val, masks/train, masks/val and classes.yaml (docs/datasets.md). OUT becomes the run
directory; the same line started again resumes. Keys are those of `featherseg train`, as epochs=50 or device=cpu.
"""

from __future__ import annotations

import sys

import featherseg
from featherseg.data import open_data
from featherseg.recipes import RECIPES
from featherseg.training import with_overrides


def main(root: str, out: str, *changes: str) -> None:
    run = with_overrides(RECIPES["affnet_folder"](), [f"data.root={root}", f"out={out}", *changes])
    rundir = featherseg.train(run)

    predictor = featherseg.load(rundir)  # best.safetensors: the weights that scored best on val
    val = open_data(root, split="val")
    scores = featherseg.evaluate(predictor, val)
    for name, iou in zip(predictor.classes.names, scores.iou, strict=True):
        print(f"{iou:7.1%}  {name}")
    print(f"{scores.miou:7.1%}  mean IoU over {len(val)} pictures")

    prediction = predictor(val.pairs[0].image)
    prediction.overlay().save(rundir / "overlay.png")
    print(rundir / "overlay.png")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
