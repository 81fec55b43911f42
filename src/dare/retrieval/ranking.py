"""Ranks of a query's matches, by counting: the compiled inner loop of scoring.

The rank of a match is how many valid entries lie before it. Counting them takes one pass over a row of
distances for all matches together, where sorting the row would take many.
"""

from typing import Any, NamedTuple

import numpy as np

from dare.files import compiled
from dare.retrieval.products import true_distance

RELATIVE_SLACK = 2.0**-20
PIECE = 256  # columns that are counted in one go; only pieces with a close call are looked at one by one


class Task(NamedTuple):
    """What the ranks of all queries depend on; arrays of numbers only, so that it can be compiled.

    People are numbered densely; the gallery rows of person p are `rows[offsets[p]:offsets[p + 1]]`, in gallery
    order. Distances of query i that differ by more than `slack[i]` and a millionth of themselves are in their true
    order; closer ones are compared by the vectors. With slack 0 the distances are the truth. `official` is the rule of
    average precision: trapezoids, not steps.
    """

    official: Any
    query_people: Any
    query_cameras: Any
    gallery_people: Any
    gallery_cameras: Any
    rows: Any
    offsets: Any
    slack: Any
    query_vectors: Any
    gallery_vectors: Any


class Results(NamedTuple):
    """One value per query, as in `Scores`; filled in for queries that have a match."""

    average_precision: Any
    first_match: Any
    inverse_negative_penalty: Any
    tied: Any


class Settled(NamedTuple):
    """True distances that were computed already, so that those close to many matches are computed once.

    `distance[entry]` is that to query `query[entry]`.
    """

    query: Any
    distance: Any


@compiled()
def rank_matches(distances: Any, start: int, task: Task, results: Results) -> None:
    """Fill in the results of queries start, start + 1, ... from their distances (b, G)."""
    columns = distances.shape[1]
    settled = Settled(np.full(columns, -1, np.int64), np.empty(columns, np.float64))
    for local in range(distances.shape[0]):
        query = start + local
        row = distances[local]
        good, passed_over = _split(query, task)
        if len(good) == 0:
            continue
        true = np.empty(len(good), np.float64)
        for k in range(len(good)):
            true[k] = _distance(row, query, good[k], task)
        order = np.argsort(true, kind="mergesort")  # stable: ties stay in gallery order
        good, true = good[order], true[order]
        ranks = _count_nearer(row, query, good, true, task, results, settled)
        for entry in passed_over:
            distance = _distance(row, query, entry, task)
            for k in range(len(good)):
                if distance < true[k] or (distance == true[k] and entry < good[k]):
                    ranks[k] -= 1
        _write(query, ranks, task.official, results)


@compiled()
def _split(query: int, task: Task) -> Any:
    """The gallery rows of the query's person: matches, and those of the query's own camera."""
    person = task.query_people[query]
    same = task.rows[task.offsets[person] : task.offsets[person + 1]]
    own_camera = task.gallery_cameras[same] == task.query_cameras[query]
    return same[~own_camera], same[own_camera]


@compiled(inline="always")
def _distance(row: Any, query: int, entry: int, task: Task) -> Any:
    """The true distance, squared; without vectors, the distance as given."""
    if task.gallery_vectors.shape[0] == 0:
        return np.float64(row[entry])
    return true_distance(task.query_vectors[query], task.gallery_vectors[entry])


@compiled()
def _count_nearer(row: Any, query: int, good: Any, true: Any, task: Task, results: Results, settled: Settled) -> Any:
    """For each match, how many entries of the row lie before it, matches and passed-over ones included."""
    ranks = np.zeros(len(good), np.int64)
    lows = np.empty(len(good), row.dtype)
    highs = np.empty(len(good), row.dtype)
    for k in range(len(good)):
        slack = task.slack[query]
        if slack > 0:
            slack += RELATIVE_SLACK * abs(row[good[k]])
        lows[k] = row[good[k]] - slack
        highs[k] = row[good[k]] + slack
    close = np.empty(PIECE + 1, np.int64)
    for begin in range(0, len(row), PIECE):
        piece = row[begin : min(begin + PIECE, len(row))]
        for k in range(len(good)):
            low, high = lows[k], highs[k]
            below, within = np.int32(0), np.int32(0)
            for j in range(len(piece)):
                # The outer casts keep 32-bit sums, eight to a register; numba would widen them to 64.
                below = np.int32(below + np.int32(piece[j] < low))
                within = np.int32(within + np.int32(piece[j] <= high))
            ranks[k] += below
            if within - below > np.int32(begin <= good[k] < begin + PIECE):  # others than the match itself
                found = _within(piece, begin, low, high, close)
                ranks[k] += _settle(row, query, k, close[:found], good, true, task, results, settled)
    return ranks


@compiled()
def _within(piece: Any, begin: int, low: Any, high: Any, entries: Any) -> int:
    """Write down which entries of a piece lie from low to high; no branch, as a wrong guess costs more than a write."""
    found = 0
    for j in range(len(piece)):
        entries[found] = begin + j
        found += (piece[j] >= low) & (piece[j] <= high)
    return found


@compiled()
def _settle(
    row: Any, query: int, k: int, close: Any, good: Any, true: Any, task: Task, results: Results, settled: Settled
) -> int:
    """How many of the entries too close to call lie before match k; notes ties of the first one."""
    before = 0
    for entry in close:
        if entry == good[k]:
            continue
        if settled.query[entry] != query:
            settled.query[entry] = query
            settled.distance[entry] = _distance(row, query, entry, task)
        distance = settled.distance[entry]
        if distance < true[k] or (distance == true[k] and entry < good[k]):
            before += 1
        if k == 0 and distance == true[k] and task.gallery_people[entry] != task.query_people[query]:
            results.tied[query] = True
    return before


@compiled()
def _write(query: int, ranks: Any, official: bool, results: Results) -> None:
    """The scores of a query from the ranks of its matches."""
    precisions = 0.0
    for k in range(len(ranks)):
        precision = (k + 1) / (ranks[k] + 1)
        if official:
            precision_before = k / ranks[k] if ranks[k] else 1.0
            precision = (precision + precision_before) / 2
        precisions += precision
    results.average_precision[query] = precisions / len(ranks)
    results.inverse_negative_penalty[query] = len(ranks) / (ranks[-1] + 1)
    results.first_match[query] = ranks[0]
