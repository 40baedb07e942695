"""What a person sees of a run: a bar on a terminal, a line per epoch elsewhere; all of it on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from featherseg.training.run import Run

Item = TypeVar("Item")


class Reporter:
    """Shows epochs, batches and validation; a context manager around the epochs.

    Lines wait until the epochs begin, or `release`: whoever made a mistake is told that alone.
    """

    def __init__(self, run: Run, *, silent: bool = False) -> None:
        self.run = run
        self.silent = silent
        self.waiting: list[str] | None = []
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=silent or not console.is_terminal,
        )
        self.console = console
        self.validation = self.bar.add_task("validate", total=None, visible=False)

    def __enter__(self) -> Reporter:
        self.release()
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        if self.silent:
            return
        if self.waiting is not None:
            self.waiting.append(line)
        elif self.console.is_terminal:
            self.bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def release(self) -> None:
        """Say what waits; from now on nothing does."""
        lines, self.waiting = self.waiting or [], None
        for line in lines:
            self.say(line)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Say what the package logs meanwhile, such as which pretrained tensors were taken."""
        logger, handler = logging.getLogger("featherseg"), logging.Handler(logging.INFO)
        handler.emit = lambda record: self.say(record.getMessage())  # type: ignore[method-assign]
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)

    @contextmanager
    def task(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A bar of its own for work before the first epoch; gives what is called with (done, total)."""
        self.bar.start()
        task = self.bar.add_task(title, total=None)
        try:
            yield lambda done, total: self.bar.update(task, completed=done, total=total)
        finally:
            self.bar.remove_task(task)
            self.bar.stop()

    def batches(self, epoch: int, total: int, done: int, loader: Iterable[Item]) -> Iterator[Item]:
        """The loader's batches, shown as a bar."""
        task = self.bar.add_task(f"epoch {epoch + 1}/{self.run.epochs}", total=total, completed=done)
        for batch in loader:
            yield batch
            self.bar.advance(task)
        self.bar.remove_task(task)

    def validating(self, done: int, total: int) -> None:
        """The validation's bar."""
        self.bar.update(self.validation, completed=done, total=total, visible=done < total)

    def epoch_done(self, row: dict[str, str]) -> None:
        """A line for the epoch just done."""
        score = f"  val mIoU {100 * float(row['val_miou']):.2f} %" if row["val_miou"] else ""
        self.say(f"epoch {row['epoch']}/{self.run.epochs}  loss {row['loss']}  lr {row['lr']}{score}")
