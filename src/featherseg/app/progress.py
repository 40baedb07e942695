"""A bar on stderr while a verb works, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
WIDTH = 30


class Bar:
    """A bar that grows as `show(done, total)` is called and is wiped at the end; nothing without a terminal."""

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.visible = sys.stderr.isatty()
        self.show(0, total)

    def show(self, done: int, total: int) -> None:
        """Draw the bar; a number where the total is not known, which is 0."""
        if self.visible:
            filled = "#" * min(WIDTH, WIDTH * done // max(1, total))
            drawn = f"[{filled:<{WIDTH}}] {done}/{total}" if total else str(done)
            print(f"\r{self.label} {drawn}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.visible:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def progress(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """The items, one by one as they come, while a bar grows."""
    with Bar(label, total) as bar:
        for done, item in enumerate(items, 1):
            bar.show(done, total)
            yield item
