"""Figure 4 as files: bars of error and mAP with deep supervision beside those without."""

from pathlib import Path

from dare.experiments.accuracy import MEASURES
from dare.experiments.bars import draw_bars, whiskers
from dare.experiments.figure4 import CLAIM, GROUPS, Figure4
from dare.experiments.plots import GREY, new_figure, write_figure, write_table


def write_figure4(figure: Figure4, folder: str | Path) -> list[Path]:
    """Write figure4.csv, figure4_runs.csv, figure4.png and figure4.svg into a folder; returns their paths.

    Raises:
        ImportError: without matplotlib.
    """
    drawing = new_figure(11, 4.6)
    panels = drawing.subplots(1, 2)
    for axes, measure in zip(panels, MEASURES, strict=True):
        draw_bars(axes, figure.vectors, dict(zip(GROUPS, figure.averages, strict=True)), measure)
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    runs = figure.groups[0]
    drawing.suptitle(f"{runs.benchmark}: with and without deep supervision", fontsize=13)
    gain = figure.gains[-1]
    caption = f"{len(runs.people):,} queries. {whiskers([len(group) for group in figure.groups])}\n"
    caption += f"Gain of the {figure.vectors[-1]}, 95 %, people resampled: rank-1 {gain.rank1}, "
    caption += f"mAP {gain.mean_average_precision}. {CLAIM}"
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    folder = Path(folder)
    rows = ({"group": name, **row} for name, group in zip(GROUPS, figure.groups, strict=True) for row in group.rows())
    return [
        write_table(figure.rows(), folder / "figure4.csv"),
        write_table(rows, folder / "figure4_runs.csv"),
        *write_figure(drawing, folder, "figure4"),
    ]
