"""Exact search in vectors in memory: a scan over coarse copies, and true distances where those leave a doubt.

A row is skipped only if even its lower bound (see `copies`) is beyond the k-th smallest distance so far; so no row that
belongs among the nearest is lost, whatever the copies are like. True distances are sums in float64, in the same order
for all rows, so that equal rows are equally far. A search needs memory in proportion to its answer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dare.files import compiled
from dare.gallery.columns import Columns
from dare.gallery.copies import Matrix, copy_queries
from dare.gallery.dots import dots
from dare.gallery.entry import Filter, Where
from dare.gallery.store import Hits

TOGETHER = 64
"""Queries that share a scan; also the largest number of masks held at once."""
TILE = 256
"""Rows that all queries are compared with while they are in the cache."""
PIECE = 32
"""Rows that are examined one by one if one of them may be near."""
SAMPLE = 1024
"""One row in this many has its distance computed first: far fewer of the others then seem near, in any order."""
EVERYBODY = -1
"""In place of a mask's number."""
ROUNDING = 2.0**-48
"""More than the roundings of a copy's squared distance in float64, as a share of t^2 |b|^2 + s^2 |a|^2."""
WIDENED = 1 + 2.0**-30
"""More than the roundings of true distances and of bounds, relatively."""


def search_rows(queries: NDArray[np.float32], matrix: Matrix, columns: Columns, count: int, where: Filter) -> Hits:
    """`Gallery.search` over vectors in memory.

    Args:
        queries: (Q, D).
        matrix, columns: of N rows in the order they were added.
        count: entries per query, at most.
        where: which rows may be found.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if where is None or isinstance(where, Where):
        where = [where] * len(queries)
    if len(where) != len(queries):
        raise ValueError(f"expected one filter for each of {len(queries)} queries, got {len(where)}")
    k = min(count, len(matrix.rows))
    places, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.inf)
    allowed = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), TOGETHER):
        part = slice(start, start + TOGETHER)
        masks, numbers = _masks(columns, where[part])
        allowed[part] = np.append(masks.sum(1), len(matrix.rows))[numbers]  # the last for everybody
        own = queries[part].copy()  # a caller's may be read-only, which would compile the scan once more
        for number, (near, away, length) in enumerate(zip(*nearest_rows(own, matrix, masks, numbers, k), strict=True)):
            places[start + number, :length], distances[start + number, :length] = near[:length], away[:length]
    k = (places >= 0).sum(1).max(initial=0)
    return columns.hits(places[:, :k], distances[:, :k], allowed <= count)


def _masks(columns: Columns, where: Sequence[Where | None]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(M, N), which rows may be found by the different filters; and (Q,), each query's mask."""
    filters = [w for w in dict.fromkeys(where) if w is not None]
    masks = np.empty((len(filters), len(columns.people)), np.bool_)
    for mask, w in zip(masks, filters, strict=True):
        mask[:] = columns.matching(w)
    return masks, np.asarray([EVERYBODY if w is None else filters.index(w) for w in where], np.int64)


class Nearest(NamedTuple):
    """Per query: places (Q, k) int64 and distances (Q, k) float64 of its `found` (Q,) nearest rows, nearest first."""

    places: Any
    distances: Any
    found: Any


def nearest_rows(
    queries: NDArray[np.float32], matrix: Matrix, masks: NDArray[np.bool_], mask_numbers: NDArray[np.int64], k: int
) -> Nearest:
    """The k nearest rows of each query, by Euclidean distance; ties in order of the rows.

    Args:
        queries: (Q, D).
        matrix: of N rows, at least k.
        masks: (M, N), which rows may be found.
        mask_numbers: (Q,), each query's mask, or `EVERYBODY`.
    """
    shape = (len(queries), k)
    nearest = Nearest(np.empty(shape, np.int64), np.empty(shape), np.zeros(len(queries), np.int64))
    if k:
        coarse = copy_queries(queries, matrix.centre)
        _scan(queries, matrix.rows, matrix.copies, coarse, masks, mask_numbers, nearest)
    for places, distances, found in zip(*nearest, strict=True):
        order = np.lexsort((places[:found], distances[:found]))
        places[:found], distances[:found] = places[order], distances[order]
    return nearest


