"""From distances and labels to one score per query: average precision, first match, mINP, CMC.

The protocol of Market-1501 has its one home here. For a query, junk is every gallery entry of person -1 and
every entry of the query's own person seen by the query's own camera; it is passed over. Everything else is
valid, distractors (person 0) included. Entries at exactly equal distance keep gallery order, as under the
stable sort of the official code.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dare.retrieval.labels import DenseLabels, Labelled
from dare.retrieval.products import CentredProduct, block_rows, rescaled
from dare.retrieval.ranking import Results, Task, rank_matches
from dare.retrieval.scores import Rule, Scores


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
    people = DenseLabels(query, gallery)
    columns = slice(None) if people.kept.all() else people.kept

    def block(start: int, stop: int) -> NDArray[np.floating]:
        rows = matrix[start:stop]
        if rows.size and np.isnan(rows.min()):
            row = start + int(np.isnan(rows).any(1).argmax())
            raise ValueError(f"distances of query {row} contain NaN; check the embeddings")
        return np.ascontiguousarray(rows[:, columns])

    nothing = np.zeros((0, 0), matrix.dtype)
    return _score(people, block, matrix.itemsize, np.zeros(len(matrix)), (nothing, nothing), rule)


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
    question are computed again in float64, so the result is that of float64 throughout.

    Args:
        query_vectors, gallery_vectors: (Q, D), (G, D).
        query, gallery: people and cameras of their rows.
        rule: as in `score`.

    Raises:
        ValueError: NaN or infinity among the vectors, or shapes that don't fit.
    """
    q, g = np.asarray(query_vectors), np.asarray(gallery_vectors)
    if q.ndim != 2 or g.ndim != 2 or q.shape[1] != g.shape[1]:
        raise ValueError(f"expected (Q, D) and (G, D) vectors of one dimension D, got {q.shape} and {g.shape}")
    if len(q) != len(query.people) or len(g) != len(gallery.people):
        raise ValueError(
            f"{len(q)} query and {len(g)} gallery vectors do not fit "
            f"{len(query.people)} and {len(gallery.people)} labels"
        )
    people = DenseLabels(query, gallery)
    q, g = rescaled(q, g)
    product = CentredProduct(q, g if people.kept.all() else g[people.kept])
    return _score(people, product.block, 4, product.slack, (np.ascontiguousarray(q), product.gallery), rule)


def _score(
    people: DenseLabels,
    block: Callable[[int, int], NDArray[np.floating]],
    itemsize: int,
    slack: NDArray[np.float64],
    vectors: tuple[NDArray[np.floating], NDArray[np.floating]],
    rule: Rule,
) -> Scores:
    """Ask for the distances block by block and rank the matches in each, one block per core at a time."""
    if rule not in ("official", "step"):
        raise ValueError(f"rule must be 'official' or 'step', got {rule!r}")
    count = len(people.query_people)
    task = Task(
        people.query_people,
        people.query_cameras,
        people.gallery_people,
        people.gallery_cameras,
        people.rows,
        people.offsets,
        slack,
        *vectors,
    )
    results = Results(
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.full(count, -1, np.int64),
        np.zeros(count, np.bool_),
    )
    rows = block_rows(len(people.gallery_people), itemsize)
    # Each thread multiplies its own matrices; threads of the BLAS library besides would only wait.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_cores()) as pool:
        list(
            pool.map(
                lambda start: rank_matches(block(start, min(start + rows, count)), start, task, results),
                range(0, count, rows),
            )
        )
    precision = results.trapezoids if rule == "official" else results.steps
    return Scores(precision, results.first, results.penalty, results.tied, rule)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
