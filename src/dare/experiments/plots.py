"""Drawings and tables of the figures as files: PNG, SVG, CSV, the same bytes whenever the numbers are the same."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dare import missing_extra
from dare.anytime.costs import ExitCosts, ExitTimes
from dare.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLACK, ORANGE, GREEN, BLUE, RED, PURPLE = "#000000", "#e69f00", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#7a7a7a"
DPI = 130

Unit = Literal["macs", "ms"]
"""Costs drawn as counted multiply-adds or as measured milliseconds."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, free of any window or global state.

    Raises:
        ImportError: without matplotlib; says what to install.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if extra := missing_extra(error):
            raise ImportError(f"drawing needs {error.name}; {extra}") from error
        raise
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: "Axes", label: str) -> None:
    """The looks that all panels share; the label is of the vertical axis."""
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


@dataclass(frozen=True, slots=True)
class CostAxis:
    """What costs are drawn as.

    Attributes:
        per_exit: (E,), the cost of leaving at each exit in this unit.
        unit: for the axis.
        source: where the costs come from.
    """

    per_exit: NDArray[np.float64]
    unit: str
    source: str

    @classmethod
    def of(cls, costs: ExitCosts, times: ExitTimes | None, by: Unit, most_macs: float | None = None) -> "CostAxis":
        """A network's axis: ms, or millions of multiply-adds, or billions where the drawing goes beyond 2 of them.

        Args:
            most_macs: the largest cost in the drawing, by default the last exit's.
        """
        if by == "ms":
            if times is None:
                raise ValueError("no times were given to draw costs in milliseconds; measure them, or draw macs")
            return cls(1000 * np.asarray(times.median), "ms", times.source)
        billions = (most_macs or costs.macs[-1]) > 2e9
        macs = np.asarray(costs.macs, np.float64) / (1e9 if billions else 1e6)
        return cls(macs, f"{'billion' if billions else 'million'} multiply-adds", costs.source)

    def percent_on_top(self, axes: "Axes") -> None:
        """A second axis above: the same costs in percent of the full network's."""
        percent = 100 / self.per_exit[-1]
        top = axes.secondary_xaxis(
            "top", functions=(lambda x: np.asarray(x) * percent, lambda x: np.asarray(x) / percent)
        )
        top.set_xlabel("percent of the full network's cost", color=GREY)
        top.tick_params(colors=GREY)


def write_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write it as PNG and SVG, each in one piece; returns both."""
    import matplotlib as mpl

    paths = []
    # The salt makes the SVG's ids the same every time; there is no other way to set it.
    with mpl.rc_context({"svg.hashsalt": "dare"}):
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            path = folder / f"{name}{suffix}"
            with replacing(path) as file:
                figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=metadata)
            paths.append(path)
    return paths


def write_table(rows: Iterable[Mapping[str, Any]], path: Path) -> Path:
    """Write rows with the same columns as CSV, in one piece."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return path
