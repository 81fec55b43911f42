"""Figure 5: what can be answered when the budget runs out, by one network with exits or by several in sequence."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.costs import NETSCOPE_2018, ExitCosts
from dare.experiments.accuracy import MEASURES, Accuracy, Bootstrap, Measure, Outcomes
from dare.experiments.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    CostAxis,
    Section,
    bands,
    new_figure,
    tidy,
    write_figure,
    write_table,
)
from dare.experiments.published import SOURCE, published_exits
from dare.experiments.query_stream import SEED, QueryStream

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM = "The paper's claim: 3 to 5 points of rank-1 above SE-ResNets beyond 2.5 billion multiply-adds."
"""Section 5.3.1. It gives no numbers of its figure 5; those of DaRe's exits are in `published_exits`."""


@dataclass(frozen=True, slots=True)
class Network:
    """Something that can answer at each of its E exits.

    Attributes:
        outcomes: (E, runs * Q), of the same queries in the same order as all other networks'.
        costs: of leaving at each exit.
    """

    name: str
    outcomes: Outcomes
    costs: ExitCosts

    def __post_init__(self) -> None:
        if len(self.costs.macs) != len(self.outcomes.right):
            raise ValueError(f"{self.name}: expected costs of {len(self.outcomes.right)} exits, got {self.costs.macs}")


def answering_exits(costs: Sequence[float], budgets: NDArray[np.floating]) -> NDArray[np.int64]:
    """The deepest exit, counted from 0, whose cost is within each budget; -1 where not even the first is."""
    return np.searchsorted(np.asarray(costs, np.float64), budgets, side="right").astype(np.int64) - 1


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much the first network's answers are better than another's, from a budget up to the next step of either.

    Attributes:
        from_macs, to_macs: the budgets it holds for; the last one is infinite.
        difference: paired, of the same queries; where both can answer.
    """

    other: str
    from_macs: float
    to_macs: float
    difference: Accuracy


@dataclass(frozen=True, slots=True)
class Figure5:
    """The steps of the figure.

    Attributes:
        accuracies: one tuple per network, an accuracy per exit.
        leads: of the first network over each of the others.
    """

    benchmark: str
    queries: int
    networks: tuple[Network, ...]
    accuracies: tuple[tuple[Accuracy, ...], ...]
    leads: tuple[Lead, ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per network and exit: what is answered from that budget on, in percent."""
        for network, accuracies in zip(self.networks, self.accuracies, strict=True):
            for exit, (macs, accuracy) in enumerate(zip(network.costs.macs, accuracies, strict=True)):
                runs = {"runs": network.outcomes.runs}
                yield {"network": network.name, "exit": exit + 1, "macs": macs} | runs | accuracy.row()

    def summary(self) -> Section:
        """A line for people per network and exit."""
        rows = [
            (network.name, str(exit), f"{macs / 1e6:,.1f} M", str(accuracy.rank1), str(accuracy.mean_average_precision))
            for network, accuracies in zip(self.networks, self.accuracies, strict=True)
            for exit, (macs, accuracy) in enumerate(zip(network.costs.macs, accuracies, strict=True), start=1)
        ]
        return Section("", ("network", "exit", "multiply-adds", "rank-1 [95 %]", "mAP [95 %]"), tuple(rows))

    def lead_rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per range of budgets: the first network's lead over another, in percentage points."""
        for lead in self.leads:
            row = {"first": self.networks[0].name, "other": lead.other}
            yield row | {"from_macs": lead.from_macs, "to_macs": lead.to_macs} | lead.difference.row()


def figure5(stream: QueryStream, networks: Sequence[Network], *, seed: int = SEED) -> Figure5:
    """Accuracy as a function of the budget, when the latest answer that is ready counts.

    Args:
        stream: whose queries they are; in the order of the networks' outcomes.
        networks: the one to compare first.
        seed: of the bootstrap.

    Raises:
        ValueError: no network, two of one name, or outcomes of other queries.
    """
    names = [network.name for network in networks]
    if not names or len({*names}) < len(names):
        raise ValueError(f"expected networks with different names, got {names}")
    for network in networks:
        known = np.isnan(network.outcomes.precision[0])
        expected = np.tile(np.isnan(stream.outcomes.precision[0]), network.outcomes.runs)
        if known.shape != expected.shape or (known != expected).any():
            raise ValueError(f"{network.name} has outcomes of other queries than the stream; evaluate it on the same")
    bootstrap = Bootstrap(stream.people, seed)
    accuracies = tuple(tuple(bootstrap.accuracies(network.outcomes)) for network in networks)
    leads = tuple(lead for other in networks[1:] for lead in _leads(networks[0], other, bootstrap))
    return Figure5(stream.benchmark, len(stream), tuple(networks), accuracies, leads)


def _leads(first: Network, other: Network, bootstrap: Bootstrap) -> Iterator[Lead]:
    start = max(first.costs.macs[0], other.costs.macs[0])
    steps = sorted(macs for macs in {*first.costs.macs, *other.costs.macs} if macs >= start)
    ours, theirs = (
        network.outcomes.at(answering_exits(network.costs.macs, np.asarray(steps))) for network in (first, other)
    )
    ends = [*steps[1:], math.inf]
    for step, end, difference in zip(steps, ends, bootstrap.leads(ours, theirs), strict=True):
        yield Lead(other.name, step, end, difference)


COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, BLACK)
BEYOND = 1.06
"""How far the drawing goes beyond the largest cost: the last answer holds for good."""


def write_figure5(figure: Figure5, folder: str | Path, *, published: bool = False) -> list[Path]:
    """Write figure5.csv, figure5_leads.csv, figure5.png and figure5.svg into a folder; returns their paths.

    Args:
        figure: what `figure5` gives.
        published: draw what the paper's own network reaches at its exits too, at its costs of 2018.

    Raises:
        ImportError: without matplotlib.
    """
    everyone = [network.costs.macs[-1] for network in figure.networks] + [NETSCOPE_2018.macs[-1]] * published
    axes_of_costs = [CostAxis.of(network.costs, None, max(everyone)) for network in figure.networks]
    paper = CostAxis.of(NETSCOPE_2018, None, max(everyone))
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
    caption = f"{figure.queries:,} queries. {bands([one.outcomes.runs for one in figure.networks])} Costs: "
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
