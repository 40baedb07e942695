"""Published settings, one function each, and the tables of the papers; only `RECIPES` imports torch, when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featherseg.recipes.menu import RECIPES

__all__ = ["RECIPES"]


def __getattr__(name: str) -> Any:
    if name == "RECIPES":
        from featherseg.recipes.menu import RECIPES

        return RECIPES
    raise AttributeError(name)
