"""Queries one after the other, with what every exit would say of each: all that replays need, computed once."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.anytime.confidence import Allowed, NearestTwo, nearest_two
from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import Outcomes
from dare.retrieval.distances import normalised

Confidence = Literal["nearness", "margin", "label-free margin"]
"""`nearness` and `margin` are the paper's: of the list that the benchmark's protocol allows, which takes the query's
label to know. The label-free margin knows the query's camera at most, as a deployed engine does."""

SEED = 817
"""The seed of the released code. Its shuffle is another one, so the order is not the same."""


@dataclass(frozen=True, slots=True)
class QueryStream:
    """Q queries in the order in which they come, at E exits.

    Attributes:
        benchmark: its name.
        rows: (Q,), their places in the benchmark's query list.
        people: (Q,).
        exits: E names.
        outcomes: what the answer at each exit is worth, (E, Q).
        confidences: (E, Q) each, in the order of the queries; higher is surer.
        label_free: the entries that label-free margins are taken from.
    """

    benchmark: str
    rows: NDArray[np.int64]
    people: NDArray[np.int64]
    exits: tuple[str, ...]
    outcomes: Outcomes
    confidences: dict[Confidence, NDArray[np.float64]]
    label_free: Allowed

    def __post_init__(self) -> None:
        shape = (len(self.exits), len(self.rows))
        arrays = (self.outcomes.right, self.outcomes.precision, *self.confidences.values())
        if any(array.shape != shape for array in arrays) or self.people.shape != self.rows.shape:
            shapes = ", ".join(str(array.shape) for array in (self.people, *arrays))
            raise ValueError(f"expected arrays of {shape[0]} exits and {shape[1]} queries, got {shapes}")

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, seed: int) -> "QueryStream":
        """The same queries in an order drawn by a seed."""
        if seed < 0:
            raise ValueError(f"a seed is at least 0, got {seed}")
        order = np.random.default_rng(seed).permutation(len(self))
        return replace(
            self,
            rows=self.rows[order],
            people=self.people[order],
            outcomes=self.outcomes.queries(order),
            confidences={name: confidence[:, order] for name, confidence in self.confidences.items()},
        )


def query_stream(evaluation: Evaluation) -> QueryStream:
    """The benchmark's queries in the order of its list, which is by person: shuffle it before you replay it.

    Takes one pass over the distances for each exit and each kind of list. Where cameras are not known, label-free
    margins look at the whole gallery.
    """
    query, gallery = evaluation.query, evaluation.gallery
    pairs = query.exits_against(gallery)
    if evaluation.distance == "cosine":
        pairs = [(normalised(q), normalised(g)) for q, g in pairs]

    def nearest(allowed: Allowed) -> list[NearestTwo]:
        return [nearest_two(q, g, query, gallery, allowed) for q, g in pairs]

    label_free: Allowed = "other-cameras" if evaluation.benchmark.cameras_known else "all"
    paper, deployed = nearest("paper"), nearest(label_free)
    return QueryStream(
        evaluation.benchmark.name,
        np.arange(len(query)),
        query.people,
        tuple(result.name for result in evaluation.exits),
        Outcomes.of([result.scores for result in evaluation.exits]),
        {
            "nearness": np.stack([two.nearness for two in paper]),
            "margin": np.stack([two.margin for two in paper]),
            "label-free margin": np.stack([two.margin for two in deployed]),
        },
        label_free,
    )
