"""Figure 8: queries that are easy, and queries that are hard, by where the nearness sends them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.policies import RunningQuantile, replay
from dare.evaluation.evaluate import Evaluation
from dare.evaluation.ranked_lists import Vectors, nearest, vectors_of
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
        evaluation: whose rows the cases name.
        cases: the easy ones, the nearest first, then the hard ones: those that most exits had wrong first, and of
            these the farthest first.
        taken: (E,), the share of the queries that left at each exit.
        found: how many easy and hard queries there are in all.
    """

    evaluation: Evaluation
    cases: tuple[Case, ...]
    taken: NDArray[np.float64]
    found: dict[str, int]
    seed: int


def figure8(evaluation: Evaluation, stream: QueryStream, *, count: int = 8, seed: int = SEED) -> Figure8:
    """Replay a stream by nearness with falling shares, and pick the easiest and the hardest queries.

    Args:
        evaluation: where the stream comes from.
        stream: in any order; it is shuffled here.
        count: how many cases of each kind.
        seed: of the stream's order.

    Raises:
        ValueError: the stream is of other queries, or the network has a single exit.
    """
    if len(stream) != len(evaluation.query) or len(stream.exits) != len(evaluation.exits):
        raise ValueError(
            f"expected the stream of {len(evaluation.query)} queries at {len(evaluation.exits)} exits, "
            f"got {len(stream)} at {len(stream.exits)}"
        )
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    last = len(stream.exits) - 1
    if not last:
        raise ValueError("a network with a single exit has no easy and hard queries; give one with at least two")
    stream = stream.shuffled(seed)
    shares = FALLING ** np.arange(last + 1)
    nearness = stream.confidences["nearness"]
    exits = replay(nearness, RunningQuantile(shares / shares.sum()))
    right = stream.outcomes.right > 0
    easy = np.flatnonzero((exits == 0) & right[0])
    hard = np.flatnonzero((exits == last) & right[last])
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
        np.bincount(exits, minlength=last + 1) / len(exits),
        {"easy": len(easy), "hard": len(hard)},
        seed,
    )


def _match(evaluation: Evaluation, vectors: Vectors, row: int, exit: int) -> Match:
    ((entry,),) = nearest(evaluation, vectors, [row], 1)
    return Match(exit, entry, bool(evaluation.gallery.people[entry] == evaluation.query.people[row]))
