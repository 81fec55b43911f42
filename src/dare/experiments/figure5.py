"""Figure 5: what can be answered when the budget runs out, by one network with exits or by several in sequence."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import NETSCOPE_2018, ExitCosts
from dare.evaluation.stages import StageResult
from dare.experiments import plots
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.plots import CostAxis, Made, Summary, bands, new_figure, tidy
from dare.experiments.published import SOURCE, published_exits
from dare.experiments.query_stream import SEED
from dare.experiments.sections import Figure5Section
from dare.experiments.workplace import Scored, Workplace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM = "The paper's claim: 3 to 5 points of rank-1 above SE-ResNets beyond 2.5 billion multiply-adds."
"""Section 5.3.1. It gives no numbers of its figure 5; those of DaRe's exits are in `published_exits`."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A network, or several in sequence, that can answer at each of its E exits.

    Attributes:
        outcomes: (E, runs * Q), of the same queries in the same order as all other networks'.
        costs: of leaving at each exit.
    """

    name: str
    outcomes: Outcomes
    costs: ExitCosts


def answering_exits(costs: Sequence[float], budgets: NDArray[np.floating]) -> NDArray[np.int64]:
    """The deepest exit, counted from 0, whose cost is within each budget; -1 where not even the first is."""
    return np.searchsorted(np.asarray(costs, np.float64), budgets, side="right").astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class Figure5:
    """The steps of the figure.

    Attributes:
        accuracies: of each network, one per exit.
        leads: of the first network over each of the others: its name, from a budget, up to the next step of either
            (infinite behind the last), and the paired difference of their answers.
    """

    benchmark: str
    queries: int
    networks: Sequence[Compared]
    accuracies: list[list[Accuracy]]
    leads: list[tuple[str, float, float, Accuracy]]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per network and exit: what is answered from that budget on, in percent."""
        for network, accuracies in zip(self.networks, self.accuracies, strict=True):
            for exit, (macs, accuracy) in enumerate(zip(network.costs.macs, accuracies, strict=True), start=1):
                row = {"network": network.name, "exit": exit, "macs": macs, "runs": network.outcomes.runs}
                yield row | accuracy.row()

    def summary(self) -> Summary:
        """A line for people per network and exit."""
        rows = [
            (network.name, str(exit), f"{macs / 1e6:,.1f} M", str(accuracy.rank1), str(accuracy.mean_average_precision))
            for network, accuracies in zip(self.networks, self.accuracies, strict=True)
            for exit, (macs, accuracy) in enumerate(zip(network.costs.macs, accuracies, strict=True), start=1)
        ]
        return Summary("", ("network", "exit", "multiply-adds", "rank-1 [95 %]", "mAP [95 %]"), tuple(rows))

    def lead_rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per range of budgets: the first network's lead over another, in percentage points."""
        for other, start, end, difference in self.leads:
            row = {"first": self.networks[0].name, "other": other, "from_macs": start, "to_macs": end}
            yield row | difference.row()


def figure5(benchmark: str, people: NDArray[np.int64], networks: Sequence[Compared], *, seed: int = SEED) -> Figure5:
    """Accuracy as a function of the budget, when the latest answer that is ready counts.

    Args:
        benchmark: its name.
        people: (Q,), whom the queries show.
        networks: the one to compare first.
        seed: of the bootstrap.
    """
    bootstrap = Bootstrap(people, seed)
    accuracies = [bootstrap.accuracies(network.outcomes) for network in networks]
    leads = [lead for other in networks[1:] for lead in _leads(networks[0], other, bootstrap)]
    return Figure5(benchmark, len(people), networks, accuracies, leads)


def _leads(first: Compared, other: Compared, bootstrap: Bootstrap) -> Iterator[tuple[str, float, float, Accuracy]]:
    start = max(first.costs.macs[0], other.costs.macs[0])
    steps = sorted(macs for macs in {*first.costs.macs, *other.costs.macs} if macs >= start)
    ours, theirs = (
        network.outcomes.at(answering_exits(network.costs.macs, np.asarray(steps))) for network in (first, other)
    )
    yield from zip(itertools.repeat(other.name), steps, [*steps[1:], math.inf], bootstrap.leads(ours, theirs))


