"""The best that can be had without looking at the query: exits mixed by chance, or a single one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import adjacent_shares
from dare.anytime.costs import ExitCosts


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


def static_mixes(costs: ExitCosts, values: NDArray[np.floating], budgets: Sequence[float]) -> NDArray[np.float64]:
    """Shares (P, E) that do best where nobody looks at the query: those of one exit, or of two.

    Args:
        costs: of leaving at each exit.
        values: (E,), rank-1 or mAP where all queries leave there.
        budgets: P of them, mean multiply-adds per query; what is above the best exit's cost stays unspent.

    Raises:
        ValueError: a budget below the first exit's cost.
    """
    hull = upper_hull(costs.macs, values)
    shares = np.zeros((len(budgets), len(costs.macs)))
    shares[:, hull] = [adjacent_shares([costs.macs[exit] for exit in hull], macs) for macs in budgets]
    return shares
