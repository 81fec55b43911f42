"""Figures 3 and 4: the error of every stage and of the fusion, over several runs, with deep supervision and without."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.plots import BLACK, BLUE, GREY, ORANGE, Made, Summary, new_figure, tidy
from dare.experiments.query_stream import SEED
from dare.experiments.sections import FigureSection
from dare.experiments.workplace import Scored, Workplace, check_comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PUBLISHED: dict[Measure, dict[str, float]] = {
    "rank-1": {"stage 1": 66.7, "fusion": 88.5},
    "mAP": {"fusion": 74.2},
}
"""What the paper prints of its figure 3, in percent: that stage 1 reaches an error of 33.3 % (section 5.2; the authors'
own log says 34.6 %), and the fusion in table 1."""

SOURCE = "DaRe(R)+RE on Market-1501, ten crops: section 5.2 (stage 1) and table 1 (fusion)"

CLAIM = "The paper's claim: without deep supervision the error rates increase by 2 %."
"""Section 5.2. It gives no numbers of its figure 4."""

GROUPS = ("with deep supervision", "without")


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of a figure, of V vectors: "stage 1" to "fusion".

    Attributes:
        evaluations: by the names of the runs: for figure 3 one group, for figure 4 with deep supervision, and without.
        outcomes: of each group, (V, runs * Q).
        accuracies: of each group, one for each vector: the mean with the interval that other people might have given,
            which does not cover training, and the deviation of the runs.
        gains: for each vector by how much better it is with deep supervision: the means of the runs, query by query,
            with such an interval.
    """

    evaluations: tuple[Mapping[str, Evaluation], ...]
    outcomes: tuple[Outcomes, ...]
    accuracies: tuple[tuple[Accuracy, ...], ...]
    gains: tuple[Accuracy, ...] = ()

    @property
    def first(self) -> Evaluation:
        """Any run; all have the same queries and vectors."""
        return next(iter(self.evaluations[0].values()))

    @property
    def vectors(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(result.name for result in self.first.results)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per group and vector: error (100 - rank-1) and mAP in percent, the standard deviation of
        the runs, and the interval over people; gains stand with the first group."""
        for number, (outcomes, accuracies) in enumerate(zip(self.outcomes, self.accuracies, strict=True)):
            for place, (vector, accuracy) in enumerate(zip(self.vectors, accuracies, strict=True)):
                row: dict[str, Any] = {"group": GROUPS[number]} if self.gains else {}
                row |= {"vector": vector, "runs": outcomes.runs}
                row |= accuracy.rank1.rest.row("error", deviation=True)
                row |= accuracy.mean_average_precision.row("mAP", deviation=True)
                gain = self.gains[place].row("gain_") if self.gains else {}
                yield row | (dict.fromkeys(gain, "") if number else gain)

    def run_rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table for each run and vector, in percent."""
        for group, evaluations, outcomes in zip(GROUPS, self.evaluations, self.outcomes, strict=False):
            for run, rank1, precision in zip(evaluations, *map(outcomes.each, MEASURES), strict=True):
                for vector, a, b in zip(self.vectors, rank1, precision, strict=True):
                    row = {"run": run, "vector": vector, "rank1": f"{100 * a:.3f}", "mAP": f"{100 * b:.3f}"}
                    yield ({"group": group} if self.gains else {}) | row


def _bars(groups: tuple[Mapping[str, Evaluation], ...], seed: int) -> Bars:
    outcomes = tuple(
        Outcomes.beside([Outcomes.of([result.scores for result in one.results]) for one in group.values()])
        for group in groups
    )
    people = next(iter(groups[0].values())).query.people
    bootstrap, averaged = Bootstrap(people, seed), [one.averaged() for one in outcomes]
    accuracies = []
    for own, mean in zip(outcomes, averaged, strict=True):
        found = bootstrap.accuracies(mean)
        if own.runs > 1:
            deviations = zip(*(own.each(measure).std(0, ddof=1).tolist() for measure in MEASURES), strict=True)
            found = [one.with_deviations(*pair) for one, pair in zip(found, deviations, strict=True)]
        accuracies.append(tuple(found))
    gains = bootstrap.accuracies(averaged[0] - averaged[1]) if len(groups) > 1 else ()
    return Bars(groups, outcomes, tuple(accuracies), tuple(gains))


def figure3(evaluations: Mapping[str, Evaluation], *, seed: int = SEED) -> Bars:
    """The mean over comparable runs, by their names, and how far runs lie apart; the seed is of the bootstrap."""
    return _bars((evaluations,), seed)


def draw_figure3(figure: Bars, *, published: bool = False) -> Made:
    """Draw the bars, with marks for what the paper prints too if `published`."""
    (accuracies,) = figure.accuracies
    caption, marks = (f"\nAs published: {SOURCE}.", PUBLISHED) if published else ("", {})
    drawing = _drawn(figure, ["measured"], marks, (10, 4.4), "every stage and the fusion", caption)
    rows = [
        (vector, str(one.rank1.rest), str(one.mean_average_precision))
        for vector, one in zip(figure.vectors, accuracies, strict=True)
    ]
    summary = Summary("", ("vector", "error", "mAP"), tuple(rows))
    return Made({"figure3": figure.rows(), "figure3_runs": figure.run_rows()}, (summary,), drawing)


def reproduce_figure3(_: Workplace, __: FigureSection, scored: Scored) -> Made:
    """Figure 3 of a recipe's runs."""
    return replace(draw_figure3(figure3(scored.named), published=scored.like_the_papers), costs=scored.costs.source)


def figure4(supervised: Mapping[str, Evaluation], unsupervised: Mapping[str, Evaluation], *, seed: int = SEED) -> Bars:
    """Compare runs with deep supervision with runs that were trained alike, but with a loss on the fusion alone."""
    return _bars((supervised, unsupervised), seed)


def draw_figure4(figure: Bars) -> Made:
    """Draw both groups of bars side by side."""
    gain = figure.gains[-1]
    caption = f"\nGain of the {figure.vectors[-1]}, 95 %, people resampled: rank-1 {gain.rank1}, "
    caption += f"mAP {gain.mean_average_precision}. {CLAIM}"
    drawing = _drawn(figure, GROUPS, {}, (11, 4.6), "with and without deep supervision", caption)
    rows = []
    for vector, one, other, gain in zip(figure.vectors, *figure.accuracies, figure.gains, strict=True):
        rows.append((vector, "error", str(one.rank1.rest), str(other.rank1.rest), str(gain.rank1)))
        before, after, more = (str(accuracy.mean_average_precision) for accuracy in (one, other, gain))
        rows.append(("", "mAP", before, after, more))
    summary = Summary("", ("vector", "", *GROUPS, "gain"), tuple(rows))
    return Made({"figure4": figure.rows(), "figure4_runs": figure.run_rows()}, (summary,), drawing)


def reproduce_figure4(workplace: Workplace, _: FigureSection, scored: Scored, unsupervised: Scored) -> Made:
    """Figure 4 of a recipe's runs."""
    for group, wanted in ((scored, True), (unsupervised, False)):
        for run in group.runs:
            config = workplace.network(run).training.get("config", {})
            if config.get("deep_supervision", wanted) != wanted:
                raise ValueError(f"{run.name} was trained {'without' if wanted else 'with'} deep supervision")
    check_comparable({**scored.named, **unsupervised.named})
    return replace(draw_figure4(figure4(scored.named, unsupervised.named)), costs=scored.costs.source)


LOOKS = ((BLUE, ""), (ORANGE, "//"))
TOGETHER = 0.8
"""How much of the room of a vector its bars take."""


def _drawn(
    figure: Bars,
    names: Sequence[str],
    published: Mapping[Measure, Mapping[str, float]],
    size: tuple[float, float],
    title: str,
    caption: str,
) -> "Figure":
    drawing = new_figure(*size)
    panels = drawing.subplots(1, 2)
    for axes, measure in zip(panels, MEASURES, strict=True):
        _draw_bars(axes, figure, names, measure)
        _draw_marks(axes, figure.vectors, published.get(measure, {}), measure)
    handles, labels = panels[0].get_legend_handles_labels()
    if len(labels) > 1:
        drawing.legend(handles, labels, loc="outside right upper", frameon=False)
    drawing.suptitle(f"{figure.first.benchmark.name}: {title}", fontsize=13)
    caption = f"{len(figure.first.query):,} queries. {_whiskers([one.runs for one in figure.outcomes])}{caption}"
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    return drawing


def _draw_bars(axes: "Axes", figure: Bars, names: Sequence[str], measure: Measure) -> None:
    """Rank-1 as the error, 100 - rank-1; mAP as it is; both in percent."""
    width = TOGETHER / len(names)
    places = np.arange(len(figure.vectors))
    for number, (name, accuracies) in enumerate(zip(names, figure.accuracies, strict=True)):
        found = [one.rank1.rest if measure == "rank-1" else one.mean_average_precision for one in accuracies]
        value, low, high = 100 * np.array([(one.value, *one.bar) for one in found]).T
        at = places + (number - (len(names) - 1) / 2) * width
        colour, hatch = LOOKS[number]
        axes.bar(at, value, 0.94 * width, color=colour, hatch=hatch, edgecolor="white", label=name, zorder=2)
        reach = np.maximum([value - low, high - value], 0)  # rounding can put an end on the wrong side
        axes.errorbar(at, value, reach, fmt="none", ecolor=BLACK, capsize=3, zorder=3)
        for x, top, one in zip(at, np.fmax(value, high), value, strict=True):
            axes.annotate(f"{one:.1f}", (x, top), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(places, figure.vectors)
    axes.set_ylim(bottom=0)
    tidy(axes, "error, 100 - rank-1 [%]" if measure == "rank-1" else "mAP [%]")
    axes.grid(visible=False, axis="x")


def _draw_marks(axes: "Axes", vectors: Sequence[str], published: Mapping[str, float], measure: Measure) -> None:
    """Published values, in percent, beside the error bars."""
    marks = [
        (place + 0.33 * TOGETHER, 100 - published[name] if measure == "rank-1" else published[name])
        for place, name in enumerate(vectors)
        if name in published
    ]
    if marks:
        looks: dict[str, Any] = {"color": BLACK, "markeredgecolor": "white", "markersize": 8, "zorder": 4}
        axes.plot(*zip(*marks, strict=True), "D", label="as published", **looks)


def _whiskers(runs: Sequence[int]) -> str:
    """What error bars mean where groups have so many runs."""
    counted = " and ".join(map(str, dict.fromkeys(runs))) + " runs"
    if min(runs) > 1:
        return f"Bars: mean and standard deviation of {counted}."
    if max(runs) > 1:
        return f"Bars: mean of {counted}; standard deviation, of a single run 95 %, people resampled."
    return "Bars: one run; 95 %, people resampled."
