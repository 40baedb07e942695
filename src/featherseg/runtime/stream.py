"""Reading ahead and writing behind: threads around a network that runs in the calling thread.

    read   read   read             up to `readers` pictures are read, or wait for the network
            run    run    run      one picture is in the network
                  write  write     up to `writers` pictures are written, or wait for it

Decoding, packing and disks let Python's other threads go on, so threads are enough. What is read or written waits in
queues of fixed length: however many pictures there are, a handful is alive. Results come in the order of the items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import repeat, starmap
from typing import TypeVar

from featherseg.runtime.errors import FeathersegError

Item = TypeVar("Item")
Value = TypeVar("Value")
Scored = TypeVar("Scored")
Result = TypeVar("Result")

READERS, WRITERS = 1, 2
"""A thread reads faster than a network runs, and packing an overlay takes longer than both (benchmarks/results)."""

END = object()


def pipeline(
    items: Iterable[Item],
    read: Callable[[Item], Value],
    run: Callable[[Value], Scored],
    write: Callable[[Item, Scored], Result],
    *,
    readers: int = READERS,
    writers: int = WRITERS,
) -> Generator[tuple[Item, Result | FeathersegError], None, None]:
    """``write(item, run(read(item)))`` of every item, in order; reading and writing overlap with running.

    A FeathersegError ends its own item alone and stands in the place of the result. Any other error, an interrupt too,
    ends everything: what is being written is finished, what is waiting is dropped.
    """

    def reading(item: Item) -> tuple[Item, Value | FeathersegError]:
        return item, attempt(read, item)

    def running(item: Item, value: Value | FeathersegError) -> tuple[Item, Scored | FeathersegError]:
        return item, value if isinstance(value, FeathersegError) else attempt(run, value)

    def writing(step: tuple[Item, Scored | FeathersegError]) -> tuple[Item, Result | FeathersegError]:
        item, scored = step
        return item, scored if isinstance(scored, FeathersegError) else attempt(write, item, scored)

    with (
        closing(spread(reading, items, threads=readers)) as ready,
        closing(spread(writing, starmap(running, ready), threads=writers)) as written,
    ):
        yield from written


def spread(function: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Generator[Result, None, None]:
    """``map(function, items)`` in threads, so many items ahead of who asks; `items` is walked by who asks."""
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            del item  # a name would keep it alive
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The items, each made in a thread of its own while the one before is used."""
    source = iter(items)
    with closing(spread(lambda _: next(source, END), repeat(None), threads=1)) as made:
        for item in made:
            if item is END:
                return
            yield item  # type: ignore[misc]


def attempt(function: Callable[..., Result], *arguments: object) -> Result | FeathersegError:
    """The result, or the user's mistake that is in its way."""
    try:
        return function(*arguments)
    except FeathersegError as error:
        return error
