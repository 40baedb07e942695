"""Contestants take turns within one run, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Lap: TypeAlias = dict[str, float]
"""Stage -> milliseconds of one call."""

Contestant: TypeAlias = Callable[[], Lap]

SHORT_MS = 100.0
"""A call shorter than this is made once untimed before it is timed: caches then hold its own data, as in a stream of
pictures, and not those of the contestant before."""

FEWEST_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Race:
    """How long and in what order.

    Attributes:
        seconds: how long the rounds go on, at least `FEWEST_ROUNDS` of them.
        rounds: their exact number instead.
        seed: of the order within each round.
        pause: seconds before every turn, in which the threads of the one before, which spin for a while, go to sleep.
    """

    seconds: float = 20.0
    rounds: int | None = None
    seed: int = 0
    pause: float = 0.05


def warm_up(contestant: Contestant, calls: int = 3) -> float:
    """First calls, in which engines allocate, compile and choose; returns the fastest in milliseconds."""
    return min(contestant()["total"] for _ in range(calls))


def run_race(
    contestants: Sequence[Contestant],
    race: Race,
    *,
    between: Callable[[], None] = lambda: None,
    progress: Callable[[float], None] = lambda done: None,
) -> list[list[Lap]]:
    """The laps of each contestant: in every round one of each, in a new order.

    Args:
        contestants: called once per round and once before it where the call is short; warmed up here first.
        race: see there.
        between: called before every round.
        progress: called with the share that is done, 0 to 1.
    """
    order, rng = list(range(len(contestants))), random.Random(race.seed)
    short = [warm_up(contestant) < SHORT_MS for contestant in contestants]
    laps: list[list[Lap]] = [[] for _ in contestants]
    begin, done = time.perf_counter(), 0
    while not is_over(race, done, time.perf_counter() - begin):
        between()
        rng.shuffle(order)
        for index in order:
            laps[index].append(turn(contestants[index], race.pause, twice=short[index]))
        done += 1
        progress(min(1.0, done / race.rounds if race.rounds else (time.perf_counter() - begin) / race.seconds))
    return laps


def is_over(race: Race, rounds: int, seconds: float) -> bool:
    """Whether enough rounds are done."""
    if race.rounds is not None:
        return rounds >= race.rounds
    return rounds >= FEWEST_ROUNDS and seconds >= race.seconds


def turn(contestant: Contestant, pause: float, *, twice: bool) -> Lap:
    """One timed call, without the garbage collector."""
    time.sleep(pause)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        if twice:
            contestant()
        return contestant()
    finally:
        if was_enabled:
            gc.enable()


def summary(laps: Sequence[Lap]) -> dict[str, dict[str, float]]:
    """Stage -> p50, p90 and min in milliseconds."""
    times = {stage: np.array([lap[stage] for lap in laps]) for stage in laps[0]}
    return {
        stage: {
            "p50": round(float(np.quantile(values, 0.5)), 4),
            "p90": round(float(np.quantile(values, 0.9)), 4),
            "min": round(float(values.min()), 4),
        }
        for stage, values in times.items()
    }
