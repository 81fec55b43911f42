"""Figure 6: accuracy of a stream over its mean budget, by who decides which queries leave early."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.budgets import static_mixes
from dare.anytime.costs import NETSCOPE_2018, ExitCosts, ExitTimes
from dare.anytime.records import load_times
from dare.experiments import plots
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.plots import CostAxis, Made, Summary, bands, new_figure, tidy
from dare.experiments.published import FIGURE6_NETWORKS, SINGLE, SOURCE, published_exits, published_figure6
from dare.experiments.query_stream import (
    POLICIES,
    SEED,
    STATIC,
    LeastCost,
    QueryStream,
    least_cost,
    replayed,
)
from dare.experiments.sections import Figure6Section
from dare.experiments.workplace import Scored, Workplace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALLOWANCE = 0.003
"""How far below the full network's rank-1 a policy may stay and still count as its equal."""

PARTS = (0.25, 0.5, 0.75)
"""Of the full network's cost, for the summary."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A policy at P budgets.

    Attributes:
        spent_macs: (P,), mean multiply-adds per query.
        wanted, taken: (P, E), the share of the queries that leave at each exit, as planned and as replayed.
        accuracies: P of them.
        gains: P of them, over the static mixes that spend as much, each measure over the mix that is best for it.
        least: what it takes to be as good as the last exit, but for `ALLOWANCE`; None where the policy never is.
    """

    spent_macs: NDArray[np.float64]
    wanted: NDArray[np.float64]
    taken: NDArray[np.float64]
    accuracies: list[Accuracy]
    gains: list[Accuracy]
    least: LeastCost | None


@dataclass(frozen=True, slots=True)
class Figure6:
    """The curves of the figure, by policy.

    Attributes:
        runs: how many; what policies take and gain is the mean over them, each replayed with its own confidences.
        queries: how many; those without a match count for the cost, but in no accuracy.
        budget_macs: evenly spaced from the first exit's cost to the last one's (released code).
        alone: all queries at one exit, for each exit.
        seed: of the stream's order, of chance and of the bootstrap.
    """

    benchmark: str
    runs: int
    queries: int
    costs: ExitCosts
    times: ExitTimes | None
    budget_macs: list[float]
    curves: dict[str, Curve]
    alone: list[Accuracy]
    seed: int

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per policy and budget; rank-1 and mAP in percent."""
        for policy, curve in self.curves.items():
            for place, budget in enumerate(self.budget_macs):
                spent, taken = curve.spent_macs[place], curve.taken[place]
                row: dict[str, Any] = {"policy": policy, "budget_macs": round(budget), "spent_macs": round(spent)}
                row["spent_percent_of_full"] = f"{100 * spent / self.costs.macs[-1]:.2f}"
                row["spent_ms"] = f"{1000 * (taken @ self.times.median):.4g}" if self.times else ""
                for kind, shares in (("wanted", curve.wanted[place]), ("taken", taken)):
                    row |= {f"share_{kind}_{exit}": f"{share:.5f}" for exit, share in enumerate(shares, start=1)}
                yield row | curve.accuracies[place].row() | curve.gains[place].row("gain_")

    def summary(self) -> Summary:
        """A line for people per policy: rank-1/mAP at shares of the full network's cost; the least cost from which on
        rank-1 is within `ALLOWANCE` of the full network's, and mAP there."""
        percent = 100 / self.costs.macs[-1]
        rows = []
        for policy, curve in self.curves.items():
            spent = curve.spent_macs / self.costs.macs[-1]
            values = [[100 * one[measure].value for one in curve.accuracies] for measure in MEASURES]
            shown = ("/".join(f"{np.interp(part, spent, one):.1f}" for one in values) for part in PARTS)
            least = ("not reached", "")
            if found := curve.least:
                interval = f"[{percent * found.low_macs:.0f}, {percent * found.high_macs:.0f}]"
                least = f"{percent * found.macs:.1f} % {interval}", f"{100 * found.mean_average_precision:.1f}"
            rows.append((policy.removeprefix("static "), *shown, *least))
        full = self.alone[-1]
        rows.append(("full network", "", "", "", f"rank-1 {full.rank1}", f"{full.mean_average_precision}"))
        header = ("policy", *(f"at {100 * part:.0f} %" for part in PARTS), "least cost", "mAP there")
        return Summary("", header, tuple(rows))


