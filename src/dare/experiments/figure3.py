"""Figure 3: the error of every stage and of the fusion, over several runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import MEASURES, Bootstrap, Measure
from dare.experiments.plots import GREY, Section, new_figure, write_figure, write_table
from dare.experiments.query_stream import SEED
from dare.experiments.runs import Average, Runs, draw_bars, whiskers

PUBLISHED: dict[Measure, dict[str, float]] = {
    "rank-1": {"stage 1": 66.7, "fusion": 88.5},
    "mAP": {"fusion": 74.2},
}
"""What the paper prints of its figure 3, in percent: that stage 1 reaches an error of 33.3 % (section 5.2; the authors'
own log says 34.6 %), and the fusion in table 1."""

SOURCE = "DaRe(R)+RE on Market-1501, ten crops: section 5.2 (stage 1) and table 1 (fusion)"


@dataclass(frozen=True, slots=True)
class Figure3:
    """The bars of the figure.

    Attributes:
        runs: what they are of.
        averages: one for each vector.
    """

    runs: Runs
    averages: tuple[dict[Measure, Average], ...]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A line of a table per vector: error (100 - rank-1) and mAP in percent, the standard deviation of the runs,
        and the interval over people."""
        for vector, average in zip(self.runs.vectors, self.averages, strict=True):
            yield {
                "vector": vector,
                "runs": len(self.runs),
                **average["rank-1"].row("error", wrong=True),
                **average["mAP"].row("mAP"),
            }

    def summary(self) -> Section:
        """A line for people per vector."""
        shown = [(one["rank-1"].shown(wrong=True), one["mAP"].shown()) for one in self.averages]
        rows = [(vector, *pair) for vector, pair in zip(self.runs.vectors, shown, strict=True)]
        return Section("", ("vector", "error", "mAP"), tuple(rows))


def figure3(evaluations: Mapping[str, Evaluation], *, seed: int = SEED) -> Figure3:
    """The mean over runs, and how far runs lie apart.

    Args:
        evaluations: runs of one recipe by their names, on the same queries.
        seed: of the bootstrap.

    Raises:
        ValueError: no run, or runs that cannot be compared.
    """
    runs = Runs.of(evaluations)
    return Figure3(runs, tuple(runs.averages(Bootstrap(runs.people, seed))))


def write_figure3(figure: Figure3, folder: str | Path, *, published: bool = False) -> list[Path]:
    """Write figure3.csv, figure3_runs.csv, figure3.png and figure3.svg into a folder; returns their paths.

    Args:
        figure: what `figure3` gives.
        published: mark what the paper prints too.

    Raises:
        ImportError: without matplotlib.
    """
    drawing = new_figure(10, 4.4)
    panels = drawing.subplots(1, 2)
    runs = figure.runs
    for axes, measure in zip(panels, MEASURES, strict=True):
        marked = PUBLISHED[measure] if published else None
        draw_bars(axes, runs.vectors, {"measured": figure.averages}, measure, marked)
    if published and not {*runs.vectors}.isdisjoint(PUBLISHED["rank-1"]):
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    drawing.suptitle(f"{runs.benchmark}: every stage and the fusion", fontsize=13)
    caption = f"{len(runs.people):,} queries. {whiskers([len(runs)])}"
    if published:
        caption += f"\nAs published: {SOURCE}."
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    folder = Path(folder)
    return [
        write_table(figure.rows(), folder / "figure3.csv"),
        write_table(runs.rows(), folder / "figure3_runs.csv"),
        *write_figure(drawing, folder, "figure3"),
    ]
