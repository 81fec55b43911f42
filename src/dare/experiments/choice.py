"""Which exits to keep, and how many queries to send to each: chosen on held-out people, within a budget."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import adjacent_shares, geometric_shares, static_mixes
from dare.anytime.costs import ExitCosts
from dare.anytime.policies import Thresholds
from dare.experiments.accuracy import Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.query_stream import SEED, Confidence, QueryStream

CANDIDATES = 2000
FINEST = 20
"""Shares are tried in steps of a twentieth, or in coarser ones if these make more than `CANDIDATES`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which queries leave where.

    Attributes:
        shares: (E,), of the queries that leave at each exit; 0 at exits that are not kept.
        thresholds: (E - 1,), for `Thresholds`: infinity at exits that are passed by, minus infinity from the last one
            kept on.
        spent_macs: mean multiply-adds per query on the held-out people.
        accuracy: on the held-out people, whom the thresholds were learnt from.
    """

    shares: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    spent_macs: float
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan, and what else the budget would buy.

    Attributes:
        chosen: the plan with the fewest exits of those that do as well as the best, within the standard error.
        best: the plan that did best of all, by some luck if it is another one.
        geometric: the paper's shares (equation 3) at this budget, with thresholds learnt alike.
        static_mix: the best that can be had without looking at the query.
        gain_over_static_mix: of the chosen plan, paired.
        candidates: how many shares were tried.
    """

    chosen: Plan
    best: Plan
    geometric: Plan
    static_mix: Accuracy
    gain_over_static_mix: Accuracy
    candidates: int


def choose_exits(
    stream: QueryStream,
    costs: ExitCosts,
    mean_macs: float,
    *,
    maximise: Measure = "rank-1",
    confidence: Confidence = "label-free margin",
    seed: int = SEED,
) -> Choice:
    """Try shares that meet a budget, with thresholds learnt for each, and keep as few exits as will do.

    The best of hundreds of plans owes part of its lead to chance. So a plan with fewer exits is preferred if it falls
    short of the best by no more than the standard error of their paired difference. What is left of the luck is in the
    accuracies here: they are of the people chosen on, so measure the plan on others before you quote it.

    Args:
        stream: of held-out training people (`dare data hold-out`), in any order.
        costs: of leaving at each exit.
        mean_macs: the budget per query.
        maximise: which figure.
        confidence: what the thresholds are for; the label-free margin is what a deployed engine sees.
        seed: of the bootstrap.

    Raises:
        ValueError: a budget below the first exit's cost, costs of another number of exits, or no query with a match.
    """
    if len(costs.macs) != len(stream.exits):
        raise ValueError(f"expected costs of {len(stream.exits)} exits, got {len(costs.macs)}")
    if np.isnan(stream.outcomes.precision).all():
        raise ValueError("no query has a valid match in the gallery, so there is nothing to choose by")
    confidences = stream.confidences[confidence]
    confidences = np.where(np.isnan(confidences), np.inf, confidences)  # nobody to compare with: the first exit
    geometric = geometric_shares(costs, mean_macs)
    shares = np.stack([*candidate_shares(costs, mean_macs), geometric])
    thresholds = [_learnt(confidences, plan) for plan in shares]
    exits = np.stack([_exits(confidences, plan) for plan in thresholds])
    outcomes = stream.outcomes.pick(exits)
    bootstrap = Bootstrap(stream.people, seed)

    def plan(row: int) -> Plan:
        accuracy = bootstrap.accuracies(outcomes.at([row]))[0]
        return Plan(shares[row], thresholds[row], costs.mean(exits[row]), accuracy)

    best, chosen = _best_and_simplest(outcomes.means(maximise), (shares > 0).sum(1), outcomes, maximise, bootstrap)
    static = stream.outcomes.mix(static_mixes(costs, stream.outcomes.means(maximise), [mean_macs]))
    return Choice(
        plan(chosen),
        plan(best),
        plan(-1),
        bootstrap.accuracies(static)[0],
        bootstrap.accuracies(outcomes.at([chosen]) - static)[0],
        len(shares),
    )


def candidate_shares(costs: ExitCosts, mean_macs: float) -> NDArray[np.float64]:
    """Shares (P, E) of mean cost up to the budget, spread evenly; those of fewer exits and less cost come first.

    All such shares are mixes of a few corners: all queries at one exit that the budget allows, or at two whose costs
    enclose it. The mixes are tried in steps.
    """
    macs = np.asarray(costs.macs, np.float64)
    corners = [one for one, cost in zip(np.eye(len(macs)), macs, strict=True) if cost <= mean_macs]
    for pair in itertools.combinations(range(len(macs)), 2):
        if macs[pair[0]] < mean_macs < macs[pair[1]]:
            corner = np.zeros(len(macs))
            corner[[*pair]] = adjacent_shares([macs[exit] for exit in pair], mean_macs)
            corners.append(corner)
    count = len(corners)
    steps = max(n for n in range(1, FINEST + 1) if n == 1 or math.comb(n + count - 1, count - 1) <= CANDIDATES)
    mixes = np.array(list(_compositions(steps, count))) / steps
    shares = np.unique((mixes @ np.stack(corners)).round(12), axis=0)
    return shares[np.lexsort([shares @ macs, (shares > 0).sum(1)])]


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to share `total` steps among `parts` corners."""
    for bars in itertools.combinations(range(total + parts - 1), parts - 1):
        ends = (-1, *bars, total + parts - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(ends))


def _learnt(confidences: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    thresholds = Thresholds.learnt(confidences, shares / shares.sum()).thresholds
    thresholds[shares[:-1] == 0] = np.inf
    thresholds[np.flatnonzero(shares)[-1] :] = -np.inf
    return thresholds


def _exits(confidences: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """(Q,), as `replay` with `Thresholds` says."""
    exits: NDArray[np.int64] = (confidences >= np.append(thresholds, -np.inf)[:, None]).argmax(0)
    return exits


def _best_and_simplest(
    values: NDArray[np.float64],
    exits_kept: NDArray[np.integer],
    outcomes: Outcomes,
    measure: Measure,
    bootstrap: Bootstrap,
) -> tuple[int, int]:
    best = int(values.argmax())
    for count in range(1, int(exits_kept[best])):
        rows = np.flatnonzero(exits_kept == count)
        if not len(rows):
            continue
        row = int(rows[values[rows].argmax()])
        shortfall = bootstrap.accuracies(outcomes.at([best]) - outcomes.at([row]))[0][measure]
        if shortfall.value <= shortfall.error:
            return best, row
    return best, best
