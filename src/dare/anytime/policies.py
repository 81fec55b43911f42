"""Which query leaves where: each policy answers one question, `stops(exit, confidence)`.

Exits are counted from 0; no policy is asked at the last one. Policies hold state: make one per stream, and ask it in
the stream's order.
"""

import bisect
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedList

from dare.anytime.budgets import NOTHING_LEFT, Costs, conditional, exit_costs, geometric_shares
from dare.anytime.costs import ExitTimes

# Found by trial, so that streams of all kinds, even ones that alternate between easy and hard, are within 0.5 % of
# their budget from 1,000 queries on, and single queries have little influence.
STEERING_HORIZON = 5
"""Queries over which overspending or underspending is made up for."""
STEERING_REACH = 3
"""This many unspent budgets send all queries to the last exit, unless the horizon does so sooner."""
STEERING_CALM = 1000
"""From this many queries on the horizon grows with their number: the same difference is a smaller part of the total."""
STEERING_WINDOW = 256
"""Confidences to compare with: few, so that a change in the stream is soon noticed."""

BUDGET_STEPS = 512
STEEPEST = 25.0
"""The largest logarithm of the factor between the shares of two exits; a share of e^-25 is none."""


class ExitPolicy(Protocol):
    """Decides at each exit but the last whether a query leaves there.

    A confidence that is NaN means that there is nobody to compare with, which no later exit changes: the query leaves.
    """

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether a query with this confidence (higher is surer) leaves at this exit."""
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
        """Whether the confidence is among the surest so far."""
        if math.isnan(confidence):
            return True
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
        return bool(self._random[exit].random() < self._leaving[exit]) or math.isnan(confidence)


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
        return not confidence < self.thresholds[exit]


def _between(descending: NDArray[np.float64], count: int) -> float:
    """A threshold that `count` confidences reach, halfway between the two nearest to it."""
    if count in (0, len(descending)):
        return -np.inf if count else np.inf
    last, following = descending[count - 1], descending[count]
    between = (last + following) / 2
    return float(between if between > following else last)


class Steered:
    """A running quantile whose shares follow what has been spent, so that the mean cost meets the budget.

    The paper's rule misses its budget by some percent, and by much more when easy and hard queries come in phases.
    Here each query that leaves changes the target of the next ones by what is still to be spent or saved, spread over
    `horizon` queries. Records don't always leave, so the budget is also met by streams that get easier and easier.
    A budget of time is met on the clock if `took` is told how long queries really took.

    Args:
        costs: of leaving at each exit.
        mean_macs: the budget per query, in the unit of the costs.
        window: how many confidences to remember per exit.
        horizon: queries over which a difference is spread.
    """

    def __init__(
        self,
        costs: Costs,
        mean_macs: float,
        *,
        window: int | None = STEERING_WINDOW,
        horizon: int = STEERING_HORIZON,
    ) -> None:
        if horizon < 1:
            raise ValueError(f"horizon must be at least 1, got {horizon}")
        self._costs = exit_costs(costs).tolist()
        self._timed, self._wanted, self._real, self._nominal = isinstance(costs, ExitTimes), mean_macs, 0.0, 0.0
        self._budget = min(mean_macs, self._costs[-1])
        self._seen = [Seen(window) for _ in self._costs]
        self._horizon = horizon
        self._spend_more = max(1 / horizon, (self._costs[-1] / self._budget - 1) / STEERING_REACH)
        self._to_spend, self._come = 0.0, 0
        # Expected costs of queries on their way to each exit, as estimated when they stayed.
        self._expected: list[deque[float]] = [deque() for _ in self._costs]
        # A mixture of two budgets' shares costs the mixture of the budgets: no root to find per query.
        shares = _shares_of_all_budgets(len(self._costs))
        self._aims, self._shares = (shares @ self._costs).tolist(), shares.tolist()
        self._leaving, self._ahead = [0.0] * len(self._costs), [0.0] * len(self._costs)
        self._aim_at(geometric_shares(costs, mean_macs).tolist())

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether fewer than q_s of the confidences seen at the exit are surer."""
        stopped = math.isnan(confidence)
        if not stopped:
            seen = self._seen[exit].add(confidence)
            surer = len(seen) - seen.bisect_right(confidence)
            stopped = bool(surer < self._leaving[exit] * len(seen))
        # Queries of a micro-batch are on their way together: those that stay count at once with their expected cost.
        if exit == 0:
            self._come += 1
            self._to_spend += self._budget
        elif self._expected[exit]:
            self._to_spend += self._expected[exit].popleft()
        else:
            self._to_spend += self._costs[exit]
        if stopped or exit == len(self._costs) - 2:
            self._to_spend -= self._costs[exit if stopped else -1]
        else:
            self._expected[exit + 1].append(self._ahead[exit + 1])
            self._to_spend -= self._ahead[exit + 1]
        self._steer()
        return stopped

    def took(self, seconds: float, exits: Sequence[int]) -> None:
        """How long queries that left at these exits really took; ignored unless the budget is of time."""
        if not self._timed or not exits:
            return
        kept = max(0.0, 1 - len(exits) / STEERING_WINDOW)
        self._real = kept * self._real + seconds
        self._nominal = kept * self._nominal + sum(self._costs[exit] for exit in exits)
        self._budget = min(max(self._wanted * self._nominal / self._real, self._costs[0]), self._costs[-1])

    def _steer(self) -> None:
        """Set the shares by what is still to be spent."""
        gain = self._spend_more if self._to_spend > 0 else 1 / self._horizon
        aim = self._budget + gain * self._to_spend / max(1.0, self._come / STEERING_CALM)
        above = min(max(bisect.bisect_left(self._aims, aim), 1), len(self._aims) - 1)
        low, high = self._aims[above - 1], self._aims[above]
        weight = min(max((aim - low) / (high - low), 0.0), 1.0) if high > low else 1.0
        self._aim_at(
            [
                (1 - weight) * fewer + weight * more
                for fewer, more in zip(self._shares[above - 1], self._shares[above], strict=True)
            ]
        )

    def _aim_at(self, shares: list[float]) -> None:
        """Which share of those that reach an exit leaves there, and the mean cost of those that reach it."""
        come, cost = 0.0, 0.0
        for exit in range(len(shares) - 1, -1, -1):
            come += shares[exit]
            cost += shares[exit] * self._costs[exit]
            all_leave = come <= NOTHING_LEFT
            self._leaving[exit] = 1.0 if all_leave else min(1.0, shares[exit] / come)
            self._ahead[exit] = self._costs[exit] if all_leave else cost / come


def _shares_of_all_budgets(exits: int) -> NDArray[np.float64]:
    """Shares (B, E) as in equation 3, by rising cost: for many factors a, and for 0 and infinity."""
    powers = np.outer(np.linspace(-STEEPEST, STEEPEST, BUDGET_STEPS), np.arange(exits))
    shares = np.exp(powers - powers.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return np.concatenate([np.eye(exits)[:1], shares, np.eye(exits)[-1:]])


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
        return now + slower * self._steps[exit + 1] > self._until or math.isnan(confidence)


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
