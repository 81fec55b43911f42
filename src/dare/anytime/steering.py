"""A policy that meets its budget: the shares that leave follow what has been spent."""

import bisect
import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import NOTHING_LEFT, Costs, exit_costs, geometric_shares
from dare.anytime.policies import Seen

# Found by trial, so that streams of all kinds, even ones that alternate between easy and hard, are within 0.5 % of
# their budget from 1,000 queries on, and so that single queries have little influence.
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


class Steered:
    """A running quantile whose shares follow what has been spent, so that the mean cost meets the budget.

    The paper's rule misses its budget by some percent, and by much more when easy and hard queries come in phases.
    Here each query that leaves changes the target of the next ones by what is still to be spent or saved, spread over
    `horizon` queries. Records don't always leave, so the budget is also met by streams that get easier and easier.

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
        self._leaving, self._ahead = [0.0 for _ in self._costs], [0.0 for _ in self._costs]
        self._aim_at(geometric_shares(costs, mean_macs).tolist())

    def stops(self, exit: int, confidence: float) -> bool:
        """Whether fewer than q_s of the confidences seen at the exit are surer; never for NaN."""
        stopped = False
        if not math.isnan(confidence):
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
