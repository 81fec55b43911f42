"""Figure 7 as files: probes, and the first entries of every stage's list and the fusion's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dare.experiments.figure7 import Figure7, Kind
from dare.experiments.pictures import draw_picture
from dare.experiments.plots import GREY, new_figure, write_figure, write_table

MEANING: dict[Kind, str] = {
    "early": "first stage right,\nlast wrong",
    "late": "first stage wrong,\nlast right",
    "fused": "first and last\nstage wrong",
    "agreed": "first and last\nstage right",
}
GAP = 0.25
"""Room between two lists, in widths of a picture."""


def write_figure7(figure: Figure7, folder: str | Path) -> list[Path]:
    """Write figure7.csv, figure7.png and figure7.svg into a folder; returns their paths.

    The pictures are inside the drawings, so mind the terms of the data set before you share them. A grey box stands for
    one that cannot be read.

    Raises:
        ImportError: without matplotlib.
    """
    evaluation = figure.evaluation
    ranks = max((len(entries) for case in figure.cases for entries in case.lists), default=1)
    # A column for the probe, then for each list a narrow empty one and one per rank.
    widths = [1.0, *([GAP, *[1.0] * ranks] * len(evaluation.results))]
    rows = max(1, len(figure.cases))
    drawing = new_figure(1.6 + 0.62 * sum(widths), 1.1 + 1.25 * rows)
    panels = drawing.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
    for axes in panels.flat:
        axes.set_axis_off()
    for line, case in zip(panels, figure.cases, strict=False):
        draw_picture(line[0], evaluation.benchmark.root / evaluation.query.ids[case.query], None)
        line[0].text(-0.2, 0.5, MEANING[case.kind], transform=line[0].transAxes, ha="right", va="center", fontsize=8)
        for place, entries in enumerate(case.lists):
            start = 2 + place * (ranks + 1)
            for axes, entry in zip(line[start:], entries, strict=False):
                draw_picture(axes, evaluation.benchmark.root / evaluation.gallery.ids[entry.gallery], entry.right)
    panels[0, 0].set_title("probe", fontsize=9)
    for place, result in enumerate(evaluation.results):
        panels[0, 2 + place * (ranks + 1)].set_title(result.name, fontsize=9, loc="left")
    drawing.supxlabel(_caption(figure), fontsize=8, color=GREY)
    folder = Path(folder)
    return [write_table(_rows(figure), folder / "figure7.csv"), *write_figure(drawing, folder, "figure7")]


def _caption(figure: Figure7) -> str:
    counted = "; ".join(f"{MEANING[kind]}: {count:,}".replace("\n", " ") for kind, count in figure.found.items())
    return (
        f"{figure.evaluation.benchmark.name}: queries that the fusion gets right, chosen evenly ({counted}).\n"
        "Green frame: the right person; dashed orange: another."
    )


def _rows(figure: Figure7) -> Iterator[dict[str, Any]]:
    evaluation = figure.evaluation
    for case in figure.cases:
        for result, entries in zip(evaluation.results, case.lists, strict=True):
            for rank, entry in enumerate(entries, start=1):
                yield {
                    "kind": case.kind,
                    "query": evaluation.query.ids[case.query],
                    "vector": result.name,
                    "rank": rank,
                    "match": evaluation.gallery.ids[entry.gallery],
                    "right": int(entry.right),
                }
