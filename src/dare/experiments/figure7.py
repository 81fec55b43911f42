"""Figure 7: queries that the fusion gets right, and what each stage makes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dare.evaluation.evaluate import Evaluation
from dare.evaluation.ranked_lists import nearest, vectors_of
from dare.experiments.plots import GREY, Section, draw_picture, new_figure, write_figure, write_table

Kind = Literal["early", "late", "fused", "agreed"]
"""Which stages are right where the fusion is: `early`: the first stage, not the last; `late`: the last, not the first;
`fused`: neither; `agreed`: both."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of a ranked list.

    Attributes:
        gallery: its row in the evaluation's gallery.
        right: whether it shows the query's person.
    """

    gallery: int
    right: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A query to show.

    Attributes:
        query: its row in the evaluation's queries.
        lists: for each of the evaluation's results the nearest valid entries, nearest first.
    """

    kind: Kind
    query: int
    lists: tuple[tuple[Listed, ...], ...]


@dataclass(frozen=True, slots=True)
class Figure7:
    """The cases of the figure.

    Attributes:
        evaluation: whose rows the cases name: the first run.
        cases: by kind, in the order of the query list.
        found: how many queries of each kind there are in all, the mean over the runs.
        runs: how many.
    """

    evaluation: Evaluation
    cases: tuple[Case, ...]
    found: dict[Kind, float]
    runs: int

    def summary(self) -> Section:
        """A line for people per kind."""
        rows = [(MEANING[kind].replace("\n", " "), f"{count:,.10g}") for kind, count in self.found.items()]
        return Section("", ("where the fusion is right", "queries"), tuple(rows))


def figure7(evaluations: Sequence[Evaluation], *, count: int = 1, ranks: int = 3) -> Figure7:
    """Pick queries of each kind, spread evenly over the query list.

    As the paper does, this looks at queries that the fusion gets right; those that it gets wrong are not shown.

    Args:
        evaluations: runs of a network with fusion, on the same queries; lists are shown of the first.
        count: how many cases of each kind at most.
        ranks: how many entries of each ranked list.

    Raises:
        ValueError: the network has no fusion, or only one stage.
    """
    evaluation = evaluations[0]
    stages = len(evaluation.query.stages)
    if evaluation.query.fused is None or stages < 2:
        raise ValueError(
            f"figure 7 shows what the fusion adds to the stages, got a network with {stages} embedding"
            f"{'s' if stages > 1 else ''} and {'no' if evaluation.query.fused is None else 'a'} fusion"
        )
    each = [_kinds(one, stages) for one in evaluations]
    chosen: list[tuple[Kind, int]] = []
    for kind, rows in each[0].items():
        places = np.flatnonzero(rows)
        even = (np.arange(min(count, len(places))) + 0.5) * len(places) / max(1, min(count, len(places)))
        chosen += [(kind, int(places[place])) for place in even.astype(int)]
    found = {kind: float(np.mean([rows[kind].sum() for rows in each])) for kind in each[0]}
    queries = [row for _, row in chosen]
    lists = [nearest(evaluation, vectors, queries, ranks) for vectors in vectors_of(evaluation)]
    people = evaluation.gallery.people
    cases = (
        Case(
            kind,
            row,
            tuple(
                tuple(Listed(entry, bool(people[entry] == evaluation.query.people[row])) for entry in one[number])
                for one in lists
            ),
        )
        for number, (kind, row) in enumerate(chosen)
    )
    return Figure7(evaluation, tuple(cases), found, len(evaluations))


def _kinds(evaluation: Evaluation, stages: int) -> dict[Kind, NDArray[np.bool_]]:
    """Which queries are of each kind."""
    first, last, fused = (evaluation.results[place].scores.first_match == 0 for place in (0, stages - 1, stages))
    return {
        "early": fused & first & ~last,
        "late": fused & ~first & last,
        "fused": fused & ~first & ~last,
        "agreed": fused & first & last,
    }


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
    counted = "; ".join(f"{MEANING[kind]}: {count:,.10g}".replace("\n", " ") for kind, count in figure.found.items())
    counted += f"; means of {figure.runs} runs, lists of the first" if figure.runs > 1 else ""
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
