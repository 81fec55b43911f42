"""Exact search in vectors in memory, filters included: from rows that were found to ranked lists."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dare.gallery.columns import Columns
from dare.gallery.entry import Where
from dare.gallery.quantised import copy_queries
from dare.gallery.scan import EVERYBODY, nearest_rows
from dare.gallery.store import Hits
from dare.gallery.vectors import Matrix

TOGETHER = 64
"""Queries that share a scan; also the most masks that are held at once."""


def search_rows(
    queries: NDArray[np.float32],
    matrix: Matrix,
    columns: Columns,
    ids: Callable[[NDArray[np.int64]], Sequence[str]],
    count: int,
    where: Where | Sequence[Where | None] | None,
) -> Hits:
    """`Gallery.search` over vectors in memory.

    Args:
        queries: (Q, D).
        matrix: N rows in the order they were added.
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
    lists: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    complete = np.zeros(len(queries), np.bool_)
    for start in range(0, len(queries), TOGETHER):
        part = slice(start, start + TOGETHER)
        own = queries[part].copy()  # a caller's may be read-only, which the scan would be compiled for once more
        for nearest, away, all_found in _search(own, matrix, columns, ids, count, where[part]):
            complete[len(lists)] = all_found
            lists.append((nearest, away))
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


def _search(
    queries: NDArray[np.float32],
    matrix: Matrix,
    columns: Columns,
    ids: Callable[[NDArray[np.int64]], Sequence[str]],
    count: int,
    where: Sequence[Where | None],
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], bool]]:
    """Per query the places of at most `count` rows, their distances, and whether there are no others."""
    filters = [w for w in dict.fromkeys(where) if w is not None]
    masks = np.empty((len(filters), len(matrix.rows)), np.bool_)
    for mask, w in zip(masks, filters, strict=True):
        mask[:] = columns.matching(w)
    numbers = np.asarray([EVERYBODY if w is None else filters.index(w) for w in where], np.int64)
    allowed = np.append(masks.sum(1), len(matrix.rows))[numbers]  # the last for everybody
    left_out = [() if w is None else w.not_ids for w in where]
    k = count + max((len(others) for others in left_out), default=0)
    coarse = copy_queries(queries, matrix.centre)
    nearest = nearest_rows(queries, matrix.rows, matrix.copies, coarse, masks, numbers, k)
    lists = []
    for query, others in enumerate(left_out):
        found = slice(nearest.found[query])
        places, distances = nearest.places[query, found], nearest.distances[query, found]
        if others:
            kept = ~np.isin(np.asarray(ids(places), object), others)
            places, distances = places[kept], distances[kept]
        all_found = allowed[query] <= count + len(others) and len(places) <= count
        lists.append((places[:count], distances[:count], bool(all_found)))
    return lists
