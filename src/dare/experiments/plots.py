"""Drawings and tables of the figures as files: PNG, SVG, CSV, the same bytes whenever the numbers are the same."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare import missing_extra
from dare.anytime.costs import ExitCosts, ExitTimes
from dare.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dare.experiments.trainings import Run
    from dare.verification.verifier import Verifier

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLACK, ORANGE, GREEN, BLUE, RED, PURPLE = "#000000", "#e69f00", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#7a7a7a"
DPI = 130


@dataclass(frozen=True, slots=True)
class Summary:
    """A table for people; of the paper's tables one data set's, by its name."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A figure or a table of the paper, ready to be written.

    Attributes:
        tables: rows by the names of their CSV files; the first is the output's own name.
        summaries: the same for people.
        costs: where multiply-adds come from; "" where there are none.
        meaning: what a table's columns mean.
        runs: what it is made of.
        missing: what is not measured, and why.
        stands_in: what is in place of what.
    """

    tables: Mapping[str, Iterable[Mapping[str, Any]]]
    summaries: tuple[Summary, ...]
    drawing: "Figure | None" = None
    costs: str = ""
    meaning: str = ""
    runs: "tuple[Run, ...]" = ()
    missing: tuple[str, ...] = ()
    stands_in: tuple[str, ...] = ()

    def write(self, folder: Path) -> list[Path]:
        """Write each table as CSV and the drawing as PNG and SVG; beside a drawing each row says what stands in."""
        remark = {"stands_in": "; ".join(self.stands_in)} if self.drawing and self.stands_in else {}
        paths = []
        for name, rows in self.tables.items():
            paths.append(folder / f"{name}.csv")
            write_table([{**row, **remark} for row in rows], paths[-1])
        return paths + (write_figure(self.drawing, folder / next(iter(self.tables))) if self.drawing else [])


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
    def of(cls, costs: ExitCosts, times: ExitTimes | None, most_macs: float | None = None) -> "CostAxis":
        """A network's axis: ms where times are known, else millions of multiply-adds, or billions beyond 2 of them.

        Args:
            most_macs: the largest cost in the drawing, by default the last exit's.
        """
        if times is not None:
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


def bands(runs: Sequence[int]) -> str:
    """What the bands of a drawing mean, for networks with as many runs."""
    if max(runs) == 1:
        return "Bands: 95 %, people resampled."
    counted = " and ".join(map(str, dict.fromkeys(runs)))
    return f"Means of {counted} runs. Bands: 95 %, people and runs resampled."


def write_figure(figure: "Figure", path: Path) -> list[Path]:
    """Write NAME.png and NAME.svg, each in one piece, whichever of them is named; returns both."""
    import matplotlib as mpl

    path = path.with_suffix("") if path.suffix in (".png", ".svg") else path
    paths = []
    # The layout's last digit depends on where objects lie in memory, and the names of an SVG's parts on all digits.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        for corner in ("p0", "p1"):
            setattr(part.bbox_relative, corner, [round(edge, 9) for edge in getattr(part.bbox_relative, corner)])
    for axes in figure.get_axes():
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position((round(left, 9), round(bottom, 9), round(width, 9), round(height, 9)))
    # The salt makes the SVG's ids the same every time; there is no other way to set it.
    with mpl.rc_context({"svg.hashsalt": "dare"}):
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            paths.append(path.with_name(path.name + suffix))
            with replacing(paths[-1]) as file:
                figure.savefig(file, format=suffix[1:], dpi=DPI, metadata=metadata)
    return paths


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows with the same columns as CSV, in one piece."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


ENGINES = (GREY, BLACK, BLUE, GREEN, ORANGE, RED, PURPLE)


def write_times(figures: Sequence[Mapping[str, Any]], path: str | Path) -> list[Path]:
    """Write NAME.png and NAME.svg of what `dare bench --json` writes: ms per picture, a panel per batch size."""
    batches = list(dict.fromkeys(row["batch"] for row in figures))
    figure = new_figure(5.2 * len(batches), 4.2)
    panels = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
    for axes, batch in zip(panels, batches, strict=True):
        rows = [row for row in figures if row["batch"] == batch]
        several = len({row["model"] for row in rows}) > 1
        for number, row in enumerate(rows):
            name = f"{Path(row['model']).name}: {row['runner']}" if several else row["runner"]
            axes.plot(
                [exit["macs"] / 1e6 for exit in row["exits"]],
                [exit["ms"] / batch for exit in row["exits"]],
                "o-",
                color=ENGINES[number % len(ENGINES)],
                label=name,
            )
        tidy(axes, "ms per picture")
        axes.set_xlabel("million multiply-adds, one point per exit")
        axes.set_title(f"{batch} together")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize="small")
    return write_figure(figure, Path(path))


EXITS = (ORANGE, GREEN, PURPLE, BLUE, BLACK)
BINS = 60
LEAST_RATE = 1e-5


def write_errors(verifier: "Verifier", path: str | Path) -> list[Path]:
    """Write NAME.png and NAME.svg: histograms at the last exit, and a DET curve of each exit, on the other people."""
    figure = new_figure(10.4, 4.2)
    histogram, det = figure.subplots(1, 2)
    last = verifier.exits[-1]
    distances = last.curve.distances
    edges = np.linspace(distances[0], distances[-1], BINS + 1)
    impostors = np.interp(edges, distances, last.curve.false_match)
    genuine = np.interp(edges, distances, 1 - last.curve.false_non_match)
    for name, shares, colour in (("one person, two cameras", genuine, BLUE), ("two people", impostors, RED)):
        histogram.stairs(100 * np.diff(shares), edges, color=colour, fill=True, alpha=0.5, label=name)
    histogram.axvline(last.threshold.distance, color=BLACK, linestyle="--", label="threshold")
    tidy(histogram, "percent of the pairs")
    unit = "distance of vectors of length 1" if verifier.distance == "cosine" else "Euclidean distance"
    histogram.set_xlabel(f"{unit} at {last.name}")
    histogram.set_ylim(bottom=0)
    histogram.legend(frameon=False, fontsize="small")
    for number, at in enumerate(verifier.exits):
        shown = at.curve.false_match >= LEAST_RATE
        colour = EXITS[number % len(EXITS)]
        det.plot(100 * at.curve.false_match[shown], 100 * at.curve.false_non_match[shown], color=colour, label=at.name)
        rates = at.measured
        det.plot(100 * rates.false_match.value, 100 * rates.false_non_match.value, "o", color=colour)
    tidy(det, "percent of one person's pairs that are missed")
    det.set_xscale("log")
    det.set_ylim(0, 100)
    det.set_xlabel("percent of two people's pairs that match; dots: the thresholds")
    det.legend(frameon=False, fontsize="small")
    return write_figure(figure, Path(path))
