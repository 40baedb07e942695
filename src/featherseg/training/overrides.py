"""key=value: a checked copy of a run with some of its values changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_type_hints

from featherseg.runtime.errors import FeathersegError, refuse_unknown
from featherseg.training.run import Part, Run


def with_overrides(run: Run, words: Sequence[str]) -> Run:
    """A checked copy of the run with each ``key=value`` set: epochs=20, data.root=DIR, model.fusion=ewa, loss=wcel."""
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise FeathersegError(f"{word!r}", expected="key=value", remedy="for instance epochs=20 data.root=DIR")
        run = with_value(run, key, text)
    return run


def with_value(run: Run, key: str, text: str) -> Run:
    """A checked copy of the run with one key set from its text."""
    head, _, tail = key.partition(".")
    hints = get_type_hints(Run)
    refuse_unknown("key", head, [name for name in hints if name != "recipe"])
    old = getattr(run, head)
    if isinstance(old, Part):
        new: Any = Part(old.name, {**old.fields, tail: parse(text)}) if tail else Part(text)
        if head == "optim" and not tail:
            new = Part(text, old.fields)
    elif dataclasses.is_dataclass(old) and not isinstance(old, type):
        names = [item.name for item in dataclasses.fields(old)]
        refuse_unknown("key", key, [f"{head}.{name}" for name in names])
        words = get_type_hints(type(old))[tail] == tuple[str, ...]
        value = parse_names(text) if words else parse_as(getattr(old, tail), text, key)
        try:
            new = replace(old, **{tail: value})
        except FeathersegError:
            raise
        except (TypeError, ValueError) as error:
            raise FeathersegError(f"{key}={text}", expected=f"a value like {getattr(old, tail)}") from error
    else:
        if tail:
            raise FeathersegError(f"key {key!r}", expected=f"{head}=VALUE", remedy=f"{head} has no parts")
        new = parse_as(old, text, key)
    try:
        return replace(run, **{head: new})
    except FeathersegError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FeathersegError(f"{key}={text}", expected=f"a value like {old!r}", got=str(error)) from error


def parse(text: str) -> Any:
    """JSON where it is JSON, else the text itself: 3, 0.5, true, null, [1, 2], word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        lowered = text.lower()
        return {"true": True, "false": False, "none": "none"}.get(lowered, text)


def parse_as(old: Any, text: str, key: str) -> Any:
    """The text as a value of the type of `old`; sizes may be written HxW and lists a,b."""
    if isinstance(old, bool):
        value = parse(text)
        if not isinstance(value, bool):
            raise FeathersegError(key, expected="true or false", got=repr(text))
        return value
    if isinstance(old, str):
        return text
    try:
        if isinstance(old, int):
            return int(text)
        if isinstance(old, float):
            return float(text)
        if text.lower() in ("own", "none"):
            return None
        numbers = [float(part) for part in text.strip("[]()").replace("x", ",").split(",")]
    except ValueError as error:
        kind = {int: "a whole number", float: "a number"}.get(type(old), "numbers like 360x480 or 0.5,2")
        raise FeathersegError(key, expected=kind, got=repr(text)) from error
    return tuple(int(number) if number.is_integer() else number for number in numbers)


def parse_names(text: str) -> tuple[str, ...]:
    """background,cat -> ("background", "cat"); brackets and quotes may be there; none is empty."""
    plain = text.strip("[]()")
    return () if plain.lower() in ("", "none") else tuple(name.strip(" \"'") for name in plain.split(","))
