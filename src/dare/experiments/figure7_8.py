"""Figures 7 and 8: queries as pictures: what each stage makes of them, and which are easy and which are hard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dare.anytime.policies import RunningQuantile, replay
from dare.evaluation.evaluate import Evaluation
from dare.evaluation.ranked_lists import nearest, vectors_of
from dare.experiments.plots import GREEN, GREY, RED, Made, Summary, new_figure
from dare.experiments.query_stream import SEED, QueryStream
from dare.experiments.sections import Figure7Section, Figure8Section
from dare.experiments.workplace import Scored, Workplace
from dare.images.reading import GREY as UNREADABLE
from dare.images.reading import UnreadableImageError, read_resized

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Case:
    """A query to show.

    Attributes:
        kind: of `KINDS7` or `KINDS8`.
        query: its row in the evaluation's queries.
        lists: rows of the nearest valid gallery entries, nearest first: in figure 7 for each of the evaluation's
            results, in figure 8 one at every exit that the query came to, the last of which is its answer.
        nearness: at the first exit, in figure 8.
    """

    kind: str
    query: int
    lists: tuple[list[int], ...]
    nearness: float = 0.0


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases of a figure.

    Attributes:
        evaluation: whose rows the cases name: the first run.
        cases: by kind.
        found: how many queries of each kind there are in all, the mean over the runs.
        runs: how many.
        taken: in figure 8 (E,), the share of the queries that left at each exit, the mean over the runs.
    """

    evaluation: Evaluation
    cases: tuple[Case, ...]
    found: dict[str, float]
    runs: int
    taken: tuple[float, ...] = ()

    def right(self, case: Case, entry: int) -> bool:
        """Whether a gallery entry shows the query's person."""
        return bool(self.evaluation.gallery.people[entry] == self.evaluation.query.people[case.query])


KINDS7 = {
    "early": "first stage right,\nlast wrong",
    "late": "first stage wrong,\nlast right",
    "fused": "first and last\nstage wrong",
    "agreed": "first and last\nstage right",
}
"""Which stages are right where the fusion is."""

KINDS8 = {
    "easy": "easy: left at the first exit, right there, the nearest first",
    "hard": "hard: went to the last exit, right there, the most often wrong before first",
}

FALLING = 0.5
"""The share of each exit is half of that of the exit before (released code). With `NETSCOPE_2018` that is a budget of
1 030 203 460 multiply-adds per query; other networks get the same shares."""


def figure7(evaluations: Sequence[Evaluation], *, count: int = 1, ranks: int = 3) -> Cases:
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
    chosen: list[tuple[str, int]] = []
    for kind, rows in each[0].items():
        places = np.flatnonzero(rows)
        even = (np.arange(min(count, len(places))) + 0.5) * len(places) / max(1, min(count, len(places)))
        chosen += [(kind, int(places[place])) for place in even.astype(int)]
    queries = [row for _, row in chosen]
    lists = zip(*(nearest(evaluation, vectors, queries, ranks) for vectors in vectors_of(evaluation)), strict=True)
    cases = (Case(kind, row, own) for (kind, row), own in zip(chosen, lists, strict=True))
    found = {kind: float(np.mean([rows[kind].sum() for rows in each])) for kind in KINDS7}
    return Cases(evaluation, tuple(cases), found, len(evaluations))


def _kinds(evaluation: Evaluation, stages: int) -> dict[str, NDArray[np.bool_]]:
    """Which queries are of each kind."""
    first, last, fused = (evaluation.results[place].scores.first_match == 0 for place in (0, stages - 1, stages))
    masks = (first & ~last, ~first & last, ~first & ~last, first & last)
    return {kind: fused & mask for kind, mask in zip(KINDS7, masks, strict=True)}


