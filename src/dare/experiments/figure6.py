"""Figure 6: accuracy of a stream over its mean budget, by who decides which queries leave early."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import NETSCOPE_2018, ExitCosts, ExitTimes
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    CostAxis,
    Section,
    bands,
    new_figure,
    tidy,
    write_figure,
    write_table,
)
from dare.experiments.published import SOURCE, published_figure6
from dare.experiments.query_stream import SEED, QueryStream
from dare.experiments.sweep import POLICIES, STATIC, LeastCost, Point, least_cost, mixed, points, replayed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BUDGETS = 50
"""From the first exit's cost to the last one's, evenly spaced (released code)."""

ALLOWANCE = 0.003
"""How far below the full network's rank-1 a policy may stay and still count as its equal."""

PARTS = (0.25, 0.5, 0.75)
"""Of the full network's cost, for the summary."""


@dataclass(frozen=True, slots=True)
class Figure6:
    """The points of the figure, by policy and budget.

    Attributes:
        runs: how many; what policies take and gain is the mean over them, each replayed with its own confidences.
        queries: how many; those without a match count for the cost, but in no accuracy.
        exits: E names.
        alone: all queries at one exit, for each exit.
        least: for each policy what it takes to be as good as the last one, but for `ALLOWANCE`; None where it never is.
        seed: of the stream's order, of chance and of the bootstrap.
    """

    benchmark: str
    runs: int
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

    def summary(self) -> Section:
        """A line for people per policy: rank-1/mAP at shares of the full network's cost; the least cost from which on
        rank-1 is within `ALLOWANCE` of the full network's, and mAP there."""
        rows = []
        for policy in (*POLICIES, *STATIC):
            points = self.of(policy)
            spent = [point.spent_macs / self.costs.macs[-1] for point in points]
            curves = [[100 * point.accuracy[measure].value for point in points] for measure in MEASURES]
            shown = ("/".join(f"{np.interp(part, spent, curve):.1f}" for curve in curves) for part in PARTS)
            least = self.least[policy]
            rows.append((policy.removeprefix("static "), *shown, *(least.shown() if least else ("not reached", ""))))
        full = self.alone[-1]
        rows.append(("full network", "", "", "", f"rank-1 {full.rank1}", f"{full.mean_average_precision}"))
        return Section(
            "", ("policy", *(f"at {100 * part:.0f} %" for part in PARTS), "least cost", "mAP there"), tuple(rows)
        )


