"""Looking at every pair of a data set once, by one process or several, and what is remembered of a pair."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from threading import current_thread, main_thread
from typing import NamedTuple

from featherseg.data.leaks import Fingerprint, fingerprint
from featherseg.data.masks import Fault
from featherseg.data.objects import Objects, count_labels, find_objects
from featherseg.data.samples import Progress, SegData
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.pixels import read_image

MUCH = 200  # pictures: below, to start processes would cost more than it saves


class Looked(NamedTuple):
    """What is remembered of a pair.

    Attributes:
        faults: its own.
        size: (height, width) of the picture; None where it cannot be read.
        print: the picture's fingerprint.
        labels: label -> pixels, of a mask that can be read.
        objects: of a sound mask.
    """

    faults: tuple[Fault, ...]
    size: tuple[int, int] | None = None
    print: Fingerprint | None = None
    labels: dict[int, int] | None = None
    objects: Objects | None = None

    @property
    def sound(self) -> bool:
        """Whether the pair can be learned from."""
        return not self.faults and self.labels is not None


def look_at(data: SegData, index: int) -> Looked:
    """One pair."""
    pair = data.pairs[index]
    if pair.mask is None:
        try:
            image = read_image(pair.image)
        except FeathersegError as error:
            return Looked((Fault(pair.image, "unreadable", str(error).removeprefix(f"{pair.image}: ")),))
        return Looked((), (image.shape[0], image.shape[1]), fingerprint(image))
    try:
        found = data.inspect(index)
    except FeathersegError as error:  # of a reader that raises what it should collect
        return Looked((Fault(pair.mask, "unreadable", str(error).removeprefix(f"{pair.mask}: ")),))
    size = None if found.image is None else (found.image.shape[0], found.image.shape[1])
    seen = None if found.image is None else fingerprint(found.image)
    if found.ids is None:
        return Looked(found.faults, size, seen)
    objects = None if found.faults else find_objects(found.ids)
    return Looked(found.faults, size, seen, count_labels(found.ids), objects)


def look_at_all(opened: Sequence[SegData], *, workers: int, progress: Progress | None) -> Iterator[tuple[Looked, ...]]:
    """Every pair of every split, split by split."""
    total = sum(len(data) for data in opened)
    seen = seen_by_workers(opened, workers) if workers > 1 and total >= MUCH else seen_here(opened)
    done = 0
    for data in opened:
        looks = []
        for look in islice(seen, len(data)):
            looks.append(look)
            done += 1
            if progress is not None:
                progress(done, total)
        yield tuple(looks)


def seen_here(opened: Sequence[SegData]) -> Iterator[Looked]:
    """Pair by pair in this process."""
    return (look_at(data, index) for data in opened for index in range(len(data)))


def seen_by_workers(opened: Sequence[SegData], workers: int) -> Iterator[Looked]:
    """The same in the same order, by several processes; what they send back is small."""
    places = [place for place, data in enumerate(opened) for _ in range(len(data))]
    indices = [index for data in opened for index in range(len(data))]
    context = get_context("spawn")  # forking a process that has threads is not safe
    with ProcessPoolExecutor(workers, context, initializer=take_up, initargs=(tuple(opened),)) as pool:
        with interrupts_ignored():
            looks = pool.map(look_at_place, places, indices, chunksize=4)
        yield from looks


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started here never see the key press that ends the work, which is their parent's to answer."""
    if current_thread() is not main_thread():  # only there can it be said
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


WORK: list[SegData] = []  # of a worker process: sent once, not with every pair


def take_up(opened: tuple[SegData, ...]) -> None:
    """Begin a worker process."""
    WORK[:] = opened


def look_at_place(place: int, index: int) -> Looked:
    """One pair, in a worker process."""
    return look_at(WORK[place], index)
