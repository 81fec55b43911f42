"""From a mean budget to the share of queries that should leave at each exit (paper, section 4.2)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import ExitCosts, ExitTimes

Costs = ExitCosts | ExitTimes | Sequence[float]
"""Of leaving at each exit, increasing: multiply-adds, measured times, or numbers in the budget's unit."""

NOTHING_LEFT = 1e-6
"""If a smaller share of the queries is left, all of them leave (as in the released code)."""


def beyond(costs: Costs, budget: float) -> str:
    """A note on a budget above the last exit's cost, which says nothing more than that cost; "" for others."""
    full = exit_costs(costs)[-1]
    if budget <= full:
        return ""
    return f"the budget is {budget / full:,.3g} times the full network's cost, so every query may go all the way"


def geometric_shares(costs: Costs, mean_macs: float) -> NDArray[np.float64]:
    """Shares (E,) that change by a constant factor from exit to exit and cost `mean_macs` on average.

    p_s = a^(s-1) / Z with the one a > 0 that solves sum_s p_s C_s = mean_macs (equation 3). With the first exit's cost
    as the budget all queries leave there; with the last one's cost, or more, all go through.

    Args:
        costs: of leaving at each exit, increasing.
        mean_macs: the budget per query, in the unit of the costs.

    Raises:
        ValueError: a budget below the first exit's cost.
    """
    macs = exit_costs(costs)
    _check(macs, mean_macs)
    shares = np.zeros(len(macs))
    if mean_macs == macs[0] or mean_macs >= macs[-1]:
        shares[0 if mean_macs == macs[0] else -1] = 1
        return shares
    from scipy.optimize import brentq  # slow to import, and not needed for deadlines and thresholds

    excess = macs / mean_macs - 1  # their sign changes once, so the polynomial in a has one positive root (Descartes)
    powers = np.arange(len(macs))

    def terms(log_a: float) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = np.exp(powers * log_a - max(0.0, powers[-1] * log_a))
        return scaled

    def surplus(log_a: float) -> float:
        return float(excess @ terms(log_a))

    # A share of 1e-300 is none: outside this interval the budget equals an exit's cost up to rounding.
    wide = 690.0
    if surplus(-wide) >= 0 or surplus(wide) <= 0:
        shares[0 if surplus(-wide) >= 0 else -1] = 1
        return shares
    log_a = float(brentq(surplus, -wide, wide, xtol=1e-14, rtol=1e-14))
    shares = terms(log_a)
    shares /= shares.sum()
    return shares


def adjacent_shares(costs: Costs, mean_macs: float) -> NDArray[np.float64]:
    """Shares (E,) of the two exits whose costs enclose the budget, which they meet on average.

    The paper's random policy spends its budget this way.

    Raises:
        ValueError: a budget below the first exit's cost.
    """
    macs = exit_costs(costs)
    _check(macs, mean_macs)
    shares = np.zeros(len(macs))
    below = int(np.searchsorted(macs, mean_macs, side="right")) - 1
    if below == len(macs) - 1:
        shares[-1] = 1
        return shares
    shares[below] = (macs[below + 1] - mean_macs) / (macs[below + 1] - macs[below])
    shares[below + 1] = 1 - shares[below]
    return shares


def conditional(shares: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """q (E,): the share that leaves at each exit of those that reach it, from the shares p of all.

    q_s = p_s / (1 - sum_{i<s} p_i); 1 where less than a millionth is left.
    """
    p = np.asarray(shares, np.float64)
    if p.ndim != 1 or not len(p) or not (p >= 0).all() or not math.isclose(p.sum(), 1, abs_tol=1e-6):
        raise ValueError(f"shares of the queries must be at least 0 and add up to 1, got {p}")
    left = 1 - np.concatenate([[0.0], np.cumsum(p)[:-1]])
    return np.where(left < NOTHING_LEFT, 1.0, np.minimum(1.0, p / np.maximum(left, NOTHING_LEFT)))


def upper_hull(costs: Sequence[float] | NDArray[np.floating], values: NDArray[np.floating]) -> list[int]:
    """The points from which no mix of others of the same cost takes the lead, from the cheapest to the best.

    These are the corners of the upper convex hull of (cost, value) as long as it rises; a budget above the best
    point's cost need not be spent.

    Args:
        costs: (E,), increasing.
        values: (E,), higher is better.
    """
    points = list(zip(costs, values, strict=True))
    hull: list[int] = []
    for new, (cost, value) in enumerate(points):
        if hull and value <= points[hull[-1]][1]:
            continue
        while len(hull) > 1:
            (cost_a, value_a), (cost_b, value_b) = points[hull[-2]], points[hull[-1]]
            if (value_b - value_a) * (cost - cost_a) > (value - value_a) * (cost_b - cost_a):
                break
            hull.pop()
        hull.append(new)
    return hull


def static_mixes(costs: Costs, values: NDArray[np.floating], budgets: Sequence[float]) -> NDArray[np.float64]:
    """Shares (P, E) that do best where nobody looks at the query: those of one exit, or of two.

    Args:
        costs: of leaving at each exit.
        values: (E,), rank-1 or mAP where all queries leave there.
        budgets: P of them, per query, in the unit of the costs; what is above the best exit's cost stays unspent.

    Raises:
        ValueError: a budget below the first exit's cost.
    """
    each = exit_costs(costs)
    hull = upper_hull(each, values)
    shares = np.zeros((len(budgets), len(each)))
    shares[:, hull] = [adjacent_shares(each[hull].tolist(), macs) for macs in budgets]
    return shares


def exit_costs(costs: Costs) -> NDArray[np.float64]:
    """(E,), the cost of leaving at each exit: multiply-adds, or the median of measured seconds."""
    values = costs.macs if isinstance(costs, ExitCosts) else costs.median if isinstance(costs, ExitTimes) else costs
    macs = np.asarray(values, np.float64)
    if macs.ndim != 1 or not len(macs) or not np.isfinite(macs).all() or macs[0] <= 0 or (np.diff(macs) <= 0).any():
        raise ValueError(f"costs must be positive and increase from exit to exit, got {macs}")
    return macs


def _check(macs: NDArray[np.float64], mean_macs: float) -> None:
    if not mean_macs >= macs[0]:
        least = f"the smallest possible budget is {float(macs[0])!r}, the first exit alone"
        raise ValueError(f"a mean budget of {mean_macs!r} cannot be met; {least}")
