"""The menu of recipes: `RECIPES[name]()` is a complete Run, to be adapted by key=value."""

from __future__ import annotations

from collections.abc import Callable

from featherseg.recipes.affnet import affnet_camvid, affnet_folder
from featherseg.training import Run

RECIPES: dict[str, Callable[[], Run]] = {
    "affnet_camvid": affnet_camvid,
    "affnet_folder": affnet_folder,
}