@compiled()
def _scan(queries: Any, rows: Any, copies: Any, coarse: Any, masks: Any, mask_numbers: Any, nearest: Any) -> None:
    limits = np.full(len(queries), np.inf)
    _look_at_sample(queries, rows, masks, mask_numbers, nearest, limits)
    tile = _Tile(np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE, np.int32))
    for start in range(0, len(rows), TILE):
        stop = min(start + TILE, len(rows))
        _prepare(copies, start, stop, tile)
        for query in range(len(queries)):
            mask = mask_numbers[query]
            if mask != EVERYBODY and not masks[mask, start:stop].any():
                continue
            dots(copies.codes, start, stop, coarse.codes, query, tile.sums)
            square, step, error = coarse.squares[query] * (1 - ROUNDING), 2 * coarse.steps[query], coarse.errors[query]
            reach = (limits[query] + error) * WIDENED
            if not _count(tile, 0, stop - start, square, step, reach):
                continue
            for piece in range(start, stop, PIECE):
                end = min(piece + PIECE, stop)
                if not _count(tile, piece - start, end - start, square, step, reach):
                    continue
                for place in range(piece, end):
                    if mask != EVERYBODY and not masks[mask, place]:
                        continue
                    if _may_reach(tile, place - start, square, step, reach):
                        distance = _distance(queries[query], rows[place])
                        if distance <= limits[query]:
                            limits[query] = min(limits[query], _offer(distance, place, query, nearest))
                            reach = (limits[query] + error) * WIDENED


class _Tile(NamedTuple):
    """Of a tile's rows, (n,) each: s, s^2 |a|^2 less its rounding, e, and b.a with a query."""

    scales: Any
    squares: Any
    errors: Any
    sums: Any


@compiled()
def _prepare(copies: Any, start: int, stop: int, tile: Any) -> None:
    for row in range(stop - start):
        scale = np.float64(copies.scales[start + row])
        tile.scales[row], tile.errors[row] = scale, copies.errors[start + row]
        tile.squares[row] = scale * scale * copies.squares[start + row] * (1 - ROUNDING)


@compiled()
def _count(tile: Any, start: int, stop: int, square: Any, step: Any, reach: Any) -> Any:
    """How many of a tile's rows may reach; no branch, so that several are compared at a time."""
    total = np.int32(0)
    for row in range(start, stop):
        total = np.int32(total + np.int32(_may_reach(tile, row, square, step, reach)))
    return total


@compiled(inline="always")
def _may_reach(tile: Any, row: int, square: Any, step: Any, reach: Any) -> Any:
    """Whether |t b - s a| <= reach + e, unless rounding decides: then too."""
    furthest = reach + tile.errors[row]
    return square + (tile.squares[row] - tile.scales[row] * (step * tile.sums[row])) <= furthest * furthest


@compiled()
def _look_at_sample(queries: Any, rows: Any, masks: Any, mask_numbers: Any, nearest: Any, limits: Any) -> None:
    """Lower limits to the k-th smallest distances of a sample; those of all rows are no larger."""
    for place in range(SAMPLE // 2, len(rows), SAMPLE):
        for query in range(len(queries)):
            if mask_numbers[query] == EVERYBODY or masks[mask_numbers[query], place]:
                distance = _distance(queries[query], rows[place])
                if distance < limits[query]:
                    limits[query] = _offer(distance, place, query, nearest)
    nearest.found[:] = 0
    limits *= WIDENED  # compiled in two places, the sums might be in two orders


@compiled(fastmath={"reassoc"})  # one loop, so the order is the same for all rows nevertheless
def _distance(query: Any, row: Any) -> Any:
    """Euclidean."""
    total = 0.0
    for d in range(len(query)):
        difference = np.float64(query[d]) - np.float64(row[d])
        total += difference * difference
    return np.sqrt(total)


@compiled()
def _offer(distance: Any, place: int, query: int, nearest: Any) -> Any:
    """Keep a row that comes after all before it, if it is among the k nearest; returns the k-th smallest distance.

    The rows so far are a heap with the farthest on top, the last of equally far ones.
    """
    places, distances = nearest.places[query], nearest.distances[query]
    found, k = nearest.found[query], len(places)
    if found < k:
        hole = found
        nearest.found[query] = found + 1
        while hole > 0:
            parent = (hole - 1) // 2
            if distances[parent] > distance:
                break
            distances[hole], places[hole] = distances[parent], places[parent]
            hole = parent
    else:
        if distance >= distances[0]:
            return distances[0]
        hole = 0
        while True:
            child = 2 * hole + 1
            if child >= k:
                break
            if child + 1 < k and _farther(distances, places, child + 1, child):
                child += 1
            if distances[child] <= distance:
                break
            distances[hole], places[hole] = distances[child], places[child]
            hole = child
    distances[hole], places[hole] = distance, place
    return distances[0] if nearest.found[query] == k else np.inf


@compiled(inline="always")
def _farther(distances: Any, places: Any, one: int, other: int) -> Any:
    return distances[one] > distances[other] or (distances[one] == distances[other] and places[one] > places[other])
