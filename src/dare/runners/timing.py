"""How long each exit takes on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitTimes
from dare.runners.runner import Runner

WARM_UP = 5
TURN = 5
"""Passes of a runner in its turn that are timed, after one that is not: a network that takes image after image finds
its weights in the processor's caches, as far as they fit."""

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
    """As `measure`, of runners in turn, a few passes each: whatever else the machine does meets all of them."""
    if batch < 1 or repeats < 1:
        raise ValueError(f"batch and repeats must be at least 1, got {batch} and {repeats}")
    timed: list[list[_Pass]] = [[] for _ in runners]
    given = [_images(runner, batch) for runner in runners]
    for runner, images in zip(runners, given, strict=True):
        for _ in range(WARM_UP):
            _pass(runner, images, search, clock)
    for start in range(0, repeats, TURN):
        for runner, images, passes in zip(runners, given, timed, strict=True):
            _pass(runner, images, search, clock)
            passes += [_pass(runner, images, search, clock) for _ in range(min(TURN, repeats - start))]
    return [
        _times(passes, f"{runner.description}, batch {batch}, {searched}")
        for runner, passes in zip(runners, timed, strict=True)
    ]


def _images(runner: Runner, batch: int) -> NDArray[np.float32]:
    size = runner.preparation
    shape = (batch * size.frames, 3, size.height, size.width)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Pass:
    """Seconds until each exit, and the longest time between two chances to stop."""

    exits: list[float]
    longest_block: float


def _pass(runner: Runner, images: NDArray[np.float32], search: Search | None, clock: Callable[[], float]) -> _Pass:
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
    return _Pass(seconds, longest)


def _times(passes: Sequence[_Pass], source: str) -> ExitTimes:
    seconds = np.asarray([one.exits for one in passes])
    return ExitTimes(
        tuple(np.median(seconds, 0).tolist()),
        tuple(np.maximum.accumulate(np.percentile(seconds, 95, axis=0)).tolist()),
        tuple(np.percentile(np.diff(seconds, axis=1, prepend=0), 95, axis=0).tolist()),
        float(np.percentile([one.longest_block for one in passes], 95)),
        source,
    )
