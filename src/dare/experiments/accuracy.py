"""Rank-1 and mAP of many streams over the same queries, with bootstrap intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.retrieval.scoring import Scores

Measure = Literal["rank-1", "mAP"]
MEASURES: tuple[Measure, Measure] = ("rank-1", "mAP")

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries, from 0 to 1, or a difference of two.

    Attributes:
        value: of the queries as they are; NaN where none has a match.
        low, high: ends of the 95 % interval, percentiles of the resampled means.
        error: the standard error, their standard deviation.
        deviation: of several runs, with one run less in the denominator; NaN where there is one, or nobody asked.
    """

    value: float
    low: float
    high: float
    error: float
    deviation: float = math.nan

    @property
    def rest(self) -> "Estimate":
        """What is missing to 1: the error rate of an accuracy."""
        return replace(self, value=1 - self.value, low=1 - self.high, high=1 - self.low)

    @property
    def bar(self) -> tuple[float, float]:
        """Ends of an error bar: a standard deviation of the runs both ways; of a single run the interval."""
        if math.isnan(self.deviation):
            return self.low, self.high
        return self.value - self.deviation, self.value + self.deviation

    def row(self, name: str, deviation: bool = False) -> dict[str, str]:
        """Columns of a table, in percent, on request with the standard deviation of the runs."""
        ends = {"": self.value, "_std": self.deviation, "_low": self.low, "_high": self.high}
        if not deviation:
            del ends["_std"]
        return {f"{name}{end}": "" if math.isnan(value) else f"{100 * value:.3f}" for end, value in ends.items()}

    def __str__(self) -> str:
        deviation = "" if math.isnan(self.deviation) else f" ± {100 * self.deviation:.1f}"
        return f"{100 * self.value:.1f}{deviation} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a stream's answers are worth."""

    rank1: Estimate
    mean_average_precision: Estimate

    def __getitem__(self, measure: Measure) -> Estimate:
        return self.rank1 if measure == "rank-1" else self.mean_average_precision

    def with_deviations(self, rank1: float, mean_average_precision: float) -> "Accuracy":
        """The same, with standard deviations of the runs."""
        precision = replace(self.mean_average_precision, deviation=mean_average_precision)
        return Accuracy(replace(self.rank1, deviation=rank1), precision)

    def row(self, prefix: str = "") -> dict[str, str]:
        """Columns of a table, in percent."""
        return self.rank1.row(f"{prefix}rank1") | self.mean_average_precision.row(f"{prefix}mAP")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What each query's answer is worth, in P streams over the same Q queries (or at P exits).

    Several runs of one training stand side by side: all queries of the first run, then all of the second. Means are
    then over queries and runs.

    Attributes:
        right: (P, runs * Q), 1 where the nearest valid entry is right, 0 where not.
        precision: (P, runs * Q), average precision; NaN in the columns of queries without a valid match, which are in
            no mean.
        runs: how many.
    """

    right: NDArray[np.float64]
    precision: NDArray[np.float64]
    runs: int = 1

    @classmethod
    def of(cls, per_exit: Sequence[Scores]) -> "Outcomes":
        """One row per exit."""
        right = np.stack([scores.first_match == 0 for scores in per_exit])
        return cls(right.astype(np.float64), np.stack([scores.average_precision for scores in per_exit]))

    @classmethod
    def beside(cls, runs: "Sequence[Outcomes]") -> "Outcomes":
        """Runs of one training, of the same streams over the same queries."""
        right, precision = (np.concatenate([getattr(one, name) for one in runs], 1) for name in ("right", "precision"))
        return cls(right, precision, len(runs))

    def each(self, measure: Measure) -> NDArray[np.float64]:
        """(runs, P), the means of each run."""
        parts = zip(*(np.split(one, self.runs, 1) for one in (self.right, self.precision)), strict=True)
        return np.stack([Outcomes(*part).means(measure) for part in parts])

    def averaged(self) -> "Outcomes":
        """(P, Q), what a query's answer is worth on average over the runs."""
        return Outcomes(*(one.reshape(len(one), self.runs, -1).mean(1) for one in (self.right, self.precision)))

    def queries(self, order: NDArray[np.integer]) -> "Outcomes":
        """The outcomes of some queries, in the order given."""
        return Outcomes(self.right[:, order], self.precision[:, order])

    def at(self, rows: Sequence[int] | NDArray[np.integer]) -> "Outcomes":
        """Some streams (or exits), in the order given."""
        return Outcomes(self.right[rows], self.precision[rows], self.runs)

    def __sub__(self, other: "Outcomes") -> "Outcomes":
        """What each query gains over another's answer."""
        return Outcomes(self.right - other.right, self.precision - other.precision, self.runs)

    def pick(self, exits: NDArray[np.integer]) -> "Outcomes":
        """Streams in which query q leaves at `exits[p, q]`, counted from 0; the rows here are exits."""
        columns = np.arange(self.right.shape[1])
        return Outcomes(self.right[exits, columns], self.precision[exits, columns], self.runs)

    def mix(self, shares: NDArray[np.floating]) -> "Outcomes":
        """What is to be expected where every query leaves at exit s with probability `shares[p, s]`."""
        return Outcomes(shares @ self.right, shares @ self.precision, self.runs)

    def means(self, measure: Measure) -> NDArray[np.float64]:
        """(P,), over the queries with a valid match; NaN of none."""
        matched = ~np.isnan(self.precision[0])
        values = (self.right if measure == "rank-1" else self.precision)[:, matched]
        return values.mean(1) if matched.any() else np.full(len(values), math.nan)


