"""From distances and labels to one score per query: average precision, first match, mINP, CMC.

The protocol of Market-1501 has its one home here. For a query, junk is every gallery entry of person -1 and
every entry of the query's own person seen by the query's own camera; it is passed over. Everything else is
valid, distractors (person 0) included. Entries at exactly equal distance keep gallery order, as under the
stable sort of the official code.
"""

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dare.retrieval.labels import DenseLabels, Labelled
from dare.retrieval.ranking import Results, Task, rank_matches
from dare.retrieval.scores import Rule, Scores

BLOCK_BYTES = 256 * 2**20
BLOCK_ROWS = 192  # whole rows of the distance matrix; matrix products of fewer rows are slower

CENTRE_ROWS = 256  # the median of so many gallery vectors is centre enough, and a few far out do not move it

FLOAT32_ROUNDING = 2.0**-24
FLOAT64_ROUNDING = 2.0**-53


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
    q, g = _rescaled(q, g)
    product = _CentredProduct(q, g if people.kept.all() else g[people.kept])
    return _score(people, product.block, 4, product.slack, (np.ascontiguousarray(q), product.gallery), rule)


class _CentredProduct:
    """|g - c|^2 - 2 (q - c).(g - c), which orders as the distances of one query do, in float32, block by block.

    Around the gallery's centre c products are smaller than around the origin, and so is their rounding.

    Attributes:
        gallery: (G, D).
        slack: (Q,), by how much values of a query may be off, without those of far entries; see `Task.slack`.
    """

    def __init__(self, query: NDArray[np.floating], gallery: NDArray[np.floating]) -> None:
        self.gallery = np.ascontiguousarray(gallery)
        sample = gallery[:: max(1, len(gallery) // CENTRE_ROWS)]
        zero = np.zeros(gallery.shape[1], gallery.dtype)
        self._centre = np.median(sample, axis=0).astype(gallery.dtype) if len(gallery) else zero
        # The squares ride along as one more column.
        self._left, self._right = (np.ones((len(v), v.shape[1] + 1), np.float32) for v in (query, gallery))
        left, right = self._left[:, :-1], self._right[:, :-1]
        np.subtract(query, self._centre, out=left, casting="same_kind")
        np.subtract(gallery, self._centre, out=right, casting="same_kind")
        lengths = np.sqrt(np.einsum("qd,qd->q", left, left, dtype=np.float64))
        squares = np.einsum("gd,gd->g", right, right, dtype=np.float64)
        left *= -2
        self._right[:, -1] = squares
        # A few entries far out would make the rounding of all look large: theirs is computed in float64.
        # Where most entries are one point nothing is far from usual.
        usual = float(np.median(squares)) if len(squares) else 0.0
        self._far = np.flatnonzero(squares > 16 * usual) if usual else np.zeros(0, np.intp)
        self._far_vectors = gallery[self._far].astype(np.float64) - self._centre
        self._far_squares = np.einsum("gd,gd->g", self._far_vectors, self._far_vectors)
        self._query = query
        self._buffers = threading.local()
        # Two sums of n products can each be off by n roundings of the terms' total size (Higham 2002, 3.1); 8 more
        # cover the casts to float32. Twice that leaves room for the roundings of far entries, if there are any. It is
        # never 0, which would say that the values are the truth.
        longest = math.sqrt(np.delete(squares, self._far).max(initial=0.0))
        terms = 2 * lengths * longest + longest**2
        sums = 4 if len(self._far) else 2
        self.slack = sums * (query.shape[1] + 9) * FLOAT32_ROUNDING * terms + np.finfo(np.float32).tiny
        # Those of far entries are rounded too, to float64, and may cancel to nearly nothing.
        farthest = math.sqrt(self._far_squares.max(initial=0.0))
        self.slack += 8 * (query.shape[1] + 9) * FLOAT64_ROUNDING * (2 * lengths * farthest + farthest**2)

    def block(self, start: int, stop: int) -> NDArray[np.floating]:
        """The rows of queries start..stop, (b, G), in a buffer of the calling thread."""
        if not hasattr(self._buffers, "rows"):
            self._buffers.rows = np.empty((_block_rows(len(self.gallery), 4), len(self.gallery)), np.float32)
        rows: NDArray[np.float32] = self._buffers.rows[: stop - start]
        np.dot(self._left[start:stop], self._right.T, out=rows)
        if len(self._far):
            near = self._query[start:stop].astype(np.float64) - self._centre
            rows[:, self._far] = self._far_squares - 2 * near @ self._far_vectors.T
        return rows


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
    rows = _block_rows(len(people.gallery_people), itemsize)
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


def _block_rows(columns: int, itemsize: int) -> int:
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, columns * itemsize)))


def _rescaled(
    query: NDArray[np.floating], gallery: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Vectors as floats; very large or small ones times a power of two that brings the largest near 1: that is
    exact, and squares can neither overflow nor vanish."""
    vectors = [v if v.dtype in (np.float32, np.float64) else v.astype(np.float64) for v in (query, gallery)]
    largest = 0.0
    for name, v in zip(("query", "gallery"), vectors, strict=True):
        extreme = max(float(v.max(initial=0)), -float(v.min(initial=0)))
        if not math.isfinite(extreme):
            row = int((~np.isfinite(v)).any(1).argmax())
            raise ValueError(f"{name} vector {row} contains NaN or infinity; check the embeddings")
        largest = max(largest, extreme)
    if 1e-9 < largest < 1e9 or largest == 0:
        return vectors[0], vectors[1]
    power = -math.frexp(largest)[1]
    return np.ldexp(vectors[0], power), np.ldexp(vectors[1], power)