def figure8(
    evaluations: Sequence[Evaluation], streams: Sequence[QueryStream], *, count: int = 8, seed: int = SEED
) -> Cases:
    """Replay streams by nearness with falling shares, and pick the easiest and the hardest queries of the first run.

    The easy ones come first, the nearest first, then the hard ones: those that most exits had wrong first, and of these
    the farthest first.

    Args:
        evaluations: runs of one training, on the same queries.
        streams: made of them, in any order; they are shuffled here, all alike.
        count: how many cases of each kind.
        seed: of the stream's order.

    Raises:
        ValueError: the network has a single exit.
    """
    evaluation = evaluations[0]
    last = len(evaluation.exits) - 1
    if not last:
        raise ValueError("a network with a single exit has no easy and hard queries; give one with at least two")
    shares = FALLING ** np.arange(last + 1)
    streams = [one.shuffled(seed) for one in streams]
    each = [replay(one.confidences["nearness"], RunningQuantile(shares / shares.sum())) for one in streams]
    ends = {"easy": 0, "hard": last}
    masks = [
        {kind: (exits == exit) & (one.outcomes.right[exit] > 0) for kind, exit in ends.items()}
        for one, exits in zip(streams, each, strict=True)
    ]
    stream, exits = streams[0], each[0]
    nearness = stream.confidences["nearness"][0]
    easy, hard = (np.flatnonzero(mask) for mask in masks[0].values())
    right_before = (stream.outcomes.right[:last, hard] > 0).sum(0)
    chosen = [("easy", place) for place in easy[np.argsort(-nearness[easy], kind="stable")[:count]]]
    chosen += [("hard", place) for place in hard[np.lexsort([nearness[hard], right_before])[:count]]]
    pairs = zip(evaluation.results, vectors_of(evaluation), strict=True)
    vectors = [pair for result, pair in pairs if result.is_exit]
    cases = []
    for kind, place in chosen:
        row = int(stream.rows[place])
        lists = (one for pair in vectors[: exits[place] + 1] for one in nearest(evaluation, pair, [row], 1))
        cases.append(Case(kind, row, tuple(lists), float(nearness[place])))
    taken = np.bincount(np.concatenate(each), minlength=last + 1) / sum(map(len, each))
    found = {kind: float(np.mean([both[kind].sum() for both in masks])) for kind in KINDS8}
    return Cases(evaluation, tuple(cases), found, len(streams), tuple(taken.tolist()))


def reproduce_figure7(_: Workplace, section: Figure7Section, scored: Scored) -> Made:
    """Figure 7 of a recipe's runs."""
    return draw_figure7(figure7(scored.each, count=section.count, ranks=section.ranks))


def reproduce_figure8(_: Workplace, section: Figure8Section, scored: Scored) -> Made:
    """Figure 8 of a recipe's runs."""
    costs, streams = scored.costs, scored.streams
    return replace(draw_figure8(figure8(scored.each, streams, count=section.count)), costs=costs.source)


GAP = 0.25
"""Room between two lists, in widths of a picture."""
FRAMES = "Green frame: the right person; dashed orange: another."
HEIGHT, WIDTH = 128, 64


