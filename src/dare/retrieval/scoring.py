"""From distances and labels to one score per query: average precision, first match, mINP, CMC.

The protocol of Market-1501 has its one home here. For a query, junk is every gallery entry of person -1 and
every entry of the query's own person seen by the query's own camera; it is passed over. Everything else is
valid, distractors (person 0) included. Entries at exactly equal distance keep gallery order, as under the
stable sort of the official code.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dare.retrieval.labels import DenseLabels, Labelled
from dare.retrieval.products import CentredProduct, block_rows, checked, in_blocks, rescaled
from dare.retrieval.ranking import Results, Task, rank_matches

Rule = Literal["official", "step"]


@dataclass(frozen=True, slots=True)
class Scores:
    """One score per query; means are over the queries that have a valid match, NaN if none has.

    Attributes:
        average_precision: (Q,), NaN where a query has no valid match.
        first_match: (Q,), 0-based rank of the nearest right entry among the valid ones; -1 without a match.
        inverse_negative_penalty: (Q,), matches / (1 + rank of the last one), NaN without a match
            (Ye et al., "Deep Learning for Person Re-identification: A Survey and Outlook", 2021).
        tied: (Q,), whether a wrong entry lies exactly as far as the first match.
        rule: how average precision was computed.
    """

    average_precision: NDArray[np.float64]
    first_match: NDArray[np.int64]
    inverse_negative_penalty: NDArray[np.float64]
    tied: NDArray[np.bool_]
    rule: Rule = "official"

    @property
    def matched(self) -> NDArray[np.bool_]:
        """(Q,), the queries that have a valid match."""
        return self.first_match >= 0

    @property
    def ties(self) -> int:
        """Queries whose first match ties with a wrong entry: their rank depends on the gallery's order."""
        return int(self.tied.sum())

    @property
    def mean_average_precision(self) -> float:
        """mAP, from 0 to 1."""
        return _mean(self.average_precision[self.matched])

    @property
    def mean_inverse_negative_penalty(self) -> float:
        """mINP, from 0 to 1."""
        return _mean(self.inverse_negative_penalty[self.matched])

    def cmc(self, rank: int) -> float:
        """Share of queries with a match among the first `rank` valid entries; `cmc(1)` is rank-1."""
        if rank < 1:
            raise ValueError(f"ranks are counted from 1, got {rank}")
        return _mean((self.first_match[self.matched] < rank).astype(np.float64))

    def cmc_curve(self, ranks: int) -> NDArray[np.float64]:
        """(ranks,), `cmc(1)` to `cmc(ranks)`."""
        if ranks < 1:
            raise ValueError(f"a curve has at least one rank, got {ranks}")
        first = self.first_match[self.matched]
        if not len(first):
            return np.full(ranks, math.nan)
        shares: NDArray[np.float64] = np.bincount(first[first < ranks], minlength=ranks).cumsum() / len(first)
        return shares

    @staticmethod
    def pick(per_exit: Sequence["Scores"], exits: Sequence[int] | NDArray[np.integer]) -> "Scores":
        """The scores of a stream in which query i left at `exits[i]`, counted from 0."""
        chosen = np.asarray(exits, None if len(exits) else np.intp)
        rows = np.arange(len(per_exit[0].first_match))
        if chosen.shape != rows.shape or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(per_exit)):
            raise ValueError(
                f"expected an exit from 0 to {len(per_exit) - 1} for each of {len(rows)} queries, got {chosen!r:.80}"
            )

        def gather(name: str) -> Any:
            return np.stack([getattr(scores, name) for scores in per_exit])[chosen, rows]

        precision, first, penalty, tied = map(gather, Results._fields)
        return Scores(precision, first, penalty, tied, per_exit[0].rule)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def score(distances: NDArray[np.floating], query: Labelled, gallery: Labelled, *, rule: Rule = "official") -> Scores:
    """Score a matrix of distances.

    Args:
        distances: (Q, G), of any kind: smaller is nearer. Not changed.
        query, gallery: people and cameras of its rows and columns.
        rule: "official": area under the precision-recall curve by trapezoids, as in the code of Market-1501;
            "step": mean precision at the matches, as in torchreid and fast-reid, 0.4-1.0 points higher.

    Raises:
        ValueError: NaN among the distances, or labels that don't fit them.
    """
    matrix = np.asarray(distances)
    if matrix.ndim != 2 or matrix.shape != (len(query.people), len(gallery.people)):
        raise ValueError(
            f"expected distances of {len(query.people)} queries x {len(gallery.people)} gallery entries, "
            f"got shape {matrix.shape}"
        )
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)

    def block(start: int, stop: int) -> NDArray[np.floating]:
        rows = matrix[start:stop]
        if rows.size and np.isnan(rows.min()):
            row = start + int(np.isnan(rows).any(1).argmax())
            raise ValueError(f"distances of query {row} contain NaN; check the embeddings")
        return rows

    return score_blocks(block, block_rows(matrix.shape[1], matrix.itemsize), query, gallery, rule)


