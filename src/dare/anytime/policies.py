"""Which query leaves where: each policy answers one question, `stops(exit, confidence)`.

Exits are counted from 0; no policy is asked at the last one. Policies hold state: make one per stream, and ask it in
the stream's order.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedList

from dare.anytime.budgets import conditional


class ExitPolicy(Protocol):
    """Decides at each exit but the last whether a query leaves there."""

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether a query with this confidence (higher is surer; NaN: unknown) leaves at this exit."""
        ...


class RunningQuantile:
    """Lets the surest q_s of all queries that have reached exit s so far leave there (paper, section 4.2).

    The threshold is an order statistic of the confidences seen at the exit, this one included. So the first query that
    reaches an exit leaves there, and a record leaves whatever the shares. Takes O(log n) per query.

    Args:
        shares: p (E,), of all queries.
        window: how many confidences to remember per exit, for endless streams; all by default.
    """

    def __init__(self, shares: Sequence[float] | NDArray[np.floating], window: int | None = None) -> None:
        self._leaving = conditional(shares).tolist()
        self._seen = [Seen(window) for _ in self._leaving]

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether the confidence is among the surest so far; NaN is not."""
        if math.isnan(confidence):
            return False
        seen = self._seen[exit].add(confidence)
        return bool(confidence >= seen[-1 - int((len(seen) - 1) * self._leaving[exit])])


class Seen:
    """The confidences seen at an exit, in ascending order; a window forgets the oldest."""

    def __init__(self, window: int | None) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self._sorted = SortedList()
        self._order: deque[float] = deque()
        self._window = window

    def add(self, confidence: float) -> "SortedList":
        self._sorted.add(confidence)
        if self._window is not None:
            self._order.append(confidence)
            if len(self._order) > self._window:
                self._sorted.remove(self._order.popleft())
        return self._sorted


class Chance:
    """Lets each query leave at exit s with probability q_s, whatever its confidence: the baseline.

    One generator per exit, so that micro-batches change nothing.
    """

    def __init__(self, shares: Sequence[float] | NDArray[np.floating], seed: int = 0) -> None:
        self._leaving = conditional(shares)
        self._random = [np.random.default_rng([seed, exit]) for exit in range(len(self._leaving))]

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether the exit's next random number is below q_s."""
        return bool(self._random[exit].random() < self._leaving[exit])


class Thresholds:
    """Lets queries leave whose confidence reaches a fixed threshold.

    Args:
        thresholds: (E - 1,) or (E,), one per exit; the last exit needs none.
    """

    def __init__(self, thresholds: Sequence[float] | NDArray[np.floating]) -> None:
        self.thresholds = np.asarray(thresholds, np.float64)
        if self.thresholds.ndim != 1 or np.isnan(self.thresholds).any():
            raise ValueError(f"expected one threshold per exit, got {thresholds!r:.80}")

    @classmethod
    def learnt(cls, confidences: NDArray[np.floating], shares: Sequence[float] | NDArray[np.floating]) -> "Thresholds":
        """Thresholds that would send these shares of a validation set to the exits.

        Args:
            confidences: (E, N), of validation queries at every exit.
            shares: p (E,).
        """
        rows = np.asarray(confidences, np.float64)
        leaving = conditional(shares)
        if rows.ndim != 2 or rows.shape[0] != len(leaving) or not rows.shape[1] or np.isnan(rows[:-1]).any():
            raise ValueError(f"expected confidences ({len(leaving)}, N) without NaN, got shape {rows.shape}")
        thresholds = []
        for exit, q in enumerate(leaving[:-1]):
            # No query left to learn from: those that still come are as sure as those that left before.
            found = np.sort(rows[exit])[::-1]
            leave = round(len(found) * q)
            thresholds.append(_between(found, leave) if len(found) else -np.inf)
            rows = rows[:, rows[exit] < thresholds[-1]]
        return cls(np.asarray(thresholds))

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether the confidence reaches the exit's threshold."""
        return bool(confidence >= self.thresholds[exit])


def _between(descending: NDArray[np.float64], count: int) -> float:
    """A threshold that `count` confidences reach, halfway between the two nearest to it."""
    if count in (0, len(descending)):
        return -np.inf if count else np.inf
    last, following = descending[count - 1], descending[count]
    between = (last + following) / 2
    return float(between if between > following else last)


class Deadline:
    """Lets a query leave when the next exit would come too late, whatever its confidence; one object per query.

    A query that has been slower than measured so far, on a busy machine, is expected to stay as slow.

    Args:
        until: the deadline as a time on the clock, in seconds.
        steps: (E,), seconds from the previous exit to each exit, as measured: `ExitTimes.steps`. The first one begins
            when the policy is made.
        clock: monotonic.
    """

    def __init__(self, until: float, steps: Sequence[float], clock: Callable[[], float] = time.perf_counter) -> None:
        self._until, self._steps, self._clock = until, tuple(steps), clock
        self._start = clock()

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether the step to the next exit would end after the deadline."""
        now, expected = self._clock(), sum(self._steps[: exit + 1])
        slower = max(1.0, (now - self._start) / expected) if expected else 1.0
        return now + slower * self._steps[exit + 1] > self._until


def replay(confidences: NDArray[np.floating], policy: ExitPolicy) -> NDArray[np.int64]:
    """The exit, counted from 0, at which each query of a stream leaves.

    Args:
        confidences: (E, Q), in the stream's order; those at the last exit are not used.
        policy: a new one; its state changes with the stream.

    Returns:
        (Q,).
    """
    rows = np.asarray(confidences)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"expected confidences (E, Q), got shape {rows.shape}")
    last = len(rows) - 1
    exits = np.full(rows.shape[1], last, np.int64)
    for query, column in enumerate(rows[:-1].T.tolist()):
        for exit, confidence in enumerate(column):
            if policy.stops(exit, confidence):
                exits[query] = exit
                break
    return exits
