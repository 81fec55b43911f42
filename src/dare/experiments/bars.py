"""Bars of several runs: a group of them for each vector of a network."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dare.experiments.accuracy import Measure
from dare.experiments.plots import BLACK, BLUE, ORANGE, tidy
from dare.experiments.runs import Average

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
