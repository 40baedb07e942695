"""benchmarks/recipe_hours.py: what it times is the network that the recipe trains."""

from __future__ import annotations

import runpy
from pathlib import Path

from featherseg.recipes import RECIPES

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "recipe_hours.py"


def test_a_network_has_the_classes_of_its_recipe() -> None:
    classes_of = runpy.run_path(str(SCRIPT))["classes_of"]
    counted = {name: classes_of(recipe()) for name, recipe in RECIPES.items()}
    assert {count for name, count in counted.items() if name.endswith("_voc7")} == {7}
    assert (counted["affnet_voc"], counted["affnet_camvid"]) == (21, 11)
