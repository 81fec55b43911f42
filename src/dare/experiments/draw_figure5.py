"""Figure 5 as files: rank-1 and mAP over the budget after which an answer is asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dare.anytime.costs import NETSCOPE_2018
from dare.experiments.accuracy import MEASURES, Accuracy, Measure
from dare.experiments.figure5 import CLAIM, Figure5
from dare.experiments.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    CostAxis,
    Unit,
    new_figure,
    tidy,
    write_figure,
    write_table,
)
from dare.experiments.published import SOURCE, published_exits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, BLACK)
BEYOND = 1.06
"""How far the drawing goes beyond the largest cost: the last answer holds for good."""


def write_figure5(figure: Figure5, folder: str | Path, *, by: Unit = "macs", published: bool = False) -> list[Path]:
    """Write figure5.csv, figure5_leads.csv, figure5.png and figure5.svg into a folder; returns their paths.

    Args:
        figure: what `figure5` gives.
        by: whether budgets are multiply-adds or measured milliseconds.
        published: draw what the paper's own network reaches at its exits too, at its costs of 2018.

    Raises:
        ImportError: without matplotlib.
        ValueError: milliseconds of a network without times, or of the published one.
    """
    if published and by == "ms":
        raise ValueError("the published network has no measured times; draw it over macs, or leave it out")
    everyone = [network.costs.macs[-1] for network in figure.networks] + [NETSCOPE_2018.macs[-1]] * published
    axes_of_costs = [CostAxis.of(network.costs, network.times, by, max(everyone)) for network in figure.networks]
    paper = CostAxis.of(NETSCOPE_2018, None, "macs", max(everyone))
    end = BEYOND * max(axis.per_exit[-1] for axis in (*axes_of_costs, *[paper] * published))
    drawing = new_figure(12, 4.8)
    panels = drawing.subplots(1, 2)
    for axes, measure in zip(panels, MEASURES, strict=True):
        for place, (network, axis) in enumerate(zip(figure.networks, axes_of_costs, strict=True)):
            colour = COLOURS[place % len(COLOURS)]
            _draw_steps(axes, network.name, axis, figure.accuracies[place], measure, end, colour)
        if published:
            values = [100 * value for value in published_exits(measure)]
            axes.step(
                [*paper.per_exit, end], [*values, values[-1]], where="post", color=GREY, label="DaRe, as published"
            )
        tidy(axes, f"{measure} [%]")
        axes.set_xlim(0, end)
        axes.set_xlabel(f"budget per query [{axes_of_costs[0].unit}]")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    drawing.suptitle(f"{figure.benchmark}: the latest answer when the budget runs out", fontsize=13)
    caption = f"{figure.queries:,} queries. Bands: 95 %, people resampled. Costs: "
    caption += "; ".join(dict.fromkeys(axis.source for axis in axes_of_costs)) + f".\n{CLAIM}"
    if published:
        caption += f"\nAs published: {SOURCE}; the exits between the first and the last are estimated from it."
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    folder = Path(folder)
    return [
        write_table(figure.rows(), folder / "figure5.csv"),
        write_table(figure.lead_rows(), folder / "figure5_leads.csv"),
        *write_figure(drawing, folder, "figure5"),
    ]


def _draw_steps(
    axes: "Axes",
    name: str,
    axis: CostAxis,
    accuracies: tuple[Accuracy, ...],
    measure: Measure,
    end: float,
    colour: str,
) -> None:
    found = [accuracy[measure] for accuracy in accuracies]
    value, low, high = 100 * np.array([(one.value, one.low, one.high) for one in [*found, found[-1]]]).T
    costs = [*axis.per_exit, end]
    axes.step(costs, value, where="post", color=colour, label=name, linewidth=1.8)
    axes.fill_between(costs, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    axes.plot(axis.per_exit, value[:-1], "o", color=colour, markersize=5)