def figure6(
    streams: Sequence[QueryStream],
    costs: ExitCosts,
    times: ExitTimes | None = None,
    *,
    budgets: int = 50,
    seed: int = SEED,
) -> Figure6:
    """Replay streams with every policy at every budget, and mix their exits by chance.

    Args:
        streams: the same queries asked of each run of one training, in any order; they are shuffled here, all alike.
        costs: multiply-adds of leaving at each exit, which budgets are made of.
        times: measured, to say also what is spent in seconds.
        budgets: how many.
        seed: of the stream's order, of chance and of the bootstrap.

    Raises:
        ValueError: a single exit.
    """
    if len(costs.macs) < 2:
        raise ValueError("a network with a single exit leaves nothing to decide; give one with at least two")
    streams = [stream.shuffled(seed) for stream in streams]
    outcomes = Outcomes.beside([stream.outcomes for stream in streams])
    bootstrap = Bootstrap(streams[0].people, seed)
    budget_macs = np.linspace(costs.macs[0], costs.macs[-1], budgets).tolist()
    curves = {}
    for policy, (_, shares, _) in POLICIES.items():
        exits = replayed(policy, streams, costs, budget_macs, seed)
        taken = np.stack([(exits == exit).mean(1) for exit in range(len(costs.macs))], axis=1)
        wanted = np.stack([shares(costs, macs) for macs in budget_macs])
        curves[policy] = _curve(wanted, taken, outcomes.pick(exits), outcomes, costs, bootstrap)
    for policy, measure in STATIC.items():
        mixes = static_mixes(costs, outcomes.means(measure), budget_macs)
        curves[policy] = _curve(mixes, mixes, outcomes.mix(mixes), outcomes, costs, bootstrap)
    alone = bootstrap.accuracies(outcomes)
    title = streams[0].benchmark
    return Figure6(title, len(streams), len(streams[0]), costs, times, budget_macs, curves, alone, seed)


def _curve(
    wanted: NDArray[np.float64],
    taken: NDArray[np.float64],
    outcomes: Outcomes,
    per_exit: Outcomes,
    costs: ExitCosts,
    bootstrap: Bootstrap,
) -> Curve:
    spent = taken @ costs.macs
    least = least_cost(spent, outcomes, per_exit.at([-1]), ALLOWANCE, bootstrap)
    spent = np.maximum(spent, costs.macs[0])  # rounding must not undercut the first exit
    for_rank1, for_map = (
        per_exit.mix(static_mixes(costs, per_exit.means(measure), spent.tolist())) for measure in MEASURES
    )
    gains = bootstrap.accuracies(outcomes - Outcomes(for_rank1.right, for_map.precision, outcomes.runs))
    return Curve(spent, wanted, taken, bootstrap.accuracies(outcomes), gains, least)


def reproduce_figure6(workplace: Workplace, section: Figure6Section, scored: Scored) -> Made:
    """Figure 6 of a recipe's runs."""
    costs, times = scored.costs, None
    if section.times:
        times = load_times(section.times, workplace.network(scored.runs[0]).digest, len(costs.macs))
    figure = figure6(scored.streams, costs, times, budgets=section.budgets)
    return draw_figure6(figure, published=scored.like_the_papers)


LOOKS = {
    "chance": (plots.GREY, "-"),
    "nearness": (plots.ORANGE, "-"),
    "margin": (plots.BLUE, "-"),
    "label-free margin": (plots.GREEN, "-"),
    "agreement": (plots.PURPLE, "-"),
    "steered margin": (plots.RED, "--"),
}
ALIKE = 0.05
"""Published points are placed at their cost if the network's exits cost nearly as much, else at their share of it."""