def draw_figure7(figure: Cases) -> Made:
    """Draw a line of pictures per case. They are inside the drawing, so read the terms of the data set before you share
    it. A grey box stands for one that cannot be read."""
    results = figure.evaluation.results
    ranks = max((len(entries) for case in figure.cases for entries in case.lists), default=1)
    # A column for the probe, then for each list a narrow empty one and one per rank.
    widths = [1.0, *([GAP, *[1.0] * ranks] * len(results))]
    rows = max(1, len(figure.cases))
    drawing = new_figure(1.6 + 0.62 * sum(widths), 1.1 + 1.25 * rows)
    panels = drawing.subplots(rows, len(widths), squeeze=False, width_ratios=widths)
    for axes in panels.flat:
        axes.set_axis_off()
    for line, case in zip(panels, figure.cases, strict=False):
        places = [axes for start in range(2, len(widths), ranks + 1) for axes in line[start : start + ranks]]
        _draw_case([line[0], *places], figure, case, ranks)
        line[0].text(-0.2, 0.5, KINDS7[case.kind], transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    panels[0, 0].set_title("probe", fontsize=9)
    for place, result in enumerate(results):
        panels[0, 2 + place * (ranks + 1)].set_title(result.name, fontsize=9, loc="left")
    meanings = {kind: meaning.replace("\n", " ") for kind, meaning in KINDS7.items()}
    counted = "; ".join(f"{meanings[kind]}: {count:,.10g}" for kind, count in figure.found.items())
    counted += f"; means of {figure.runs} runs, lists of the first" if figure.runs > 1 else ""
    caption = f"{figure.evaluation.benchmark.name}: queries that the fusion gets right, chosen evenly ({counted}).\n"
    drawing.supxlabel(caption + FRAMES, fontsize=8, color=GREY)
    rows_for_people = tuple((meanings[kind], f"{count:,.10g}") for kind, count in figure.found.items())
    summary = Summary("", ("where the fusion is right", "queries"), rows_for_people)
    return Made({"figure7": _rows(figure)}, (summary,), drawing)


def draw_figure8(figure: Cases) -> Made:
    """Draw a column of pictures per case, easy ones above, hard ones below; mind the terms as of figure 7."""
    names = [result.name for result in figure.evaluation.exits]
    blocks = [[case for case in figure.cases if case.kind == kind] for kind in KINDS8]
    heights = [1 + max((len(case.lists) for case in block), default=0) for block in blocks]
    columns = max(1, *(len(block) for block in blocks))
    drawing = new_figure(1.4 + 0.8 * columns, 1.4 + 1.5 * sum(heights))
    parts = np.asarray(drawing.subfigures(len(blocks), 1, height_ratios=heights))
    for part, block, height, (kind, meaning) in zip(parts, blocks, heights, KINDS8.items(), strict=True):
        part.suptitle(f"{meaning} ({len(block)} of {figure.found[kind]:,.10g} shown)", fontsize=10)
        panels = part.subplots(height, columns, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        for column, case in enumerate(block):
            _draw_case(panels[:, column], figure, case, 1)
        for row, label in zip(panels[:, 0], ["query", *names], strict=False):
            row.text(-0.15, 0.5, label, transform=row.transAxes, ha="right", va="center", fontsize=9)
    taken = ", ".join(f"{100 * share:.0f} %" for share in figure.taken)
    taken += f", means of {figure.runs} runs, queries of the first" if figure.runs > 1 else ""
    caption = f"{figure.evaluation.benchmark.name}, by nearness; left at the exits: {taken}.\n{FRAMES}"
    drawing.supxlabel(caption, fontsize=8, color=GREY)
    shares = tuple((name, f"{100 * share:.1f} %") for name, share in zip(names, figure.taken, strict=True))
    return Made({"figure8": _rows(figure, names)}, (Summary("", ("exit", "left there"), shares),), drawing)


def _draw_case(panels: "Sequence[Axes]", figure: Cases, case: Case, ranks: int) -> None:
    """The query in the first panel, then its lists, with room for as many ranks each."""
    evaluation = figure.evaluation
    root = evaluation.benchmark.root
    _draw_picture(panels[0], root / evaluation.query.ids[case.query], None)
    for number, entries in enumerate(case.lists):
        for axes, entry in zip(panels[1 + number * ranks :], entries, strict=False):
            _draw_picture(axes, root / evaluation.gallery.ids[entry], figure.right(case, entry))


def _draw_picture(axes: "Axes", path: Path, right: bool | None) -> None:
    """A solid green frame where the person is right, a dashed orange one where not, none around a query (None)."""
    try:
        picture = read_resized(path, HEIGHT, WIDTH)
    except UnreadableImageError:
        picture = np.full((HEIGHT, WIDTH, 3), UNREADABLE, np.uint8)
    axes.imshow(picture)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(right is not None)
    axes.spines[:].set(
        linewidth=3, color=GREEN if right else RED, linestyle="-" if right else (0, (3, 2)), capstyle="butt"
    )


def _rows(figure: Cases, exits: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A line of a table per entry; of figure 8, which names exits, with the nearness."""
    evaluation = figure.evaluation
    for case in figure.cases:
        row: dict[str, Any] = {"kind": case.kind, "query": evaluation.query.ids[case.query]}
        for number, entries in enumerate(case.lists):
            for rank, entry in enumerate(entries, start=1):
                place: dict[str, Any]
                if exits:
                    place = {"nearness_at_first_exit": f"{case.nearness:.5g}", "exit": exits[number]}
                else:
                    place = {"vector": evaluation.results[number].name, "rank": rank}
                match = {"match": evaluation.gallery.ids[entry], "right": int(figure.right(case, entry))}
                yield row | place | match