def reproduce_figure5(_: Workplace, __: Figure5Section, scored: Scored, *others: Scored) -> Made:
    """Figure 5 of a recipe's runs: one training's, and beside it those of others in sequence."""
    first = scored.each[0]
    networks = [_compared("DaRe", [scored], [one.exits for one in scored.each], scored.costs)]
    if others:
        # As `dare.runners.cascade` runs them: of each network the last exit, costs added up.
        rows = zip(*(one.each for one in others), strict=False)
        each = [one.costs for one in others]
        totals = tuple(itertools.accumulate(one.macs[-1] for one in each))
        sources = "; ".join(dict.fromkeys(one.source for one in each))
        costs = ExitCosts(totals, f"{len(others)} networks in sequence, added up; {sources}")
        exits = [[one.exits[-1] for one in row] for row in rows]
        networks.append(_compared("networks in sequence", others, exits, costs))
    figure = figure5(first.benchmark.name, first.query.people, networks)
    return draw_figure5(figure, published=scored.like_the_papers)


def _compared(
    name: str, made_of: Sequence[Scored], runs: Iterable[Sequence[StageResult]], costs: ExitCosts
) -> Compared:
    """In a legend its name says whether it stands in; the drawing's title and its notes say what for."""
    stands_in = any(one.runs[0].training.stands_in for one in made_of)
    outcomes = Outcomes.beside([Outcomes.of([exit.scores for exit in exits]) for exits in runs])
    return Compared(f"{name} (stand-in)" if stands_in else name, outcomes, costs)


COLOURS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED, plots.PURPLE, plots.BLACK)
BEYOND = 1.06
"""How far the drawing goes beyond the largest cost: the last answer holds for good."""


def draw_figure5(figure: Figure5, *, published: bool = False) -> Made:
    """Draw a step per exit; if `published` beside what the paper's own network reaches at its costs of 2018."""
    everyone = [network.costs for network in figure.networks] + [NETSCOPE_2018] * published
    most = max(costs.macs[-1] for costs in everyone)
    axes_of_costs = [CostAxis.of(costs, None, most) for costs in everyone]
    end = BEYOND * max(axis.per_exit[-1] for axis in axes_of_costs)
    drawing = new_figure(12, 4.8)
    panels = drawing.subplots(1, 2)
    for axes, measure in zip(panels, MEASURES, strict=True):
        for place, (network, axis) in enumerate(zip(figure.networks, axes_of_costs, strict=False)):
            colour = COLOURS[place % len(COLOURS)]
            _draw_steps(axes, network.name, axis, figure.accuracies[place], measure, end, colour)
        if published:
            costs, values = axes_of_costs[-1].per_exit, [100 * value for value in published_exits(measure)]
            steps = ([*costs, end], [*values, values[-1]])
            axes.step(*steps, where="post", color=plots.GREY, label="DaRe, as published")
        tidy(axes, f"{measure} [%]")
        axes.set_xlim(0, end)
        axes.set_xlabel(f"budget per query [{axes_of_costs[0].unit}]")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    drawing.suptitle(f"{figure.benchmark}: the latest answer when the budget runs out", fontsize=13)
    sources = "; ".join(dict.fromkeys(network.costs.source for network in figure.networks))
    caption = f"{figure.queries:,} queries. {bands([one.outcomes.runs for one in figure.networks])} Costs: "
    caption += f"{sources}.\n{CLAIM}"
    if published:
        caption += f"\nAs published: {SOURCE}; the exits between the first and the last are estimated from it."
    drawing.supxlabel(caption, fontsize=8, color=plots.GREY)
    return Made({"figure5": figure.rows(), "figure5_leads": figure.lead_rows()}, (figure.summary(),), drawing, sources)


def _draw_steps(
    axes: "Axes", name: str, axis: CostAxis, accuracies: list[Accuracy], measure: Measure, end: float, colour: str
) -> None:
    found = [accuracy[measure] for accuracy in accuracies]
    value, low, high = 100 * np.array([(one.value, one.low, one.high) for one in [*found, found[-1]]]).T
    costs = [*axis.per_exit, end]
    axes.step(costs, value, where="post", color=colour, label=name, linewidth=1.8)
    axes.fill_between(costs, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    axes.plot(axis.per_exit, value[:-1], "o", color=colour, markersize=5)
