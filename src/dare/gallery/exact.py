"""Exact nearest neighbours of a few queries: candidates by a float32 product, their order in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dare.gallery.columns import Columns
from dare.gallery.entry import Where
from dare.gallery.store import Hits

FLOAT32_ROUNDING = 2.0**-24
BLOCK_VALUES = 16 * 2**20
"""Products of queries and rows that are held at once, unless one query has more."""
TINY = float(np.finfo(np.float32).tiny)


def search_rows(
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    squares: NDArray[np.float32],
    columns: Columns,
    ids: Callable[[NDArray[np.int64]], Sequence[str]],
    count: int,
    where: Where | Sequence[Where | None] | None,
) -> Hits:
    """`Gallery.search` over vectors in memory.

    Args:
        queries: (Q, D).
        rows: (N, D), in the order they were added.
        squares: (N,), the rows' squared lengths, float32.
        columns: of the rows.
        ids: of rows by their places.
        count: how many entries per query, at most.
        where: which rows count, for all queries or one per query.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if where is None or isinstance(where, Where):
        where = [where] * len(queries)
    if len(where) != len(queries):
        raise ValueError(f"expected one filter for each of {len(queries)} queries, got {len(where)}")
    masks = {w: columns.matching(w) for w in set(where) if w is not None}
    lists: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    complete = np.zeros(len(queries), np.bool_)
    together = max(1, BLOCK_VALUES // max(1, len(rows)))
    for start in range(0, len(queries), together):
        products = queries[start : start + together] @ rows.T
        products *= -2
        products += squares  # orders as the distances of one query do
        for number, row in enumerate(products, start):
            allowed, left_out, mask = len(rows), 0, None
            if (w := where[number]) is not None:
                mask = masks[w]
                row[~mask] = np.inf
                allowed, left_out = int(mask.sum()), len(w.not_ids)
            nearest, away = _nearest(queries[number], rows, squares, row, mask, min(count + left_out, allowed))
            if w is not None and left_out:
                others = ~np.isin(np.asarray(ids(nearest), object), w.not_ids)
                nearest, away = nearest[others], away[others]
            complete[number] = allowed <= count + left_out and len(nearest) <= count
            lists.append((nearest[:count], away[:count]))
    k = max((len(nearest) for nearest, _ in lists), default=0)
    places, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
    for number, (nearest, away) in enumerate(lists):
        places[number, : len(nearest)], distances[number, : len(nearest)] = nearest, away
    known = places >= 0
    names = np.full(places.shape, "", object)
    names[known] = ids(places[known])
    people, cameras = np.full(places.shape, -1, np.int64), np.full(places.shape, -1, np.int64)
    people[known], cameras[known] = columns.people[places[known]], columns.cameras[places[known]]
    return Hits(names.astype(str), people, cameras, distances, complete)


def _nearest(
    query: NDArray[np.float32],
    rows: NDArray[np.float32],
    squares: NDArray[np.float32],
    products: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest rows and their Euclidean distances, nearest first; ties in order of the rows."""
    if not k:
        return np.zeros(0, np.int64), np.zeros(0)
    length = float(np.linalg.norm(query.astype(np.float64)))
    bound = float(_kth(products, k))
    # Of the rows below the bound none is longer than this, since |g|^2 - 2 q.g >= |g|^2 - 2 |q| |g|.
    longest = length + np.sqrt(length**2 + max(bound, 0.0))
    longest = min(float(np.sqrt(squares.max())), 1.05 * longest)
    # Each sum of D products is off by at most D roundings of the terms' total size (Higham 2002, 3.1).
    slack = 2 * (len(query) + 8) * (FLOAT32_ROUNDING * (2 * length * longest + longest**2) + TINY)
    candidates = np.flatnonzero(products <= bound + 2 * slack)
    if mask is not None:
        candidates = candidates[mask[candidates]]  # whatever the bound is
    exact = np.linalg.norm(rows[candidates].astype(np.float64) - query, axis=1)
    order = np.argsort(exact, kind="stable")[:k]
    return candidates[order], exact[order]


@njit(nogil=True, cache=True)
def _kth(values: Any, k: int) -> Any:
    """The k-th smallest value, by a heap of the smallest so far with the largest of them on top."""
    heap = values[:k].copy()
    heap.sort()
    heap = heap[::-1].copy()
    for place in range(k, len(values)):
        value = values[place]
        if value >= heap[0]:
            continue
        parent = 0
        while True:
            child = 2 * parent + 1
            if child >= k:
                break
            if child + 1 < k and heap[child + 1] > heap[child]:
                child += 1
            if heap[child] <= value:
                break
            heap[parent] = heap[child]
            parent = child
        heap[parent] = value
    return heap[0]