def figure6(
    streams: Sequence[QueryStream],
    costs: ExitCosts,
    times: ExitTimes | None = None,
    *,
    budgets: int = BUDGETS,
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
        ValueError: a single exit, costs or times of another number of exits, or no query with a valid match.
    """
    if budgets < 2:
        raise ValueError(f"a curve needs at least 2 budgets, got {budgets}")
    count = len(streams[0].exits)
    if len(costs.macs) != count or (times and len(times.median) != count):
        raise ValueError(f"expected costs of {count} exits, got {len(costs.macs)} (times: {times and times.median})")
    if count < 2:
        raise ValueError("a network with a single exit leaves nothing to decide; give one with at least two")
    if np.isnan(streams[0].outcomes.precision).all():
        raise ValueError("no query has a valid match in the gallery, so there is nothing to draw; check the labels")
    streams = [stream.shuffled(seed) for stream in streams]
    outcomes = Outcomes.beside([stream.outcomes for stream in streams])
    bootstrap = Bootstrap(streams[0].people, seed)
    budget_macs = np.linspace(costs.macs[0], costs.macs[-1], budgets).tolist()
    sweeps = [replayed(policy, streams, outcomes, costs, budget_macs, seed) for policy in POLICIES]
    sweeps += [mixed(policy, outcomes, costs, budget_macs) for policy in STATIC]
    full = outcomes.at([count - 1])
    return Figure6(
        streams[0].benchmark,
        len(streams),
        len(streams[0]),
        streams[0].exits,
        costs,
        times,
        tuple(point for sweep in sweeps for point in points(sweep, outcomes, costs, times, bootstrap)),
        tuple(bootstrap.accuracies(outcomes)),
        {
            sweep.policy: least_cost(
                sweep.taken @ costs.macs, sweep.outcomes, full, costs.macs[-1], ALLOWANCE, bootstrap
            )
            for sweep in sweeps
        },
        seed,
    )


LOOKS = {
    "chance": (GREY, "-"),
    "nearness": (ORANGE, "-"),
    "margin": (BLUE, "-"),
    "label-free margin": (GREEN, "-"),
    "steered margin": (RED, "--"),
}
ALIKE = 0.05
"""Published points are placed at their cost if the network's exits cost nearly as much, else at their share of it."""


def write_figure6(figure: Figure6, folder: str | Path, *, published: bool = False) -> list[Path]:
    """Write figure6.csv, figure6.png and figure6.svg into a folder; returns their paths. Costs are ms where times are.

    Args:
        figure: what `figure6` gives.
        published: draw the paper's own points too. Those of a network with other costs are placed at the same share of
            the full network's cost.

    Raises:
        ImportError: without matplotlib.
    """
    axis = CostAxis.of(figure.costs, figure.times)
    drawing = new_figure(13, 8)
    panels = drawing.subplots(2, 2, sharex=True, height_ratios=(3, 2))
    for (above, below), measure in zip(panels.T, MEASURES, strict=True):
        _draw_accuracy(above, figure, measure, axis)
        if published:
            _draw_published(above, figure, measure, axis)
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
        caption += f"\nAs published: {SOURCE}."
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    folder = Path(folder)
    return [write_table(figure.rows(), folder / "figure6.csv"), *write_figure(drawing, folder, "figure6")]


def _draw_accuracy(axes: "Axes", figure: Figure6, measure: Measure, axis: CostAxis) -> None:
    for policy, (colour, line) in LOOKS.items():
        costs, values, _, _ = _curve(figure.of(policy), measure, axis)
        axes.plot(costs, values, line, color=colour, label=policy, linewidth=1.6)
    best = next(policy for policy, aim in STATIC.items() if aim == measure)
    costs, values, _, _ = _curve(figure.of(best), measure, axis)
    axes.plot(costs, values, ":", color=BLACK, label="static mix of exits", linewidth=1.6)
    axes.plot(
        axis.per_exit,
        [100 * exit[measure].value for exit in figure.alone],
        "o",
        color=BLACK,
        markersize=5,
        label="all at one exit",
    )


def _draw_published(axes: "Axes", figure: Figure6, measure: Measure, axis: CostAxis) -> None:
    same = len(figure.costs.macs) == len(NETSCOPE_2018.macs) and np.allclose(
        figure.costs.macs, NETSCOPE_2018.macs, rtol=ALIKE
    )
    full = axis.per_exit[-1] * (NETSCOPE_2018.macs[-1] / figure.costs.macs[-1] if same else 1)
    points = published_figure6()
    for policy in dict.fromkeys(point.policy for point in points):
        own = [point for point in points if point.policy == policy]
        costs = [full * point.spent_macs / NETSCOPE_2018.macs[-1] for point in own]
        colour, _ = LOOKS[policy]
        values = [100 * point[measure] for point in own]
        axes.plot(costs, values, "x", color=colour, markersize=3.5, alpha=0.6, label=f"{policy}, as published")


def _draw_gains(axes: "Axes", figure: Figure6, measure: Measure, axis: CostAxis) -> None:
    axes.axhline(0, color=BLACK, linestyle=":", linewidth=1.6)
    for policy, (colour, line) in LOOKS.items():
        costs, values, low, high = _curve(figure.of(policy), measure, axis, gain=True)
        axes.plot(costs, values, line, color=colour, linewidth=1.6)
        axes.fill_between(costs, low, high, color=colour, alpha=0.12, linewidth=0)


def _curve(points: list[Point], measure: Measure, axis: CostAxis, gain: bool = False) -> NDArray[np.float64]:
    """Costs, values and both ends of the interval, (4, P)."""
    found = [(point.gain if gain else point.accuracy)[measure] for point in points]
    costs = [point.taken @ axis.per_exit for point in points]
    percent = [(100 * one.value, 100 * one.low, 100 * one.high) for one in found]
    return np.column_stack([costs, percent]).T
