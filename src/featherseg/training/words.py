"""From a run back to the words that make it: the ``key=value`` that turn a recipe into this very run."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from featherseg.training.directory import MAY_DIFFER
from featherseg.training.overrides import in_proportion, renamed
from featherseg.training.parts import Part
from featherseg.training.run import MENUS, Run, fields_of

Words = list[tuple[str, str]]
"""Pairs of key and value."""


def words_between(recipe: Run, run: Run) -> Words:
    """The keys and values with which `with_overrides(recipe, ...)` gives `run`; the inverse of that function.

    What may differ between two parts of one run (out, device, workers) and the recipe's name are left out.
    """
    words: Words = []
    for item in dataclasses.fields(Run):
        old, new = getattr(recipe, item.name), getattr(run, item.name)
        if item.name in ("recipe", *MAY_DIFFER):
            continue
        if item.name == "freeze" and run.epochs != recipe.epochs:  # what a new number of epochs has made of it
            old = dataclasses.replace(old, epochs=in_proportion(old.epochs, recipe.epochs, run.epochs))
        if isinstance(old, Part):
            words += words_of_part(item.name, old, new)
        elif dataclasses.is_dataclass(old) and not isinstance(old, type):
            names = [
                part.name for part in dataclasses.fields(old) if getattr(old, part.name) != getattr(new, part.name)
            ]
            words += [word(f"{item.name}.{name}", getattr(new, name)) for name in names]
        elif old != new:
            words.append(word(item.name, new))
    return words


def words_of_part(head: str, old: Part, new: Part) -> Words:
    """The words for a model, loss, optimiser or schedule: its name where it is another one, and its fields."""
    words = [(head, new.name)] if new.name != old.name else []
    there = renamed(head, old, new.name).fields
    for name in fields_of(head, new.name):
        before, after = (fields.get(name, default_of(head, new.name, name)) for fields in (there, new.fields))
        if before != after:
            words.append(word(f"{head}.{name}", after))
    return words


def default_of(head: str, entry: str, field: str) -> Any:
    """What a field of an entry of a menu is where nobody sets it."""
    found = inspect.signature(MENUS[head][entry]).parameters[field].default
    return None if found is inspect.Parameter.empty else found


def word(key: str, value: Any) -> tuple[str, str]:
    """A key with its value as it is written on the command line: true, 0.5, 360x480, 0.9,0.99, cat,dog, own."""
    if value is None:
        return key, "own" if key.endswith("size") else "null"
    if isinstance(value, bool):
        return key, str(value).lower()
    if isinstance(value, tuple | list):
        return key, ("x" if key.endswith("size") else ",").join(str(part) for part in value)
    return key, str(value)
