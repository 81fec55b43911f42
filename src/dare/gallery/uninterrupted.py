"""Changes that come to their end although Ctrl-C is pressed meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def to_the_end(act: Callable[[], T]) -> T:
    """What a function returns; an interrupt meanwhile is raised once it has ended."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(act).result()
