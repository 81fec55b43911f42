"""Several runs of one recipe on the same queries: what each vector is worth on average, and how much runs differ."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import MEASURES, Bootstrap, Estimate, Measure, Outcomes


@dataclass(frozen=True, slots=True)
class Runs:
    """R networks that were trained alike, evaluated on Q queries.

    Attributes:
        benchmark: its name.
        names: of the runs, R of them.
        vectors: what the networks' vectors are called: V names, "stage 1" to "fusion".
        people: (Q,), whom the queries show.
        outcomes: R of them, (V, Q).
    """

    benchmark: str
    names: tuple[str, ...]
    vectors: tuple[str, ...]
    people: NDArray[np.int64]
    outcomes: tuple[Outcomes, ...]

    @classmethod
    def of(cls, evaluations: Mapping[str, Evaluation]) -> "Runs":
        """Runs by their names.

        Raises:
            ValueError: no run, one network twice, other vectors, or other queries.
        """
        if not evaluations:
            raise ValueError("expected at least one run, got none")
        first, *_ = evaluations.values()
        known: dict[str, str] = {}
        for name, evaluation in evaluations.items():
            digest = evaluation.query.model
            if digest and known.setdefault(digest, name) != name:
                raise ValueError(f"{name} and {known[digest]} are one network; give each run once")
            if _vectors(evaluation) != _vectors(first):
                raise ValueError(
                    f"{name} has the vectors {', '.join(_vectors(evaluation))}, the first run "
                    f"{', '.join(_vectors(first))}; compare networks with the same stages"
                )
            if evaluation.query.ids != first.query.ids or (evaluation.query.people != first.query.people).any():
                raise ValueError(f"{name} was asked other queries than the first run; evaluate all on the same")
        return cls(
            first.benchmark.name,
            tuple(evaluations),
            _vectors(first),
            first.query.people,
            tuple(Outcomes.of([result.scores for result in one.results]) for one in evaluations.values()),
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mean(self) -> Outcomes:
        """(V, Q), what a query's answer is worth on average over the runs."""
        return Outcomes(
            np.mean([one.right for one in self.outcomes], axis=0),
            np.mean([one.precision for one in self.outcomes], axis=0),
        )

    def averages(self, bootstrap: Bootstrap) -> list[dict[Measure, "Average"]]:
        """One for each vector."""
        found: list[dict[Measure, Average]] = [{} for _ in self.vectors]
        estimates = bootstrap.accuracies(self.mean)
        for measure in MEASURES:
            values = np.array([one.means(measure) for one in self.outcomes])
            for place, (column, estimate) in enumerate(zip(values.T, estimates, strict=True)):
                found[place][measure] = Average(tuple(map(float, column)), estimate[measure])
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table for each run and vector, in percent."""
        for name, outcomes in zip(self.names, self.outcomes, strict=True):
            rank1, precision = (outcomes.means(measure) for measure in MEASURES)
            for place, vector in enumerate(self.vectors):
                yield {
                    "run": name,
                    "vector": vector,
                    "rank1": f"{100 * rank1[place]:.3f}",
                    "mAP": f"{100 * precision[place]:.3f}",
                }


@dataclass(frozen=True, slots=True)
class Average:
    """A figure over several runs, from 0 to 1.

    Attributes:
        values: one for each run.
        estimate: their mean, with the interval that other people might have given (`Bootstrap`), which does not cover
            training.
    """

    values: tuple[float, ...]
    estimate: Estimate

    @property
    def mean(self) -> float:
        return self.estimate.value

    @property
    def deviation(self) -> float:
        """The standard deviation of the runs, with one run less in the denominator; NaN of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    @property
    def bar(self) -> tuple[float, float]:
        """Ends of an error bar: a standard deviation of the runs both ways; of a single run the interval."""
        if len(self.values) > 1:
            return self.mean - self.deviation, self.mean + self.deviation
        return self.estimate.low, self.estimate.high

    def row(self, name: str, wrong: bool = False) -> dict[str, str]:
        """Columns of a table, in percent.

        Args:
            wrong: of what is missing to 100 %.
        """
        value, low, high = self.mean, self.estimate.low, self.estimate.high
        if wrong:
            value, low, high = 1 - value, 1 - high, 1 - low
        named = {"": value, "_std": self.deviation, "_low": low, "_high": high}
        return {f"{name}{end}": "" if math.isnan(one) else f"{100 * one:.3f}" for end, one in named.items()}


def _vectors(evaluation: Evaluation) -> tuple[str, ...]:
    return tuple(result.name for result in evaluation.results)
