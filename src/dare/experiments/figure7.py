"""Figure 7: queries that the fusion gets right, and what each stage makes of them."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dare.evaluation.evaluate import Evaluation
from dare.evaluation.ranked_lists import nearest, vectors_of

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
        evaluation: whose rows the cases name.
        cases: by kind, in the order of the query list.
        found: how many queries of each kind there are in all.
    """

    evaluation: Evaluation
    cases: tuple[Case, ...]
    found: dict[Kind, int]


def figure7(evaluation: Evaluation, *, count: int = 1, ranks: int = 3) -> Figure7:
    """Pick queries of each kind, spread evenly over the query list.

    As the paper does, this looks at queries that the fusion gets right; those that it gets wrong are not shown.

    Args:
        evaluation: of a network with fusion.
        count: how many cases of each kind at most.
        ranks: how many entries of each ranked list.

    Raises:
        ValueError: the network has no fusion, or only one stage.
    """
    for name, value in (("count", count), ("ranks", ranks)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    stages = len(evaluation.query.stages)
    if evaluation.query.fused is None or stages < 2:
        raise ValueError(
            f"figure 7 shows what the fusion adds to the stages, got a network with {stages} embedding"
            f"{'s' if stages > 1 else ''} and {'no' if evaluation.query.fused is None else 'a'} fusion"
        )
    first, last, fused = (evaluation.results[place].scores.first_match == 0 for place in (0, stages - 1, stages))
    rows = {
        "early": fused & first & ~last,
        "late": fused & ~first & last,
        "fused": fused & ~first & ~last,
        "agreed": fused & first & last,
    }
    chosen: list[tuple[Kind, int]] = []
    found: dict[Kind, int] = {}
    for kind in get_args(Kind):
        places = np.flatnonzero(rows[kind])
        found[kind] = len(places)
        even = (np.arange(min(count, len(places))) + 0.5) * len(places) / max(1, min(count, len(places)))
        chosen += [(kind, int(places[place])) for place in even.astype(int)]
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
    return Figure7(evaluation, tuple(cases), found)
