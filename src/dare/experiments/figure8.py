"""Figure 8: queries that are easy, and queries that are hard, by where the nearness sends them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.policies import RunningQuantile, replay
from dare.evaluation.evaluate import Evaluation
from dare.evaluation.ranked_lists import Vectors, nearest, vectors_of
from dare.experiments.plots import GREY, Section, draw_picture, new_figure, write_figure, write_table
from dare.experiments.query_stream import SEED, QueryStream

FALLING = 0.5
"""The share of each exit is half of that of the exit before (released code). With `NETSCOPE_2018` that is a budget of
1 030 203 460 multiply-adds per query; other networks get the same shares."""


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest valid gallery entry of a query at an exit.

    Attributes:
        exit: counted from 0.
        gallery: its row in the evaluation's gallery.
        right: whether it shows the query's person.
    """

    exit: int
    gallery: int
    right: bool


@dataclass(frozen=True, slots=True)
class Case:
    """A query to show.

    Attributes:
        kind: "easy": left at the first exit, and was right there; "hard": went to the last exit, and was right there.
        query: its row in the evaluation's queries.
        nearness: at the first exit.
        matches: at every exit that it came to, the last one is its answer.
    """

    kind: Literal["easy", "hard"]
    query: int
    nearness: float
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Figure8:
    """The cases of the figure, and what became of all queries.

    Attributes:
        evaluation: whose rows the cases name: the first run.
        cases: the easy ones, the nearest first, then the hard ones: those that most exits had wrong first, and of
            these the farthest first.
        taken: (E,), the share of the queries that left at each exit; this and `found` are means over the runs.
        found: how many easy and hard queries there are in all.
        runs: how many.
    """

    evaluation: Evaluation
    cases: tuple[Case, ...]
    taken: NDArray[np.float64]
    found: dict[str, float]
    runs: int
    seed: int

    def summary(self) -> Section:
        """A line for people per exit."""
        names = [result.name for result in self.evaluation.exits]
        shares = [f"{100 * share:.1f} %" for share in self.taken]
        return Section("", ("exit", "left there"), tuple(zip(names, shares, strict=True)))


def figure8(
    evaluations: Sequence[Evaluation], streams: Sequence[QueryStream], *, count: int = 8, seed: int = SEED
) -> Figure8:
    """Replay streams by nearness with falling shares, and pick the easiest and the hardest queries of the first run.

    Args:
        evaluations: runs of one training, on the same queries.
        streams: made of them, in any order; they are shuffled here, all alike.
        count: how many cases of each kind.
        seed: of the stream's order.

    Raises:
        ValueError: the stream is of other queries, or the network has a single exit.
    """
    evaluation = evaluations[0]
    if any(len(one) != len(evaluation.query) or len(one.exits) != len(evaluation.exits) for one in streams):
        raise ValueError(
            f"expected the stream of {len(evaluation.query)} queries at {len(evaluation.exits)} exits, "
            f"got {len(streams[0])} at {len(streams[0].exits)}"
        )
    last = len(evaluation.exits) - 1
    if not last:
        raise ValueError("a network with a single exit has no easy and hard queries; give one with at least two")
    shares = FALLING ** np.arange(last + 1)
    streams = [one.shuffled(seed) for one in streams]
    each = [replay(one.confidences["nearness"], RunningQuantile(shares / shares.sum())) for one in streams]
    masks = [_easy_and_hard(one, exits) for one, exits in zip(streams, each, strict=True)]
    stream, exits = streams[0], each[0]
    nearness, right = stream.confidences["nearness"], stream.outcomes.right > 0
    easy, hard = (np.flatnonzero(mask) for mask in masks[0])
    pairs = zip(evaluation.results, vectors_of(evaluation), strict=True)
    vectors = [pair for result, pair in pairs if result.is_exit]

    def case(kind: Literal["easy", "hard"], place: int) -> Case:
        row = int(stream.rows[place])
        matches = (_match(evaluation, vectors[exit], row, exit) for exit in range(exits[place] + 1))
        return Case(kind, row, float(nearness[0, place]), tuple(matches))

    surest = easy[np.argsort(-nearness[0, easy], kind="stable")[:count]]
    right_before = right[:last, hard].sum(0)
    least_sure = hard[np.lexsort([nearness[0, hard], right_before])[:count]]
    return Figure8(
        evaluation,
        (*(case("easy", place) for place in surest), *(case("hard", place) for place in least_sure)),
        np.bincount(np.concatenate(each), minlength=last + 1) / sum(map(len, each)),
        {kind: float(np.mean([both[place].sum() for both in masks])) for place, kind in enumerate(MEANING)},
        len(streams),
        seed,
    )


def _easy_and_hard(stream: QueryStream, exits: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    right, last = stream.outcomes.right > 0, len(stream.exits) - 1
    return (exits == 0) & right[0], (exits == last) & right[last]


def _match(evaluation: Evaluation, vectors: Vectors, row: int, exit: int) -> Match:
    ((entry,),) = nearest(evaluation, vectors, [row], 1)
    return Match(exit, entry, bool(evaluation.gallery.people[entry] == evaluation.query.people[row]))


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
        part.suptitle(f"{MEANING[kind]} ({len(block)} of {figure.found[kind]:,.10g} shown)", fontsize=10)
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
    taken += f", means of {figure.runs} runs, queries of the first" if figure.runs > 1 else ""
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
