"""Work on blocks of rows, one block per core at a time."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")


def in_blocks(count: int, rows: int, work: Callable[[int, int], T]) -> list[T]:
    """What `work(start, stop)` gives for each block of at most so many rows of `count`, in order."""
    # Each thread multiplies its own matrices; threads of the BLAS library besides would only wait.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_cores()) as pool:
        return list(pool.map(lambda start: work(start, min(start + rows, count)), range(0, count, rows)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
