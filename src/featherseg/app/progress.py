"""A bar on stderr while a verb works, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
WIDTH = 30


def progress(items: Sequence[Item], label: str) -> Iterator[Item]:
    """The items, one by one, while a bar grows; it is wiped at the end. Without a terminal: just the items."""
    shown = sys.stderr.isatty()
    try:
        for done, item in enumerate(items):
            if shown:
                bar = "#" * (WIDTH * done // len(items))
                print(f"\r{label} [{bar:<{WIDTH}}] {done}/{len(items)}", end="", file=sys.stderr, flush=True)
            yield item
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
