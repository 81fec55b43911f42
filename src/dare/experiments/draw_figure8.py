"""Figure 8 as files: pictures of easy and hard queries, and what each exit took for the same person."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.experiments.figure8 import Case, Figure8
from dare.experiments.pictures import draw_picture
from dare.experiments.plots import GREY, new_figure, write_figure, write_table

MEANING = {
    "easy": "easy: left at the first exit, right there, the nearest first",
    "hard": "hard: went to the last exit, right there, the most often wrong before first",
}


def write_figure8(figure: Figure8, folder: str | Path) -> list[Path]:
    """Write figure8.csv, figure8.png and figure8.svg into a folder; returns their paths.

    The pictures are inside the drawings, so mind the terms of the data set before you share them. A grey box stands for
    one that cannot be read.

    Raises:
        ImportError: without matplotlib.
    """
    names = [result.name for result in figure.evaluation.exits]
    blocks = [[case for case in figure.cases if case.kind == kind] for kind in MEANING]
    heights = [1 + max((len(case.matches) for case in block), default=0) for block in blocks]
    columns = max(1, *(len(block) for block in blocks))
    drawing = new_figure(1.4 + 0.8 * columns, 1.4 + 1.5 * sum(heights))
    parts = np.asarray(drawing.subfigures(len(blocks), 1, height_ratios=heights))
    for part, block, height, kind in zip(parts, blocks, heights, MEANING, strict=True):
        part.suptitle(f"{MEANING[kind]} ({len(block)} of {figure.found[kind]:,} shown)", fontsize=10)
        panels = part.subplots(height, columns, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for column, case in enumerate(block):
            _draw_case(panels[:, column], figure, case)
        for row, label in zip(panels[:, 0], ["query", *names], strict=False):
            row.text(-0.15, 0.5, label, transform=row.transAxes, ha="right", va="center", fontsize=9)
    drawing.supxlabel(_caption(figure), fontsize=8, color=GREY)
    folder = Path(folder)
    return [write_table(_rows(figure, names), folder / "figure8.csv"), *write_figure(drawing, folder, "figure8")]


def _draw_case(panels: NDArray[Any], figure: Figure8, case: Case) -> None:
    evaluation = figure.evaluation
    draw_picture(panels[0], evaluation.benchmark.root / evaluation.query.ids[case.query], None)
    for axes, match in zip(panels[1:], case.matches, strict=False):
        draw_picture(axes, evaluation.benchmark.root / evaluation.gallery.ids[match.gallery], match.right)


def _caption(figure: Figure8) -> str:
    taken = ", ".join(f"{100 * share:.0f} %" for share in figure.taken)
    frames = "Green frame: the right person; dashed orange: another."
    return f"{figure.evaluation.benchmark.name}, by nearness; left at the exits: {taken}.\n{frames}"


def _rows(figure: Figure8, names: list[str]) -> Iterator[dict[str, Any]]:
    query, gallery = figure.evaluation.query, figure.evaluation.gallery
    for case in figure.cases:
        for match in case.matches:
            yield {
                "kind": case.kind,
                "query": query.ids[case.query],
                "nearness_at_first_exit": f"{case.nearness:.5g}",
                "exit": names[match.exit],
                "match": gallery.ids[match.gallery],
                "right": int(match.right),
            }
