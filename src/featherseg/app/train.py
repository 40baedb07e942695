"""Train a network by a recipe. The same command line started again resumes where it stopped.

RECIPE is MODEL_DATA. Every value of the run can be changed by key=value; a key that does not exist is refused with
the nearest name.

  featherseg train affnet_camvid data.root=~/data/camvid
  featherseg train affnet_folder data.root=photos epochs=50 out=runs/mine
  featherseg train affnet_folder data.root=photos init=runs/affnet_camvid     fine-tune; classes are kept by name
  featherseg train affnet_camvid data.root=~/data/camvid model.fusion=ewa loss=wcel loss.c=1.1 seed=1

The run directory (out=, else runs/RECIPE) holds run.json, metrics.csv, curves.png, state-STEP.safetensors to resume
from, and last.safetensors and best.safetensors to use: featherseg predict photo.jpg --model runs/RECIPE
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_device
from featherseg.recipes import RECIPES
from featherseg.recipes.settings import Recipe
from featherseg.recipes.tables import PAPERS
from featherseg.runtime.errors import refuse_unknown
from featherseg.training import Run, train, with_overrides
from featherseg.training.directory import placed, read_progress
from featherseg.training.distributed import is_first


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="one of the recipes below")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="changes to the recipe, as epochs=20"
    )
    parser.add_argument("--show", action="store_true", help="print the run as JSON and train nothing")
    parser.add_argument("--json", action="store_true", help="print what came of it as one JSON object")
    add_device(parser, "where it trains; the same as device=...", default=None)
    parser.epilog = recipes_text()


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit code."""
    refuse_unknown("recipe", args.recipe, RECIPES)
    asked = with_overrides(RECIPES[args.recipe](), args.overrides)
    if args.device:
        asked = replace(asked, device=args.device)
    asked = placed(asked)
    if args.show:
        print(json.dumps(asked.to_json(), indent=2))
        return 0
    folder = train(asked)
    if not is_first():
        return 0
    print(json.dumps(outcome(asked, folder)) if args.json else folder)
    return 0


def outcome(asked: Run, folder: Path) -> dict[str, Any]:
    """What came of a run, for --json."""
    return {"run": str(folder), "recipe": asked.recipe, **read_progress(folder)}


def recipes_text() -> str:
    """The recipes by paper, each with its target score, and the keys of a run."""
    width = max(map(len, RECIPES))
    lines = []
    for paper in dict.fromkeys(recipe.paper for recipe in RECIPES.values()):
        lines.append(f"  paper {paper}: {PAPERS[paper]}" if paper else "  peers")
        lines += [f"    {name:<{width}}  {about(recipe)}" for name, recipe in RECIPES.items() if recipe.paper == paper]
    keys = ", ".join(RECIPES["affnet_folder"]().to_json())
    return (
        "recipes, with the mIoU to be reached, and about how many hours it takes on one CPU core (300 pictures in a\n"
        "folder), from the time of a step or as a trained network's card has it:\n"
        + "\n".join(lines)
        + f"\n\nkeys: {keys} (see --show for their parts and values)"
    )


def about(recipe: Recipe) -> str:
    """What a recipe is for, its target and how long it takes."""
    target = f"{recipe.target}; " if recipe.target else ""
    return f"{recipe.title} [{target}{recipe.core_hours:,} core-hours]"
