"""Figure 6 as files: above rank-1 and mAP, below what is gained over the static mix at the same cost."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import NETSCOPE_2018
from dare.experiments.accuracy import MEASURES, Measure
from dare.experiments.figure6 import STATIC, Figure6, Point
from dare.experiments.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    CostAxis,
    Unit,
    new_figure,
    tidy,
    write_figure,
    write_table,
)
from dare.experiments.published import SOURCE, published_figure6

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    "chance": (GREY, "-"),
    "nearness": (ORANGE, "-"),
    "margin": (BLUE, "-"),
    "label-free margin": (GREEN, "-"),
    "steered margin": (RED, "--"),
}
ALIKE = 0.05
"""Published points are placed at their cost if the network's exits cost nearly as much, else at their share of it."""


def write_figure6(figure: Figure6, folder: str | Path, *, by: Unit = "macs", published: bool = False) -> list[Path]:
    """Write figure6.csv, figure6.png and figure6.svg into a folder; returns their paths.

    Args:
        figure: what `figure6` gives.
        by: whether costs are drawn in multiply-adds or in measured milliseconds.
        published: draw the paper's own points too. Those of a network with other costs are placed at the same share of
            the full network's cost.

    Raises:
        ImportError: without matplotlib.
        ValueError: milliseconds of a figure without times.
    """
    axis = CostAxis.of(figure.costs, figure.times, by)
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
    caption = f"{figure.queries:,} queries in one order (seed {figure.seed}). Bands: 95 %, people resampled. "
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
