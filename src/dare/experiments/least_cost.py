"""The least mean cost at which a policy is as good as the full network, or nearly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.experiments.accuracy import CONFIDENCE, Bootstrap, Outcomes


@dataclass(frozen=True, slots=True)
class LeastCost:
    """Where a policy's curve comes to stay at or above a rank-1.

    Attributes:
        macs: mean multiply-adds spent per query there.
        low_macs, high_macs: ends of the 95 % interval; infinite where the rank-1 may not be reached at all.
        full_macs: of the full network.
        rank1, mean_average_precision: there, from 0 to 1.
    """

    macs: float
    low_macs: float
    high_macs: float
    full_macs: float
    rank1: float
    mean_average_precision: float

    @property
    def percent(self) -> tuple[float, float, float]:
        """The cost and the ends of its interval, in percent of the full network's."""
        return tuple(100 * macs / self.full_macs for macs in (self.macs, self.low_macs, self.high_macs))  # type: ignore[return-value]


def least_cost(
    spent_macs: NDArray[np.float64],
    outcomes: Outcomes,
    full: Outcomes,
    full_macs: float,
    allowance: float,
    bootstrap: Bootstrap,
) -> LeastCost | None:
    """What a policy spends to stay within an allowance of the full network's rank-1.

    Of the budgets of the sweep, the largest that falls short and the next one enclose the answer: from there on every
    budget reaches the target, so a lucky budget further down does not count. Between the two a straight line is drawn,
    which is what a stream gets that changes between them by chance. The cost is what was spent, not what was allowed.

    Args:
        spent_macs: (P,), by budget.
        outcomes: (P, Q), at these budgets.
        full, full_macs: (1, Q), all queries at the last exit, and what that costs.
        allowance: from 0 to 1.
        bootstrap: for the interval, which covers that the target depends on the queries too.

    Returns:
        None where the largest budget falls short.
    """
    rank1 = outcomes.means("rank-1")
    place = coming_to_stay(rank1[None], full.means("rank-1") - allowance)
    if np.isinf(place[0]):
        return None
    resampled = coming_to_stay(bootstrap.means(outcomes, "rank-1"), bootstrap.means(full, "rank-1")[:, 0] - allowance)
    # No interpolation between order statistics: some may be infinite.
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    return LeastCost(
        _at(place[0], spent_macs),
        _at(low, spent_macs),
        _at(high, spent_macs),
        full_macs,
        _at(place[0], rank1),
        _at(place[0], outcomes.means("mAP")),
    )


def coming_to_stay(values: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where sequences (R, P) come to stay at or above their targets (R,), as places from 0 to P - 1.

    Places between two are where the straight line meets the target; infinity where the last value is below.
    """
    below = values < targets[:, None]
    count = values.shape[1]
    last = np.where(below.any(1), count - 1 - below[:, ::-1].argmax(1), -1)
    rows = np.arange(len(values))
    before, after = values[rows, np.maximum(last, 0)], values[rows, np.minimum(last + 1, count - 1)]
    inside = (last >= 0) & (last < count - 1)
    part = (targets - before) / np.where(inside, after - before, 1)
    return np.where(inside, last + part, np.where(last < 0, 0, np.inf))


def _at(place: float, values: NDArray[np.float64]) -> float:
    return float("inf") if np.isinf(place) else float(np.interp(place, np.arange(len(values)), values))
