"""The frame of a chart as SVG: where numbers lie in a drawing, grid lines and labels.

Charts are plain elements for a page: no scripts, no fonts of their own, no ids. What they look like is up to the page's
style sheet, which knows these classes: `grid` (lines), `tick` and `label` (texts), `s1` to `s6` (series), `p1` to `p12`
(people), `same`, `other` and `mark` (of histograms).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

SERIES = 6
"""So many series can be told apart; after these the classes come again."""

STEPS = (1, 2, 2.5, 5, 10)


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
        """All of it, with a text for those who do not see it."""
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
    """Samples of lines with their names, one below the other: (class, name)."""
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
    """About so many round numbers from low to high."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]
