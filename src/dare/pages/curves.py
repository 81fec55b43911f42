"""Accuracy as curves: over the cost of the exits, and over the length of the ranked list."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from dare.pages.charts import Axes, legend, line, series, text, ticks

RANKS = (1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50)


def accuracy_over_cost(exits: Sequence[str], shares: Sequence[float], measures: Mapping[str, Sequence[float]]) -> str:
    """A line per measure, a dot per exit.

    Args:
        exits: their names.
        shares: what each of them costs, in percent of the full pass.
        measures: name -> a value in percent for each exit.
    """
    axes = Axes((0, 100), (0, 100))
    parts = axes.frame(ticks(0, 100, 4), ticks(0, 100, 4), "multiply-adds, share of the full pass", x_unit=" %")
    for place, (name, values) in enumerate(measures.items()):
        parts.append(line(axes.points(shares, values), series(place)))
        for exit, share, value in zip(exits, shares, values, strict=True):
            mark = f'<circle class="{series(place)}" cx="{axes.across(share):.1f}" cy="{axes.down(value):.1f}" r="4">'
            parts.append(f"{mark}<title>{escape(f'{name}, {exit}: {value:.1f}')}</title></circle>")
        parts.append(text(axes.across(shares[-1]) + 8, axes.down(values[-1]) + 4, name, f"tick {series(place)}"))
    described = "; ".join(
        f"{exit} at {share:.0f} % of the cost: "
        + ", ".join(f"{name} {values[place]:.1f}" for name, values in measures.items())
        for place, (exit, share) in enumerate(zip(exits, shares, strict=True))
    )
    return axes.drawing(f"Accuracy of each exit over its multiply-adds. {described}.", parts)


def match_curves(curves: Mapping[str, NDArray[np.floating]]) -> str:
    """Cumulative match characteristics: how many queries have a right answer among the first so many entries.

    Args:
        curves: exit -> (R,), from 0 to 1, of ranks 1 to R; as many for every exit.
    """
    longest = len(next(iter(curves.values())))
    least = 100 * min(float(curve[0]) for curve in curves.values())
    floor = min(90, 10 * math.floor(least / 10))
    axes = Axes((1, max(2, longest)), (floor, 100), right=150)
    parts = axes.frame([rank for rank in RANKS if rank <= longest], ticks(floor, 100, 5), "rank")
    ranks = range(1, longest + 1)
    for place, (name, curve) in enumerate(curves.items()):
        parts.append(line(axes.points(ranks, 100 * np.asarray(curve)), series(place), name))
    entries = [(series(place), name) for place, name in enumerate(curves)]
    parts += legend(axes.width - axes.right + 16, axes.height - axes.bottom - 18 * len(entries), entries)
    shown = [rank for rank in (1, 5, 10, 20, 50) if rank <= longest]
    described = "; ".join(
        f"{name}: " + ", ".join(f"{100 * curve[rank - 1]:.1f} at rank {rank}" for rank in shown)
        for name, curve in curves.items()
    )
    return axes.drawing(f"Percent of the queries with a right answer up to each rank. {described}.", parts)
