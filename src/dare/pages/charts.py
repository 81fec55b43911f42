"""Charts as SVG: accuracy over cost, match curves, distances of pairs, and the axes that they stand on.

Charts are plain elements for a page: no scripts, no fonts of their own, no ids. What they look like is up to the page's
style sheet, which knows these classes: `grid` (lines), `tick` and `label` (texts), `s1` to `s6` (series), `p1` to `p12`
(people), `same`, `other` and `mark` (of histograms).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

SERIES = 6
"""How many series can be told apart; after these the classes repeat."""

STEPS = (1, 2, 2.5, 5, 10)
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
    """Cumulative match characteristics: the share of queries with a correct match among the first k entries.

    Args:
        curves: exit -> (R,), from 0 to 1, of ranks 1 to R; R is the same for every exit.
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
    return axes.drawing(f"Percent of queries with a correct match up to each rank. {described}.", parts)


def pair_histogram(
    name: str,
    edges: NDArray[np.floating],
    same: NDArray[np.integer],
    other: NDArray[np.integer],
    *,
    unit: str = "distance",
    threshold: float | None = None,
    meaning: str = "",
) -> str:
    """Shares of the pairs in bins of equal width; both areas have size 1, whatever the number of pairs.

    Args:
        name: what is measured, as "stage 1".
        edges: (B + 1,), of the bins.
        same, other: (B,), counts of pairs of one person, and of two.
        unit: what the horizontal axis says.
        threshold: a distance to mark.
        meaning: what is written beside the mark.
    """
    shares = [counts / max(1, counts.sum()) for counts in (same, other)]
    highest = max(1e-9, *(float(share.max(initial=0)) for share in shares))
    axes = Axes((float(edges[0]), float(edges[-1])), (0, 1.2 * highest), 280, 180, left=8, right=8)
    parts = axes.frame(ticks(*axes.x, 5), [], unit)
    floor = axes.down(0)
    parts.append(
        f'<line class="grid" x1="{axes.left}" x2="{axes.width - axes.right}" y1="{floor:.1f}" y2="{floor:.1f}"/>'
    )
    corners = np.concatenate([edges[:1], np.repeat(edges[1:-1], 2), edges[-1:]])
    for kind, share in zip(("other", "same"), reversed(shares), strict=True):
        outline = axes.points([edges[0], *corners, edges[-1]], [0, *np.repeat(share, 2), 0])
        parts.append(f'<polygon class="area {kind}" points="{outline}"/>')
    described = [
        f"{counts.sum()} pairs of {whom}, median {_middle(edges, counts):.3g}"
        for counts, whom in ((same, "one person"), (other, "two"))
    ]
    if threshold is not None and axes.x[0] <= threshold <= axes.x[1]:
        x = axes.across(threshold)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{axes.top}" y2="{floor:.1f}"/>')
        late = x > axes.width / 2
        parts.append(text(x + (-6 if late else 6), axes.top + 10, meaning, "tick", anchor="end" if late else "start"))
        described.append(f"mark at {threshold:.3g}: {meaning}")
    return axes.drawing(f"Distances at {name}: " + "; ".join(described), parts)


def _middle(edges: NDArray[np.floating], counts: NDArray[np.integer]) -> float:
    """The median's bin, by its middle; NaN of no pairs."""
    if not counts.any():
        return float("nan")
    bin = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return float(edges[bin] + edges[bin + 1]) / 2


@dataclass(frozen=True, slots=True)
class Axes:
    """A rectangle of a drawing with ranges of numbers along its sides.

    Attributes:
        x, y: what the left and right, the lower and upper side stand for.
        width, height: of the whole drawing, in pixels.
        left, right, top, bottom: margins around the rectangle.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 660
    height: int = 300
    left: int = 50
    right: int = 60
    top: int = 12
    bottom: int = 44

    def across(self, x: float) -> float:
        """Pixels from the left edge."""
        low, high = self.x
        return self.left + (x - low) / (high - low) * (self.width - self.left - self.right)

    def down(self, y: float) -> float:
        """Pixels from the upper edge."""
        low, high = self.y
        return self.height - self.bottom - (y - low) / (high - low) * (self.height - self.top - self.bottom)

    def points(self, x: ArrayLike, y: ArrayLike) -> str:
        """Coordinates of a polyline."""
        pairs = zip(np.asarray(x, float).tolist(), np.asarray(y, float).tolist(), strict=True)
        return " ".join(f"{self.across(a):.1f},{self.down(b):.1f}" for a, b in pairs)

    def frame(
        self, x_ticks: Iterable[float], y_ticks: Iterable[float], x_label: str, y_label: str = "", x_unit: str = ""
    ) -> list[str]:
        """Horizontal grid lines, numbers below and on the left, and labels; the vertical one stands on top."""
        right, floor = self.width - self.right, self.height - self.bottom
        parts = []
        for tick in y_ticks:
            y = self.down(tick)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(text(self.left - 8, y + 4, f"{tick:g}", "tick", anchor="end"))
        parts += [text(self.across(tick), floor + 18, f"{tick:g}{x_unit}", "tick", anchor="middle") for tick in x_ticks]
        parts.append(text((self.left + right) / 2, self.height - 4, x_label, "label", anchor="middle"))
        if y_label:
            parts.append(text(2, self.top - 8, y_label, "label"))
        return parts

    def drawing(self, description: str, parts: Iterable[str]) -> str:
        """The whole chart, with a text for screen readers."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{escape(description)}">\n' + "\n".join(parts) + "\n</svg>"
        )


def text(x: float, y: float, words: str, classes: str, anchor: str = "start") -> str:
    """A line of text at a place in pixels."""
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(points: str, classes: str, title: str = "") -> str:
    """A polyline without a filling; the title shows where a pointer rests on it."""
    named = f"<title>{escape(title)}</title>" if title else ""
    return f'<polyline class="line {classes}" points="{points}">{named}</polyline>'


def legend(x: float, y: float, entries: Sequence[tuple[str, str]]) -> list[str]:
    """A column of sample lines with their names: (class, name)."""
    parts = []
    for place, (classes, name) in enumerate(entries):
        middle = y + 18 * place
        parts.append(f'<line class="line {classes}" x1="{x}" x2="{x + 26}" y1="{middle}" y2="{middle}"/>')
        parts.append(text(x + 32, middle + 4, name, "tick"))
    return parts


def series(place: int) -> str:
    """The class of the series at a place, counted from 0."""
    return f"s{place % SERIES + 1}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from low to high, about `count` of them."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]
