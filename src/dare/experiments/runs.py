"""Several runs of one training on the same queries: averages, how much runs differ, and bars of both."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import MEASURES, Bootstrap, Estimate, Measure, Outcomes
from dare.experiments.plots import BLACK, BLUE, ORANGE, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    def in_percent(self, wrong: bool = False) -> tuple[float, float, float]:
        """The mean and the ends of its interval; of what is missing to 100 % if `wrong`."""
        value, low, high = 100 * self.mean, 100 * self.estimate.low, 100 * self.estimate.high
        return (100 - value, 100 - high, 100 - low) if wrong else (value, low, high)

    def row(self, name: str, wrong: bool = False) -> dict[str, str]:
        """Columns of a table, in percent; `wrong` as of `in_percent`."""
        value, low, high = self.in_percent(wrong)
        named = {"": value, "_std": 100 * self.deviation, "_low": low, "_high": high}
        return {f"{name}{end}": "" if math.isnan(one) else f"{one:.3f}" for end, one in named.items()}

    def shown(self, wrong: bool = False) -> str:
        """The same for people: mean ± standard deviation [interval]."""
        value, low, high = self.in_percent(wrong)
        deviation = "" if math.isnan(self.deviation) else f" ± {100 * self.deviation:.1f}"
        return f"{value:.1f}{deviation} [{low:.1f}, {high:.1f}]"


def _vectors(evaluation: Evaluation) -> tuple[str, ...]:
    return tuple(result.name for result in evaluation.results)


LOOKS = ((BLUE, ""), (ORANGE, "//"))
TOGETHER = 0.8
"""How much of the room of a vector its bars take."""


def draw_bars(
    axes: "Axes",
    vectors: Sequence[str],
    groups: Mapping[str, Sequence[Mapping[Measure, Average]]],
    measure: Measure,
    published: Mapping[str, float] | None = None,
) -> None:
    """Rank-1 as the error, 100 - rank-1; mAP as it is; both in percent.

    Args:
        vectors: their names, from left to right.
        groups: name -> an average for each vector; two groups at most.
        published: vector -> rank-1 or mAP in percent, to be marked.
    """
    width = TOGETHER / len(groups)
    places = np.arange(len(vectors))
    for number, (name, averages) in enumerate(groups.items()):
        found = [(average[measure].mean, *average[measure].bar) for average in averages]
        value, low, high = (np.array([_shown(one, measure) for one in column]) for column in zip(*found, strict=True))
        ends = np.sort([low, high], axis=0)
        at = places + (number - (len(groups) - 1) / 2) * width
        colour, hatch = LOOKS[number]
        axes.bar(at, value, 0.94 * width, color=colour, hatch=hatch, edgecolor="white", label=name, zorder=2)
        reach = np.maximum([value - ends[0], ends[1] - value], 0)  # rounding can put an end on the wrong side
        axes.errorbar(at, value, reach, fmt="none", ecolor=BLACK, capsize=3, zorder=3)
        for x, top, one in zip(at, np.fmax(value, ends[1]), value, strict=True):
            axes.annotate(f"{one:.1f}", (x, top), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    # Beside the error bars.
    marks = [
        (place + 0.33 * TOGETHER, 100 - published[name] if measure == "rank-1" else published[name])
        for place, name in enumerate(vectors)
        if published and name in published
    ]
    if marks:
        axes.plot(
            *zip(*marks, strict=True),
            "D",
            color=BLACK,
            markeredgecolor="white",
            markersize=8,
            label="as published",
            zorder=4,
        )
    axes.set_xticks(places, vectors)
    axes.set_ylim(bottom=0)
    tidy(axes, "error, 100 - rank-1 [%]" if measure == "rank-1" else "mAP [%]")
    axes.grid(visible=False, axis="x")


def whiskers(runs: Sequence[int]) -> str:
    """What error bars mean where groups have so many runs."""
    if min(runs) > 1:
        return "Bars: mean and standard deviation of " + _counted(runs) + "."
    if max(runs) > 1:
        return f"Bars: mean of {_counted(runs)}; standard deviation, of a single run 95 %, people resampled."
    return "Bars: one run; 95 %, people resampled."


def _counted(runs: Sequence[int]) -> str:
    return " and ".join(map(str, dict.fromkeys(runs))) + " runs"


def _shown(value: float, measure: Measure) -> float:
    return 100 * (1 - value if measure == "rank-1" else value)
