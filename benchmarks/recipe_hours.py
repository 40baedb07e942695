"""How many core-hours each recipe takes on a CPU: processor time of a training step on one thread, times its pictures.

    OMP_NUM_THREADS=1 python benchmarks/recipe_hours.py [RECIPE ...]

Processor time hardly feels what else the machine does. A step is timed on two pictures of at most 512x512 and scaled by
pictures and pixels; reading pictures and validation are not in it, and a frozen phase counts as a thawed one.
A folder is taken to hold 300 pictures.
"""

from __future__ import annotations

import platform
import sys
import time

import torch

from featherseg.losses import LOSSES, loss_fields
from featherseg.models import create_model
from featherseg.recipes import RECIPES
from featherseg.training import Run
from featherseg.training.objective import objective

PICTURES = {
    "voc": 1_464,
    "auto": 10_582,
    "cityscapes": 2_975,
    "cityscapes train_patches": 23_800,
    "camvid": 367,
    "folder": 300,
    "seven classes of voc": 3_151,
}
# "auto" is VOC-aug
CLASSES = {"voc": 21, "auto": 21, "cityscapes": 19, "camvid": 11, "folder": 3}
STEPS = 3  # the first is the warm-up


def classes_of(run: Run) -> int:
    """How many classes the recipe's network tells apart."""
    return len(run.data.classes) or CLASSES[run.data.format]


def seconds_a_picture(run: Run) -> float:
    """Processor seconds of a training step for one picture of the recipe's crop."""
    torch.manual_seed(0)
    classes = classes_of(run)
    fields = {name: "none" if name == "pretrained" else value for name, value in run.model.fields.items()}
    network = create_model(run.model.name, num_classes=classes, **fields).to(memory_format=torch.channels_last).train()
    height, width = (min(side, 512) for side in run.augment.crop_size)
    counted = {"frequencies": (1 / classes,) * classes} if "frequencies" in loss_fields(run.loss.name) else {}
    loss = LOSSES[run.loss.name](**counted)
    images = torch.randn(2, 3, height, width).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, classes, (2, height, width))
    times = []
    for _ in range(STEPS):
        began = time.process_time()
        output = network(images)
        objective(output, target, loss, aux_weight=0.4, align_corners=network.align_corners).backward()
        network.zero_grad()
        times.append(time.process_time() - began)
    pixels = run.augment.crop_size[0] * run.augment.crop_size[1] / (height * width)
    return min(times[1:]) / 2 * pixels


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}\n")
    print("| recipe | core-seconds a picture | pictures x epochs | core-hours |\n|---|---|---|---|")
    for name, recipe in RECIPES.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        run = recipe()
        place = " ".join([run.data.format, run.data.train]).removesuffix(" train")
        place = "seven classes of voc" if run.data.classes else place
        seconds = seconds_a_picture(run)
        hours = seconds * PICTURES[place] * run.epochs / 3600
        print(f"| {name} | {seconds:.2f} | {PICTURES[place]} x {run.epochs} | {hours:.3g} |", flush=True)


if __name__ == "__main__":
    main()
