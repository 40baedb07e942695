"""key=value: a checked copy of a run with some of its values changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.training.parts import Part
from featherseg.training.run import MENUS, Run, fields_of

KEPT = {"model": ("backbone", "output_stride", "pretrained"), "optim": ("lr", "weight_decay")}
"""What another entry of a menu takes over from the one before, where it has such a field."""

ALIKE = {"adam", "adamw"}
"""Optimisers whose fields all mean the same."""


def with_overrides(run: Run, words: Sequence[str]) -> Run:
    """A checked copy of the run with each ``key=value`` set: epochs=20, data.root=DIR, model.fusion=ewa, loss=wcel.

    The order of the words does not matter: model=, loss=, optim= and schedule= come before the keys of their fields.
    Of a key given twice the later one counts.

    Another loss or schedule starts with fields of its own. Another model keeps `backbone`, `output_stride` and
    `pretrained`, where it has them; another optimiser keeps `lr` and `weight_decay` (adam and adamw everything that
    both have), and what it does not know is gone: momentum, say. The name that the run has already changes nothing.

    epochs= without freeze.epochs= changes the frozen epochs in proportion: 50 of 100 become 10 of 20. At least one
    stays frozen and one thawed; epochs=1 is thawed.
    """
    asked: dict[str, dict[str, str]] = {}
    hints = get_type_hints(Run)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or key.endswith("."):
            raise FeathersegError(f"{word!r}", expected="key=value", remedy="for instance epochs=20 data.root=DIR")
        head, _, tail = key.partition(".")
        refuse_unknown("key", head, [name for name in hints if name != "recipe"])
        asked.setdefault(head, {})[tail] = text
    new = {head: changed(head, getattr(run, head), texts, hints[head]) for head, texts in asked.items()}
    if "epochs" in new and "epochs" not in asked.get("freeze", {}):
        frozen = in_proportion(run.freeze.epochs, run.epochs, new["epochs"])
        new["freeze"] = replace(new.get("freeze", run.freeze), epochs=frozen)
    try:
        return replace(run, **new)
    except FeathersegError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FeathersegError(f"{' '.join(words)}: {error}") from error


def in_proportion(frozen: int, before: int, after: int) -> int:
    """How many of `after` epochs are frozen where `frozen` of `before` were: 1 at least, but not all."""
    return max(0, min(max(1, round(frozen * after / before)), after - 1)) if frozen else 0


def changed(head: str, old: Any, texts: Mapping[str, str], hint: Any) -> Any:
    """The new value of one field of a run; `texts` are its parts' texts by name, under "" that of the whole."""
    if isinstance(old, Part):
        part = renamed(head, old, texts[""]) if "" in texts else old
        hints = fields_of(head, part.name)
        fields = {tail: value_of(text, hints.get(tail, Any), f"{head}.{tail}") for tail, text in texts.items() if tail}
        return Part(part.name, {**part.fields, **fields})
    if dataclasses.is_dataclass(old) and not isinstance(old, type):
        hints = get_type_hints(type(old))
        names = [f"{head}.{item.name}" for item in dataclasses.fields(old)]
        for tail in texts:
            refuse_unknown("key", f"{head}.{tail}" if tail else head, names)
        return replace(old, **{tail: value_of(text, hints[tail], f"{head}.{tail}") for tail, text in texts.items()})
    for tail in filter(None, texts):
        raise FeathersegError(f"key '{head}.{tail}'", expected=f"{head}=VALUE", remedy=f"{head} has no parts")
    return value_of(texts[""], hint, head)


def renamed(head: str, old: Part, name: str) -> Part:
    """Another entry of a menu with the fields that it takes over."""
    refuse_unknown(head, name, MENUS[head])
    if name == old.name:
        return old
    taken = fields_of(head, name)
    kept = taken if {old.name, name} <= ALIKE else KEPT.get(head, ())
    return Part(name, {key: value for key, value in old.fields.items() if key in taken and key in kept})


def value_of(text: str, hint: Any, key: str) -> Any:
    """The text as a value of a type: lists are written a,b (in brackets or not), sizes HxW too."""
    options = get_args(hint)
    if get_origin(hint) is Literal:
        value = parse(text)
        return next((option for option in options if option in (value, text)), value)
    if NoneType in options:
        if text.lower() in ("own", "none"):
            return None
        return value_of(text, next(option for option in options if option is not NoneType), key)
    if get_origin(hint) is tuple:
        return parse_names(text) if options[0] is str else parse_numbers(text, options, key)
    if hint is str:
        return text
    if hint is bool:
        value = parse(text)
        if not isinstance(value, bool):
            raise FeathersegError(key, expected="true or false", got=repr(text))
        return value
    if hint not in (int, float):
        return parse(text)
    try:
        return hint(text)
    except ValueError as error:
        kind = "a whole number" if hint is int else "a number"
        raise FeathersegError(key, expected=kind, got=repr(text)) from error


def parse(text: str) -> Any:
    """JSON where it is JSON, else the text itself: 3, 0.5, true, null, [1, 2], word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        lowered = text.lower()
        return {"true": True, "false": False, "none": "none"}.get(lowered, text)


def parse_numbers(text: str, kinds: tuple[Any, ...], key: str) -> tuple[float, ...]:
    """0.5,2 -> (0.5, 2.0), and where whole numbers are asked for 360x480 -> (360, 480); as many as the type has."""
    kind, count = kinds[0], 0 if Ellipsis in kinds else len(kinds)
    plain = text.strip("[]() ")
    parts = (plain.lower().replace("x", ",") if kind is int else plain).split(",") if plain else []
    try:
        numbers = tuple(kind(part) for part in parts)
        if count and len(numbers) != count:
            raise ValueError
    except ValueError as error:
        example = "360x480" if kind is int else "0.5,2"
        wanted = f"{count} numbers" if count else "numbers"
        raise FeathersegError(key, expected=f"{wanted} like {example}", got=repr(text)) from error
    return numbers


def parse_names(text: str) -> tuple[str, ...]:
    """background,cat -> ("background", "cat"); brackets and quotes may be there; none is empty."""
    plain = text.strip("[]()")
    return () if plain.lower() in ("", "none") else tuple(name.strip(" \"'") for name in plain.split(","))
