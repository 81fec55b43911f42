"""k-reciprocal encoding (Zhong et al., CVPR 2017): each row by those that are its neighbours as it is theirs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dare.retrieval.blocks import in_blocks
from dare.retrieval.neighbours import Neighbours
from dare.retrieval.products import true_distance

ROWS = 512  # that are made in one go


class Sparse(NamedTuple):
    """A matrix with few entries: row i has `weights[offsets[i]:offsets[i + 1]]` in columns `columns[...]` alike."""

    offsets: Any
    columns: Any
    weights: Any


def encode(
    found: Neighbours,
    vectors: NDArray[np.floating],
    *,
    half: int,
    expansion: int,
    scale: NDArray[np.float64],
    squared: bool,
) -> Sparse:
    """Which rows stand for a row, and how much each of them counts: (N, N), every row sums to 1.

    Args:
        found: as many neighbours as may stand for a row, itself included.
        vectors: (N, D), whose neighbours these are.
        half: how many neighbours a member's own set is drawn from, which joins in if it shares more than two thirds.
        expansion: over how many neighbours a row's weights are averaged in the end.
        scale: (N,); weights are exp(-x) before they are made to sum to 1, x the squared distance times this.
        squared: take x to the power of two.
    """
    mutual = _mutual(found.rows, found.rows.shape[1]), _mutual(found.rows, half)
    rows = np.ascontiguousarray(vectors)
    encoded = _joined(len(vectors), lambda start, stop: _encode(start, stop, found, *mutual, rows, scale, squared))
    if expansion == 1:
        return encoded
    return _joined(len(vectors), lambda start, stop: _average(start, stop, encoded, found.rows[:, :expansion]))


def _joined(count: int, make: Callable[[int, int], Any]) -> Sparse:
    """A matrix of so many rows from what is made of blocks of them: entries per row, their columns and weights."""
    counts, columns, weights = (np.concatenate(parts) for parts in zip(*in_blocks(count, ROWS, make), strict=True))
    return Sparse(np.concatenate([[0], np.cumsum(counts)]), columns, weights)


@njit(nogil=True, cache=True)
def _mutual(rows: Any, count: int) -> Any:
    """(N, count), whether a row is among the first neighbours of each of its own first neighbours, so many of both."""
    mutual = np.zeros((len(rows), count), np.bool_)
    for i in range(len(rows)):
        for place in range(count):
            for back in rows[rows[i, place], :count]:
                mutual[i, place] |= back == i
    return mutual


@njit(nogil=True, cache=True)
def _encode(
    start: int, stop: int, found: Neighbours, mutual: Any, mutual_half: Any, vectors: Any, scale: Any, squared: bool
) -> Any:
    """Entries per row, columns and weights of rows start..stop before they are averaged."""
    width, half = mutual.shape[1], mutual_half.shape[1]
    room = (stop - start) * min(len(vectors), width + width * half)
    columns, weights = np.empty(room, np.int32), np.empty(room, np.float32)
    counts = np.empty(stop - start, np.int64)
    place = np.full(len(vectors), -1, np.int64)  # where a column stands, if at or behind the row's first entry
    filled = 0
    for i in range(start, stop):
        first = filled
        for n in range(width):
            if mutual[i, n]:
                columns[filled], weights[filled] = found.rows[i, n], found.distances[i, n] * scale[i]
                place[columns[filled]] = filled
                filled += 1
        own = filled  # behind them stand those that join in
        for member in columns[first:own]:
            size, shared = 0, 0
            for n in range(half):
                if mutual_half[member, n]:
                    size += 1
                    shared += first <= place[found.rows[member, n]] < own
            if 3 * shared > 2 * size:
                for n in range(half):
                    other = found.rows[member, n]
                    if mutual_half[member, n] and place[other] < first:
                        columns[filled] = other
                        weights[filled] = true_distance(vectors[i], vectors[other]) * scale[i]
                        place[other] = filled
                        filled += 1
        _weigh(weights[first:filled], squared)
        counts[i - start] = filled - first
    return counts, columns[:filled].copy(), weights[:filled].copy()


@njit(nogil=True, cache=True)
def _weigh(values: Any, squared: bool) -> None:
    """From scaled distances to weights, in place."""
    total = 0.0
    for n in range(len(values)):
        distance = np.float64(values[n])
        values[n] = np.exp(-distance * distance) if squared else np.exp(-distance)
        total += values[n]
    for n in range(len(values)):
        values[n] /= total


@njit(nogil=True, cache=True)
def _average(start: int, stop: int, encoded: Sparse, rows: Any) -> Any:
    """Entries per row, columns and weights of the means over these rows of `encoded`, (N, k), for rows start..stop."""
    room = 0
    for i in range(start, stop):
        for row in rows[i]:
            room += encoded.offsets[row + 1] - encoded.offsets[row]
    columns, weights = np.empty(room, np.int32), np.empty(room, np.float32)
    counts = np.empty(stop - start, np.int64)
    place = np.full(len(rows), -1, np.int64)  # as in `_encode`
    filled = 0
    for i in range(start, stop):
        first = filled
        for row in rows[i]:
            for entry in range(encoded.offsets[row], encoded.offsets[row + 1]):
                column = encoded.columns[entry]
                if place[column] < first:
                    columns[filled], weights[filled], place[column] = column, 0, filled
                    filled += 1
                weights[place[column]] += encoded.weights[entry] / rows.shape[1]
        counts[i - start] = filled - first
    return counts, columns[:filled].copy(), weights[:filled].copy()


@njit(nogil=True, cache=True)
def transposed(matrix: Sparse, start: int) -> Sparse:
    """The rows from `start` on as columns, counted from there."""
    begin, count = matrix.offsets[start], len(matrix.offsets) - 1
    offsets = np.zeros(count + 1, np.int64)
    for column in matrix.columns[begin:]:
        offsets[column + 1] += 1
    offsets = np.cumsum(offsets)
    columns, weights = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    free = offsets[:-1].copy()
    for row in range(start, count):
        for entry in range(matrix.offsets[row], matrix.offsets[row + 1]):
            place = free[matrix.columns[entry]]
            columns[place], weights[place] = row - start, matrix.weights[entry]
            free[matrix.columns[entry]] += 1
    return Sparse(offsets, columns, weights)
