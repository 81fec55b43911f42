"""Policies at every budget: replays of streams, the static mix that they must beat, and the least cost that will do."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import adjacent_shares, geometric_shares
from dare.anytime.costs import ExitCosts, ExitTimes
from dare.anytime.policies import Chance, ExitPolicy, RunningQuantile, Steered, replay
from dare.experiments.accuracy import CONFIDENCE, MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.query_stream import Confidence, QueryStream

Shares = Callable[[ExitCosts, float], NDArray[np.float64]]
Build = Callable[[ExitCosts, float, int], ExitPolicy]


def _chance(costs: ExitCosts, mean_macs: float, seed: int) -> ExitPolicy:
    return Chance(adjacent_shares(costs, mean_macs), seed)


def _running_quantile(costs: ExitCosts, mean_macs: float, _: int) -> ExitPolicy:
    return RunningQuantile(geometric_shares(costs, mean_macs))


def _steered(costs: ExitCosts, mean_macs: float, _: int) -> ExitPolicy:
    return Steered(costs, mean_macs)


POLICIES: dict[str, tuple[Confidence, Shares, Build]] = {
    "chance": ("nearness", adjacent_shares, _chance),
    "nearness": ("nearness", geometric_shares, _running_quantile),
    "margin": ("margin", geometric_shares, _running_quantile),
    "label-free margin": ("label-free margin", geometric_shares, _running_quantile),
    "steered margin": ("label-free margin", geometric_shares, _steered),
}
"""What each policy looks at, the shares that it aims at, and a new one for a stream. The paper calls chance random."""

STATIC: dict[str, Measure] = {"static mix for rank-1": "rank-1", "static mix for mAP": "mAP"}
"""Exits mixed by chance so that one figure is best: what a policy must beat."""


@dataclass(frozen=True, slots=True)
class Point:
    """One policy at one budget.

    Attributes:
        policy: of `POLICIES` or `STATIC`.
        budget_macs, spent_macs: mean multiply-adds per query, allowed and taken.
        spent_seconds: the mean over the exits taken of the time to each; None where no times are known.
        wanted, taken: (E,), the share of the queries that leave at each exit, as planned and as replayed.
        gain: over the static mixes that spend as much, each measure over the mix that is best for it.
    """

    policy: str
    budget_macs: float
    spent_macs: float
    spent_seconds: float | None
    wanted: NDArray[np.float64]
    taken: NDArray[np.float64]
    accuracy: Accuracy
    gain: Accuracy


@dataclass(frozen=True, slots=True)
class Sweep:
    """A policy at P budgets: shares (P, E), over all runs, and outcomes."""

    policy: str
    budget_macs: list[float]
    wanted: NDArray[np.float64]
    taken: NDArray[np.float64]
    outcomes: Outcomes


def replayed(
    policy: str,
    streams: Sequence[QueryStream],
    outcomes: Outcomes,
    costs: ExitCosts,
    budget_macs: list[float],
    seed: int,
) -> Sweep:
    """A policy at every budget: each run with its own confidences, all by the same seed."""
    confidence, shares, build = POLICIES[policy]
    exits = np.array(
        [
            np.concatenate([replay(one.confidences[confidence], build(costs, macs, seed)) for one in streams])
            for macs in budget_macs
        ]
    )
    taken = np.stack([(exits == exit).mean(1) for exit in range(len(costs.macs))], axis=1)
    wanted = np.stack([shares(costs, macs) for macs in budget_macs])
    return Sweep(policy, budget_macs, wanted, taken, outcomes.pick(exits))


def mixed(policy: str, outcomes: Outcomes, costs: ExitCosts, budget_macs: list[float]) -> Sweep:
    """A static mix at every budget."""
    shares = static_mixes(costs, outcomes.means(STATIC[policy]), budget_macs)
    return Sweep(policy, budget_macs, shares, shares, outcomes.mix(shares))


def points(
    sweep: Sweep, outcomes: Outcomes, costs: ExitCosts, times: ExitTimes | None, bootstrap: Bootstrap
) -> Iterator[Point]:
    """What each budget of a sweep buys, and gains over the static mix."""
    spent_macs = np.maximum(sweep.taken @ costs.macs, costs.macs[0])  # rounding must not undercut the first exit
    for_rank1, for_map = (
        outcomes.mix(static_mixes(costs, outcomes.means(measure), spent_macs.tolist())) for measure in MEASURES
    )
    gains = sweep.outcomes - Outcomes(for_rank1.right, for_map.precision, outcomes.runs)
    yield from map(
        Point,
        itertools.repeat(sweep.policy),
        sweep.budget_macs,
        spent_macs.tolist(),
        (sweep.taken @ times.median).tolist() if times else itertools.repeat(None),
        sweep.wanted,
        sweep.taken,
        bootstrap.accuracies(sweep.outcomes),
        bootstrap.accuracies(gains),
    )


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

    def shown(self) -> tuple[str, str]:
        """For people: the cost with its interval, and mAP there."""
        percent, low, high = self.percent
        return f"{percent:.1f} % [{low:.0f}, {high:.0f}]", f"{100 * self.mean_average_precision:.1f}"


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
