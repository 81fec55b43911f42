"""How long each exit takes on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitTimes
from dare.runners.runner import Runner

WARM_UP = 5

Search = Callable[[int, NDArray[np.float32]], object]


def measure(
    runner: Runner,
    *,
    batch: int = 1,
    repeats: int = 50,
    search: Search | None = None,
    searched: str = "without search",
    clock: Callable[[], float] = time.perf_counter,
) -> ExitTimes:
    """Time every exit of a runner on random pictures, which are not read from files.

    Args:
        batch: pictures, or tracklets where the network takes these, that are run together.
        repeats: how often, after a few times to warm up.
        search: what is done with the vectors (B, D) of each exit, counted from 0: a gallery's search, say. Without it
            only the network is timed.
        searched: what `search` does, in words.
    """
    return measure_together([runner], batch=batch, repeats=repeats, search=search, searched=searched, clock=clock)[0]


def measure_together(
    runners: Sequence[Runner],
    *,
    batch: int = 1,
    repeats: int = 50,
    search: Search | None = None,
    searched: str = "without search",
    clock: Callable[[], float] = time.perf_counter,
) -> list[ExitTimes]:
    """Time runners in turn, round by round, so that whatever else the machine does meets all of them; as `measure`."""
    if batch < 1 or repeats < 1:
        raise ValueError(f"batch and repeats must be at least 1, got {batch} and {repeats}")
    rounds: list[list[_Round]] = [[] for _ in runners]
    for number in range(-WARM_UP, repeats):
        for runner, passed in zip(runners, rounds, strict=True):
            one = _round(runner, batch, search, clock)
            if number >= 0:
                passed.append(one)
    return [
        _times(passed, f"{runner.description}, batch {batch}, {searched}")
        for runner, passed in zip(runners, rounds, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Round:
    """Seconds until each exit, and the longest time between two chances to stop."""

    exits: list[float]
    longest_block: float


def _round(runner: Runner, batch: int, search: Search | None, clock: Callable[[], float]) -> _Round:
    size = runner.preparation
    shape = (batch * size.frames, 3, size.height, size.width)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    start = before = clock()
    longest = 0.0

    def passed() -> bool:
        nonlocal before, longest
        now = clock()
        before, longest = now, max(longest, now - before)
        return False

    seconds = []
    for exit, vectors in enumerate(runner.exits(images, passed)):
        if search is not None:
            search(exit, vectors)
        passed()
        seconds.append(before - start)
    return _Round(seconds, longest)


def _times(rounds: Sequence[_Round], source: str) -> ExitTimes:
    seconds = np.asarray([one.exits for one in rounds])
    return ExitTimes(
        tuple(np.median(seconds, 0).tolist()),
        tuple(np.maximum.accumulate(np.percentile(seconds, 95, axis=0)).tolist()),
        tuple(np.percentile(np.diff(seconds, axis=1, prepend=0), 95, axis=0).tolist()),
        float(np.percentile([one.longest_block for one in rounds], 95)),
        source,
    )