def draw_figure6(figure: Figure6, *, published: bool = False) -> Made:
    """Draw accuracies and gains over costs, which are ms where times are known.

    Args:
        published: draw the paper's own points too, those of single networks in rank-1 alone. With a network of other
            costs they are placed at the same share of the full network's cost.
    """
    axis = CostAxis.of(figure.costs, figure.times)
    drawing = new_figure(13, 8)
    panels = drawing.subplots(2, 2, sharex=True, height_ratios=(3, 2))
    for (above, below), measure in zip(panels.T, MEASURES, strict=True):
        _draw_accuracy(above, figure, measure, axis)
        if published:
            _draw_published(above, figure.costs.macs, measure, axis)
        _draw_gains(below, figure, measure, axis)
        tidy(above, f"{measure} [%]")
        tidy(below, "gain over the static mix\nthat costs as much [points]")
        below.set_xlabel(f"mean cost per query [{axis.unit}]")
        axis.percent_on_top(above)
    drawing.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    drawing.suptitle(f"{figure.benchmark}: a stream of queries with a mean budget", fontsize=13)
    caption = f"{figure.queries:,} queries in one order (seed {figure.seed}). {bands([figure.runs])} "
    caption += f"Costs: {axis.source}."
    if published:
        caption += f"\nAs published: {SOURCE}; {SINGLE}."
    drawing.supxlabel(caption, fontsize=8, color=plots.GREY)
    return Made({"figure6": figure.rows()}, (figure.summary(),), drawing, figure.costs.source)


def _draw_accuracy(axes: "Axes", figure: Figure6, measure: Measure, axis: CostAxis) -> None:
    best = next(policy for policy, aim in STATIC.items() if aim == measure)
    lines = {policy: (policy, *looks) for policy, looks in LOOKS.items()} | {
        best: ("static mix of exits", plots.BLACK, ":")
    }
    for policy, (label, colour, line) in lines.items():
        curve = figure.curves[policy]
        values = _percent(curve.accuracies, measure)[0]
        axes.plot(curve.taken @ axis.per_exit, values, line, color=colour, label=label, linewidth=1.6)
    alone = _percent(figure.alone, measure)[0]
    axes.plot(axis.per_exit, alone, "o", color=plots.BLACK, markersize=5, label="all at one exit")


def _draw_published(axes: "Axes", macs: tuple[int, ...], measure: Measure, axis: CostAxis) -> None:
    paper = NETSCOPE_2018.macs
    alike = len(macs) == len(paper) and np.allclose(macs, paper, rtol=ALIKE)
    unit = axis.per_exit[-1] / (macs[-1] if alike else paper[-1])
    points = published_figure6()
    for policy in dict.fromkeys(point.policy for point in points):
        own = [point for point in points if point.policy == policy]
        costs, values = [unit * point.spent_macs for point in own], [100 * point[measure] for point in own]
        colour, _ = LOOKS[policy]
        axes.plot(costs, values, "x", color=colour, markersize=3.5, alpha=0.6, label=f"{policy}, as published")
    alone = [100 * value for value in published_exits(measure)]
    look: dict[str, Any] = {"color": plots.BLACK, "markersize": 6, "alpha": 0.6, "markerfacecolor": "none"}
    axes.plot([unit * cost for cost in paper], alone, "o", label="all at one exit, as published", **look)
    for network, marker in zip(FIGURE6_NETWORKS if measure == "rank-1" else (), "Dp*ho", strict=False):
        look = {"color": plots.BLACK, "markersize": 8, "alpha": 0.6, "linestyle": "none"}
        axes.plot(unit * network.macs, 100 * network.rank1, marker, label=f"{network.name}, as published", **look)


def _draw_gains(axes: "Axes", figure: Figure6, measure: Measure, axis: CostAxis) -> None:
    axes.axhline(0, color=plots.BLACK, linestyle=":", linewidth=1.6)
    for policy, (colour, line) in LOOKS.items():
        curve = figure.curves[policy]
        costs = curve.taken @ axis.per_exit
        values, low, high = _percent(curve.gains, measure)
        axes.plot(costs, values, line, color=colour, linewidth=1.6)
        axes.fill_between(costs, low, high, color=colour, alpha=0.12, linewidth=0)


def _percent(accuracies: Sequence[Accuracy], measure: Measure) -> NDArray[np.float64]:
    """Values and both ends of the interval, (3, P)."""
    found = [one[measure] for one in accuracies]
    return 100 * np.array([(one.value, one.low, one.high) for one in found]).T
