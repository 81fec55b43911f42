"""Whose turn it is at each exit, where micro-batches go through a network at the same time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Turn = Callable[[int], AbstractContextManager[None]]
"""Exit -> a context that begins once all batches before have been there, or have left earlier."""


class Turns:
    """Lets batches decide at each exit in their order, whichever comes there first.

    Args:
        exits: where is decided, counted from 0.
    """

    def __init__(self, exits: int) -> None:
        self._next = [0 for _ in range(exits)]
        self._finished: set[int] = set()
        self._changed = threading.Condition()
        self._broken = False

    @contextmanager
    def of(self, place: int) -> Iterator[Turn]:
        """What a batch at this place of the order asks at exits; behind it the batch has left, or failed."""
        try:
            yield lambda exit: self._at(place, exit)
        except BaseException:
            self._broken = True
            raise
        finally:
            with self._changed:
                self._finished.add(place)
                for exit, following in enumerate(self._next):
                    while following in self._finished:
                        following += 1  # noqa: PLW2901
                    self._next[exit] = following
                self._finished = {number for number in self._finished if number >= min(self._next, default=place + 1)}
                self._changed.notify_all()

    @contextmanager
    def _at(self, place: int, exit: int) -> Iterator[None]:
        if exit >= len(self._next):  # at the last exit nothing is decided
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._next[exit] == place)
        if self._broken:
            raise RuntimeError("a batch before this one failed, so nothing is decided any more")
        try:
            yield
        finally:
            with self._changed:
                self._next[exit] = place + 1
                while self._next[exit] in self._finished:
                    self._next[exit] += 1
                self._changed.notify_all()