class Bootstrap:
    """The means that other test sets and other seeds might have given, by drawing with replacement.

    People are drawn with all of their queries: these stand or fall together, so drawing single queries would promise
    too narrow intervals. Where there are several runs of a training, runs are drawn too, each with all of its answers,
    so that intervals cover people and seeds; of a single run they cover people alone. Who leaves where is as replayed
    in each run, and the gallery and the stream's order are taken as given. The draws are the same for whatever is
    asked, so differences are paired.

    Args:
        people: (Q,), whom the queries show; all different to draw single queries.
        resamples: how many test sets to draw.
    """

    def __init__(self, people: NDArray[np.integer], seed: int, resamples: int = RESAMPLES) -> None:
        everyone, member = np.unique(people, return_inverse=True)
        times = _times_drawn(len(everyone), resamples if len(everyone) else 1, np.random.default_rng(seed))
        self._times = times[:, member]
        self._seed = seed

    def means(self, outcomes: Outcomes, measure: Measure) -> NDArray[np.float64]:
        """(R, P), one mean per resampled test set and stream; NaN where none of its queries has a match."""
        times = self._times
        if outcomes.runs > 1:
            drawn = _times_drawn(outcomes.runs, len(times), np.random.default_rng((self._seed, outcomes.runs)))
            times = (drawn[:, :, None] * times[:, None, :]).reshape(len(times), -1)
        matched = ~np.isnan(outcomes.precision[0])
        values = (outcomes.right if measure == "rank-1" else outcomes.precision)[:, matched]
        weights = times[:, matched].astype(np.float64)
        total = weights.sum(1, keepdims=True)
        return np.where(total > 0, weights @ values.T / np.maximum(total, 1), math.nan)

    def accuracies(self, outcomes: Outcomes) -> list[Accuracy]:
        """One per stream."""
        found = (_estimates(outcomes.means(measure), self.means(outcomes, measure)) for measure in MEASURES)
        return list(map(Accuracy, *found))

    def leads(self, ours: Outcomes, theirs: Outcomes) -> list[Accuracy]:
        """What each stream gains over another network's, whose runs may be more or fewer."""
        found = (
            _estimates(
                ours.means(measure) - theirs.means(measure), self.means(ours, measure) - self.means(theirs, measure)
            )
            for measure in MEASURES
        )
        return list(map(Accuracy, *found))


def _times_drawn(count: int, resamples: int, random: np.random.Generator) -> NDArray[np.int64]:
    """How often each of some is drawn when as many are drawn with replacement, (R, count)."""
    drawn = random.integers(count, size=(resamples, count)) if count else np.zeros((1, 0), int)
    rows = np.arange(len(drawn))[:, None] * count
    return np.bincount((drawn + rows).ravel(), minlength=len(drawn) * count).reshape(len(drawn), count)


def _estimates(values: NDArray[np.float64], resampled: NDArray[np.float64]) -> list[Estimate]:
    """Values (P,) with what resampling (R, P) says of each."""
    known = resampled[~np.isnan(resampled).any(1)]
    if not len(known):
        return [Estimate(float(value), math.nan, math.nan, math.nan) for value in values]
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return [Estimate(*map(float, row)) for row in zip(values, low, high, known.std(0), strict=True)]