def score_vectors(
    query_vectors: NDArray[np.floating],
    gallery_vectors: NDArray[np.floating],
    query: Labelled,
    gallery: Labelled,
    *,
    rule: Rule = "official",
) -> Scores:
    """Score vectors by their Euclidean distances, without ever holding the whole matrix of them.

    Distances come from a float32 matrix product. Where its rounding could change an order, the distances in
    question are computed again in float64, so the result is as exact as float64.

    Args:
        query_vectors, gallery_vectors: (Q, D), (G, D).
        query, gallery: people and cameras of their rows.
        rule: as in `score`.

    Raises:
        ValueError: NaN or infinity among the vectors, or shapes that don't fit.
    """
    q, g = checked(query_vectors, gallery_vectors)
    check_labels(q, g, query, gallery)
    people = DenseLabels(query, gallery)
    q, g, _ = rescaled(q, g)
    product = CentredProduct(q, g if people.kept.all() else g[people.kept])
    rows = block_rows(len(product.gallery), 4)
    return _score(people, product.block, rows, product.slack, (np.ascontiguousarray(q), product.gallery), rule)


def check_labels(
    query_vectors: NDArray[np.floating], gallery_vectors: NDArray[np.floating], query: Labelled, gallery: Labelled
) -> None:
    """Refuse labels of another number than the vectors."""
    if len(query_vectors) != len(query.people) or len(gallery_vectors) != len(gallery.people):
        raise ValueError(
            f"{len(query_vectors)} query and {len(gallery_vectors)} gallery vectors don't fit "
            f"{len(query.people)} and {len(gallery.people)} labels"
        )


def score_blocks(
    block: Callable[[int, int], NDArray[np.floating]], rows: int, query: Labelled, gallery: Labelled, rule: Rule
) -> Scores:
    """Score distances as they are; `block` makes those of queries start..stop, at most `rows`, to the whole gallery,
    junk included; several threads call it."""
    people = DenseLabels(query, gallery)
    columns = slice(None) if people.kept.all() else people.kept

    def valid(start: int, stop: int) -> NDArray[np.floating]:
        return np.ascontiguousarray(block(start, stop)[:, columns])

    nothing = np.zeros((0, 0), np.float32)
    return _score(people, valid, rows, np.zeros(len(people.query_people)), (nothing, nothing), rule)


def _score(
    people: DenseLabels,
    block: Callable[[int, int], NDArray[np.floating]],
    rows: int,
    slack: NDArray[np.float64],
    vectors: tuple[NDArray[np.floating], NDArray[np.floating]],
    rule: Rule,
) -> Scores:
    """Ask for the distances to all but junk block by block, and rank the matches in each."""
    if rule not in get_args(Rule):
        raise ValueError(f"rule must be 'official' or 'step', got {rule!r}")
    count = len(people.query_people)
    task = Task(
        rule == "official",
        people.query_people,
        people.query_cameras,
        people.gallery_people,
        people.gallery_cameras,
        people.rows,
        people.offsets,
        slack,
        *vectors,
    )
    precision, penalty = np.full((2, count), np.nan)
    results = Results(precision, np.full(count, -1, np.int64), penalty, np.zeros(count, np.bool_))
    in_blocks(count, rows, lambda start, stop: rank_matches(block(start, stop), start, task, results))
    return Scores(*results, rule)
