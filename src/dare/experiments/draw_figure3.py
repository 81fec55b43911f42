"""Figure 3 as files: bars of every stage's error and mAP, and the fusion's."""

from pathlib import Path

from dare.experiments.accuracy import MEASURES
from dare.experiments.bars import draw_bars, whiskers
from dare.experiments.figure3 import PUBLISHED, SOURCE, Figure3
from dare.experiments.plots import GREY, new_figure, write_figure, write_table


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
