"""Queries one after the other: what every exit would say of each, and which policy lets them leave where."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import adjacent_shares, geometric_shares
from dare.anytime.confidence import Allowed, NearestTwo, nearest_two, stream_agreement
from dare.anytime.costs import ExitCosts
from dare.anytime.policies import Chance, ExitPolicy, RunningQuantile, Steered, replay
from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import CONFIDENCE, Bootstrap, Measure, Outcomes
from dare.retrieval.distances import normalised

Confidence = Literal["nearness", "margin", "label-free margin", "agreement"]
"""`nearness` and `margin` are the paper's: of the list that the benchmark's protocol allows, which takes the query's
label to know. The label-free margin and the agreement know the query's camera at most, as a deployed engine does."""

SEED = 817
"""The seed of the released code. Its shuffle is another one, so the order is not the same."""


@dataclass(frozen=True, slots=True)
class QueryStream:
    """Q queries in the order in which they come, at E exits.

    Attributes:
        benchmark: its name.
        rows: (Q,), their places in the benchmark's query list.
        people: (Q,).
        exits: E names.
        outcomes: what the answer at each exit is worth, (E, Q).
        confidences: (E, Q) each, in the order of the queries; higher is surer.
        label_free: the entries that label-free margins and agreements are taken from.
    """

    benchmark: str
    rows: NDArray[np.int64]
    people: NDArray[np.int64]
    exits: tuple[str, ...]
    outcomes: Outcomes
    confidences: dict[Confidence, NDArray[np.float64]]
    label_free: Allowed

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, seed: int) -> "QueryStream":
        """The same queries in an order drawn by a seed."""
        order = np.random.default_rng(seed).permutation(len(self))
        return replace(
            self,
            rows=self.rows[order],
            people=self.people[order],
            outcomes=self.outcomes.queries(order),
            confidences={name: confidence[:, order] for name, confidence in self.confidences.items()},
        )


def query_stream(evaluation: Evaluation) -> QueryStream:
    """The benchmark's queries in the order of its list, which is by person: shuffle it before you replay it.

    Takes one pass over the distances for each exit and each kind of list. Where cameras are not known, label-free
    margins look at the whole gallery.
    """
    query, gallery = evaluation.query, evaluation.gallery
    pairs = query.exits_against(gallery)
    if evaluation.distance == "cosine":
        pairs = [(normalised(q), normalised(g)) for q, g in pairs]

    def nearest(allowed: Allowed) -> list[NearestTwo]:
        return [nearest_two(q, g, query, gallery, allowed) for q, g in pairs]

    label_free: Allowed = "other-cameras" if evaluation.benchmark.cameras_known else "all"
    paper, deployed = nearest("paper"), nearest(label_free)
    return QueryStream(
        evaluation.benchmark.name,
        np.arange(len(query)),
        query.people,
        tuple(result.name for result in evaluation.exits),
        Outcomes.of([result.scores for result in evaluation.exits]),
        {
            "nearness": np.stack([two.nearness for two in paper]),
            "margin": np.stack([two.margin for two in paper]),
            "label-free margin": np.stack([two.margin for two in deployed]),
            "agreement": np.stack([stream_agreement(q, g, query, gallery, label_free) for q, g in pairs]),
        },
        label_free,
    )


Shares = Callable[[ExitCosts, float], NDArray[np.float64]]
Build = Callable[[ExitCosts, float, int], ExitPolicy]


def _running_quantile(costs: ExitCosts, mean_macs: float, _: int) -> ExitPolicy:
    return RunningQuantile(geometric_shares(costs, mean_macs))


POLICIES: dict[str, tuple[Confidence, Shares, Build]] = {
    "chance": ("nearness", adjacent_shares, lambda costs, macs, seed: Chance(adjacent_shares(costs, macs), seed)),
    "nearness": ("nearness", geometric_shares, _running_quantile),
    "margin": ("margin", geometric_shares, _running_quantile),
    "label-free margin": ("label-free margin", geometric_shares, _running_quantile),
    "agreement": ("agreement", geometric_shares, _running_quantile),
    "steered margin": ("label-free margin", geometric_shares, lambda costs, macs, _: Steered(costs, macs)),
}
"""What each policy looks at, the shares that it aims at, and a new one for a stream. The paper calls chance random."""

STATIC: dict[str, Measure] = {"static mix for rank-1": "rank-1", "static mix for mAP": "mAP"}
"""Exits mixed by chance so that one figure is best: what a policy must beat."""


def replayed(
    policy: str, streams: Sequence[QueryStream], costs: ExitCosts, budgets: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Where queries leave by a policy at P budgets, each run with its own confidences, (P, runs * Q).

    Args:
        streams: the same queries asked of each run of one training, in the order in which they come.
        seed: of chance, the same in all runs and at all budgets.
    """
    confidence, _, build = POLICIES[policy]
    return np.array(
        [
            np.concatenate([replay(one.confidences[confidence], build(costs, macs, seed)) for one in streams])
            for macs in budgets
        ]
    )


@dataclass(frozen=True, slots=True)
class LeastCost:
    """Where a policy's curve comes to stay at or above a rank-1.

    Attributes:
        macs: mean multiply-adds spent per query there.
        low_macs, high_macs: ends of the 95 % interval; infinite where the rank-1 may not be reached at all.
        rank1, mean_average_precision: there, from 0 to 1.
    """

    macs: float
    low_macs: float
    high_macs: float
    rank1: float
    mean_average_precision: float


def least_cost(
    spent_macs: NDArray[np.float64], outcomes: Outcomes, full: Outcomes, allowance: float, bootstrap: Bootstrap
) -> LeastCost | None:
    """What a policy spends to stay within an allowance of the full network's rank-1; None where it never does.

    Of the budgets of the sweep, the largest that falls short and the next one enclose the answer: from there on every
    budget reaches the target, so a lucky budget further down does not count. Between the two a straight line is drawn,
    which is what a stream gets that changes between them by chance. The cost is what was spent, not what was allowed.

    Args:
        spent_macs: (P,), by budget.
        outcomes: (P, Q), at these budgets.
        full: (1, Q), all queries at the last exit.
        allowance: from 0 to 1.
        bootstrap: for the interval, which covers that the target depends on the queries too.
    """
    rank1 = outcomes.means("rank-1")
    place = coming_to_stay(rank1[None], full.means("rank-1") - allowance)[0]
    if np.isinf(place):
        return None
    resampled = coming_to_stay(bootstrap.means(outcomes, "rank-1"), bootstrap.means(full, "rank-1")[:, 0] - allowance)
    # No interpolation between order statistics: some may be infinite.
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")

    def at(place: float, values: NDArray[np.float64]) -> float:
        return float("inf") if np.isinf(place) else float(np.interp(place, np.arange(len(values)), values))

    macs, low_macs, high_macs = (at(one, spent_macs) for one in (place, low, high))
    return LeastCost(macs, low_macs, high_macs, at(place, rank1), at(place, outcomes.means("mAP")))


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
