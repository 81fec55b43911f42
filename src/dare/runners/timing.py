"""How long each exit takes on this machine."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitTimes
from dare.runners.runner import Runner

WARM_UP = 5


def measure(
    runner: Runner,
    *,
    batch: int = 1,
    repeats: int = 50,
    search: Callable[[int, NDArray[np.float32]], object] | None = None,
    searched: str = "without search",
    clock: Callable[[], float] = time.perf_counter,
) -> ExitTimes:
    """Time every exit of a runner on random pictures, which are not read from files.

    Args:
        batch: pictures that are run together.
        repeats: how often, after a few times to warm up.
        search: what is done with the vectors (B, D) of each exit, counted from 0: a gallery's search, say. Without it
            only the network is timed.
        searched: what `search` does, in words.
    """
    if batch < 1 or repeats < 1:
        raise ValueError(f"batch and repeats must be at least 1, got {batch} and {repeats}")
    size = runner.preparation
    images = np.random.default_rng(0).normal(size=(batch, 3, size.height, size.width)).astype(np.float32)
    seconds = np.zeros((repeats, len(runner.exit_names)))
    blocks = np.zeros(repeats)
    for number in range(-WARM_UP, repeats):
        start = before = clock()
        longest = 0.0

        def passed() -> bool:
            nonlocal before, longest
            now = clock()
            before, longest = now, max(longest, now - before)
            return False

        for exit, vectors in enumerate(runner.exits(images, passed)):
            if search is not None:
                search(exit, vectors)
            passed()
            if number >= 0:
                seconds[number, exit] = before - start
        if number >= 0:
            blocks[number] = longest
    steps = np.diff(seconds, axis=1, prepend=0)
    return ExitTimes(
        tuple(np.median(seconds, 0).tolist()),
        tuple(np.maximum.accumulate(np.percentile(seconds, 95, axis=0)).tolist()),
        tuple(np.percentile(steps, 95, axis=0).tolist()),
        float(np.percentile(blocks, 95)),
        f"{runner.description}, batch {batch}, {searched}",
    )
