"""The neighbours of every row, exactly, and k-reciprocal encoding by them (Zhong et al., CVPR 2017)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dare.files import compiled
from dare.retrieval.products import CentredProduct, block_rows, in_blocks, true_distance
from dare.retrieval.ranking import RELATIVE_SLACK

PIECE = 64  # columns of which only the extremes are looked at first
ROWS = 512  # that are made in one go


class Neighbours(NamedTuple):
    """What lies around each of N rows; distances are squared Euclidean ones, in float64.

    Attributes:
        rows: (N, k), nearest first. A row is its own first neighbour, also among rows that are equal to it; equally
            near ones stand in the order of their numbers.
        distances: (N, k), to these.
        farthest: (N,), the distance to the farthest row.
    """

    rows: Any
    distances: Any
    farthest: Any


def find_neighbours(vectors: NDArray[np.floating], count: int) -> Neighbours:
    """The `count` nearest of (N, D) vectors to each of them, itself included; N is at least `count`.

    They are exact: a float32 product finds the candidates, and what its rounding leaves in doubt is computed again in
    float64.
    """
    size = len(vectors)
    found = Neighbours(np.empty((size, count), np.int32), np.empty((size, count)), np.empty(size))
    product = CentredProduct(vectors, vectors)

    def find(start: int, stop: int) -> None:
        _find(product.block(start, stop), start, product.slack, product.gallery, found)

    in_blocks(size, block_rows(size, 4), find)
    return found


@compiled()
def _find(values: Any, start: int, slack: Any, vectors: Any, found: Neighbours) -> None:
    """Fill in what lies around rows start, start + 1, ... from their values (b, N), see `CentredProduct`."""
    count, columns = found.rows.shape[1], values.shape[1]
    pieces = (columns + PIECE - 1) // PIECE
    lows, highs = np.empty(pieces, np.float32), np.empty(pieces, np.float32)
    chosen = np.empty(columns + 1, np.int64)
    for local in range(values.shape[0]):
        row, i = values[local], start + local
        _extremes(row, lows, highs)
        lowest, highest = np.float64(lows.min()), np.float64(highs.max())
        # At least `count` values are no larger than this one: as many pieces have one.
        cut = np.float64(np.partition(lows, count - 1)[count - 1]) if pieces >= count else highest
        near = chosen[: _between(row, lows, highs, lowest, cut + _doubt(lowest, cut, slack[i]), chosen)]
        cut = np.float64(np.partition(row[near], count - 1)[count - 1])
        _keep_nearest(i, near[row[near] <= cut + _doubt(lowest, cut, slack[i])], vectors, found)
        far = chosen[: _between(row, lows, highs, highest - _doubt(highest, highest, slack[i]), highest, chosen)]
        farthest = 0.0
        for j in far:
            farthest = max(farthest, true_distance(vectors[i], vectors[j]))
        found.farthest[i] = farthest


@compiled()
def _extremes(row: Any, lows: Any, highs: Any) -> None:
    """The smallest and the largest value of each piece of a row."""
    values, low_bits, high_bits = row.view(np.int32), lows.view(np.int32), highs.view(np.int32)
    for number in range(len(lows)):
        piece = values[number * PIECE : (number + 1) * PIECE]
        low = high = _ordered(piece[0])
        for j in range(len(piece)):
            low, high = min(low, _ordered(piece[j])), max(high, _ordered(piece[j]))
        low_bits[number], high_bits[number] = _ordered(low), _ordered(high)


@compiled(inline="always")
def _ordered(bits: Any) -> Any:
    """Integers in the order of the float32 numbers with these bits, and back; their extremes are found several at a
    time, as none is NaN."""
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@compiled()
def _doubt(extreme: float, cut: float, slack: float) -> float:
    """How far beyond a cut a value may lie and still truly be on this side of it: two values may each be off by the
    slack and a millionth of themselves; thrice that covers both, and what the second is off by beyond the cut."""
    return 3 * (slack + RELATIVE_SLACK * max(abs(extreme), abs(cut)))


@compiled()
def _between(row: Any, lows: Any, highs: Any, least: float, most: float, chosen: Any) -> int:
    """Write down, in order, which values of a row lie from least to most; says how many."""
    count = 0
    for piece in range(len(lows)):
        if lows[piece] <= most and highs[piece] >= least:
            for j in range(piece * PIECE, min((piece + 1) * PIECE, len(row))):
                chosen[count] = j  # no branch, as a wrong guess costs more than a write
                count += (row[j] >= least) & (row[j] <= most)
    return count


@compiled()
def _keep_nearest(i: int, candidates: Any, vectors: Any, found: Neighbours) -> None:
    """The nearest of the candidates, which are in order, by their true distances to row i."""
    distances = np.empty(len(candidates), np.float64)
    for place, j in enumerate(candidates):
        distances[place] = -1.0 if j == i else true_distance(vectors[i], vectors[j])  # itself before its equals
    order = np.argsort(distances, kind="mergesort")  # stable: equally near ones stay in order
    for place in range(found.rows.shape[1]):
        found.rows[i, place] = candidates[order[place]]
        found.distances[i, place] = max(0.0, distances[order[place]])


def encode(
    found: Neighbours,
    vectors: NDArray[np.floating],
    *,
    half: int,
    expansion: int,
    scale: NDArray[np.float64],
    squared: bool,
) -> Any:
    """Which rows stand for a row, and how much each of them counts: a `csr_array` (N, N) whose rows sum to 1.

    Args:
        found: the neighbours of (N, D) vectors; those of a row, itself included, may stand for it.
        half: how many neighbours a member's own set is drawn from, which joins in if it shares more than two thirds.
        expansion: over how many neighbours a row's weights are averaged in the end.
        scale: (N,); weights are exp(-x) before they are made to sum to 1, x the squared distance times this.
        squared: square x.
    """
    from scipy.sparse import csr_array  # slow to import, and plain scoring does without

    size = len(vectors)
    mutual = _mutual(found.rows, found.rows.shape[1]), _mutual(found.rows, half)
    rows = np.ascontiguousarray(vectors)
    blocks = in_blocks(size, ROWS, lambda start, stop: _encode(start, stop, found, *mutual, rows, scale, squared))
    counts, columns, weights = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)  # SciPy keeps the wider type of both
    encoded = csr_array((weights, columns, offsets), shape=(size, size))
    if expansion == 1:
        return encoded
    nearest = found.rows[:, :expansion].ravel()
    shares = np.full(len(nearest), 1 / expansion, np.float32)
    offsets = np.arange(0, len(nearest) + 1, expansion, dtype=np.int32)
    return csr_array((shares, nearest, offsets), shape=(size, size)) @ encoded


@compiled()
def _mutual(rows: Any, count: int) -> Any:
    """(N, count), whether a row is among the first `count` neighbours of each of its own first `count`."""
    mutual = np.zeros((len(rows), count), np.bool_)
    for i in range(len(rows)):
        for place in range(count):
            for back in rows[rows[i, place], :count]:
                mutual[i, place] |= back == i
    return mutual


@compiled()
def _encode(
    start: int, stop: int, found: Neighbours, mutual: Any, mutual_half: Any, vectors: Any, scale: Any, squared: bool
) -> Any:
    """Entries per row, columns and weights of rows start..stop."""
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


@compiled()
def _weigh(values: Any, squared: bool) -> None:
    """From scaled distances to weights, in place."""
    total = 0.0
    for n in range(len(values)):
        distance = np.float64(values[n])
        values[n] = np.exp(-distance * distance) if squared else np.exp(-distance)
        total += values[n]
    for n in range(len(values)):
        values[n] /= total
