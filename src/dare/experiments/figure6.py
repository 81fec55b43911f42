"""Figure 6: accuracy of a stream over its mean budget, by who decides which queries leave early."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import adjacent_shares, geometric_shares
from dare.anytime.costs import ExitCosts, ExitTimes
from dare.anytime.policies import Chance, ExitPolicy, RunningQuantile, replay
from dare.anytime.steering import Steered
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.least_cost import LeastCost, least_cost
from dare.experiments.query_stream import SEED, Confidence, QueryStream
from dare.experiments.static_mix import static_mixes

BUDGETS = 50
"""From the first exit's cost to the last one's, evenly spaced (released code)."""

ALLOWANCE = 0.003
"""How far below the full network's rank-1 a policy may stay and still count as its equal."""

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
class Figure6:
    """The points of the figure, by policy and budget.

    Attributes:
        queries: how many; those without a match count for the cost, but in no accuracy.
        exits: E names.
        alone: all queries at one exit, for each exit.
        least: for each policy what it takes to be as good as the last one, but for `ALLOWANCE`; None where it never is.
        seed: of the stream's order, of chance and of the bootstrap.
    """

    benchmark: str
    queries: int
    exits: tuple[str, ...]
    costs: ExitCosts
    times: ExitTimes | None
    points: tuple[Point, ...]
    alone: tuple[Accuracy, ...]
    least: dict[str, LeastCost | None]
    seed: int

    def of(self, policy: str) -> list[Point]:
        """One policy's points, by budget."""
        return [point for point in self.points if point.policy == policy]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per point; rank-1 and mAP in percent."""
        for point in self.points:
            row: dict[str, Any] = {"policy": point.policy, "budget_macs": round(point.budget_macs)}
            row["spent_macs"] = round(point.spent_macs)
            row["spent_percent_of_full"] = f"{100 * point.spent_macs / self.costs.macs[-1]:.2f}"
            row["spent_ms"] = "" if point.spent_seconds is None else f"{1000 * point.spent_seconds:.4g}"
            for kind, shares in (("wanted", point.wanted), ("taken", point.taken)):
                row |= {f"share_{kind}_{exit}": f"{share:.5f}" for exit, share in enumerate(shares, start=1)}
            yield row | point.accuracy.row() | point.gain.row("gain_")


def figure6(
    stream: QueryStream,
    costs: ExitCosts,
    times: ExitTimes | None = None,
    *,
    budgets: int = BUDGETS,
    seed: int = SEED,
) -> Figure6:
    """Replay a stream with every policy at every budget, and mix its exits by chance.

    Args:
        stream: in any order; it is shuffled here.
        costs: multiply-adds of leaving at each exit, which budgets are made of.
        times: measured, to say also what is spent in seconds.
        budgets: how many.
        seed: of the stream's order, of chance and of the bootstrap.

    Raises:
        ValueError: a single exit, costs or times of another number of exits, or no query with a valid match.
    """
    if budgets < 2:
        raise ValueError(f"a curve needs at least 2 budgets, got {budgets}")
    count = len(stream.exits)
    if len(costs.macs) != count or (times and len(times.median) != count):
        raise ValueError(f"expected costs of {count} exits, got {len(costs.macs)} (times: {times and times.median})")
    if count < 2:
        raise ValueError("a network with a single exit leaves nothing to decide; give one with at least two")
    if np.isnan(stream.outcomes.precision).all():
        raise ValueError("no query has a valid match in the gallery, so there is nothing to draw; check the labels")
    stream = stream.shuffled(seed)
    bootstrap = Bootstrap(stream.people, seed)
    budget_macs = np.linspace(costs.macs[0], costs.macs[-1], budgets).tolist()
    sweeps = [_replayed(policy, stream, costs, budget_macs, seed) for policy in POLICIES]
    sweeps += [_mixed(policy, stream, costs, budget_macs) for policy in STATIC]
    full = stream.outcomes.pick(np.full((1, len(stream)), count - 1))
    return Figure6(
        stream.benchmark,
        len(stream),
        stream.exits,
        costs,
        times,
        tuple(point for sweep in sweeps for point in _points(sweep, stream, costs, times, bootstrap)),
        tuple(bootstrap.accuracies(stream.outcomes)),
        {
            sweep.policy: least_cost(
                sweep.taken @ costs.macs, sweep.outcomes, full, costs.macs[-1], ALLOWANCE, bootstrap
            )
            for sweep in sweeps
        },
        seed,
    )


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A policy at P budgets: shares (P, E), outcomes (P, Q)."""

    policy: str
    budget_macs: list[float]
    wanted: NDArray[np.float64]
    taken: NDArray[np.float64]
    outcomes: Outcomes


def _replayed(policy: str, stream: QueryStream, costs: ExitCosts, budget_macs: list[float], seed: int) -> _Sweep:
    confidence, shares, build = POLICIES[policy]
    exits = np.stack([replay(stream.confidences[confidence], build(costs, macs, seed)) for macs in budget_macs])
    taken = np.stack([(exits == exit).mean(1) for exit in range(len(costs.macs))], axis=1)
    wanted = np.stack([shares(costs, macs) for macs in budget_macs])
    return _Sweep(policy, budget_macs, wanted, taken, stream.outcomes.pick(exits))


def _mixed(policy: str, stream: QueryStream, costs: ExitCosts, budget_macs: list[float]) -> _Sweep:
    shares = static_mixes(costs, stream.outcomes.means(STATIC[policy]), budget_macs)
    return _Sweep(policy, budget_macs, shares, shares, stream.outcomes.mix(shares))


def _points(
    sweep: _Sweep, stream: QueryStream, costs: ExitCosts, times: ExitTimes | None, bootstrap: Bootstrap
) -> Iterator[Point]:
    spent_macs = np.maximum(sweep.taken @ costs.macs, costs.macs[0])  # rounding must not undercut the first exit
    for_rank1, for_map = (
        stream.outcomes.mix(static_mixes(costs, stream.outcomes.means(measure), spent_macs.tolist()))
        for measure in MEASURES
    )
    gains = sweep.outcomes - Outcomes(for_rank1.right, for_map.precision)
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
