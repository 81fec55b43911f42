"""Distances by matrix products, block by block and one block per core, with bounds on their rounding errors."""

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dare.files import compiled
from dare.retrieval.distances import check_finite

BLOCK_BYTES = 256 * 2**20
BLOCK_ROWS = 192  # whole rows of the distance matrix; matrix products of fewer rows are slower

CENTRE_ROWS = 256  # the median of this many gallery vectors is centre enough, and a few far out do not move it

FLOAT32_ROUNDING = 2.0**-24
FLOAT64_ROUNDING = 2.0**-53


class CentredProduct:
    """|g - c|^2 - 2 (q - c).(g - c), which orders as the distances of one query do, in float32, block by block.

    Around the gallery's centre c products are smaller than around the origin, and so is their rounding.

    Attributes:
        gallery: (G, D).
        squares: (Q,), |q - c|^2, which makes the values of a query its squared distances.
        slack: (Q,), by how much values of a query may be off, beside a millionth of themselves; see `Task.slack`.
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
        self.squares = np.einsum("qd,qd->q", left, left, dtype=np.float64)
        lengths = np.sqrt(self.squares)
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
            self._buffers.rows = np.empty((block_rows(len(self.gallery), 4), len(self.gallery)), np.float32)
        rows: NDArray[np.float32] = self._buffers.rows[: stop - start]
        np.dot(self._left[start:stop], self._right.T, out=rows)
        if len(self._far):
            near = self._query[start:stop].astype(np.float64) - self._centre
            rows[:, self._far] = self._far_squares - 2 * near @ self._far_vectors.T
        return rows


def block_rows(columns: int, itemsize: int) -> int:
    """How many rows of a distance matrix are made at a time."""
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, columns * itemsize)))


@compiled(inline="always")
def true_distance(left: Any, right: Any) -> Any:
    """Squared Euclidean distance of two vectors in float64."""
    total = 0.0
    for d in range(len(left)):  # one after the other: another order would break ties otherwise
        difference = np.float64(left[d]) - np.float64(right[d])
        total += difference * difference
    return total


def checked(query_vectors: Any, gallery_vectors: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """(Q, D) and (G, D) arrays; a ValueError for other shapes."""
    q, g = np.asarray(query_vectors), np.asarray(gallery_vectors)
    if q.ndim != 2 or g.ndim != 2 or q.shape[1] != g.shape[1]:
        raise ValueError(f"expected (Q, D) and (G, D) vectors of one dimension D, got {q.shape} and {g.shape}")
    return q, g


def rescaled(
    query: NDArray[np.floating], gallery: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating], int]:
    """Vectors as floats, and the power of two that they were multiplied by, mostly 0.

    Very large or small ones are brought near 1: that is exact, and squares can neither overflow nor vanish.
    Raises a ValueError for NaN, infinity or complex numbers.
    """
    if any(np.iscomplexobj(v) for v in (query, gallery)):
        raise ValueError("vectors are complex; distances are of real ones")
    vectors = [v if v.dtype in (np.float32, np.float64) else v.astype(np.float64) for v in (query, gallery)]
    largest = 0.0
    for name, v in zip(("query", "gallery"), vectors, strict=True):
        extreme = max(float(v.max(initial=0)), -float(v.min(initial=0)))
        if not math.isfinite(extreme):
            check_finite(v, f"{name} vector")
        largest = max(largest, extreme)
    if 1e-9 < largest < 1e9 or largest == 0:
        return vectors[0], vectors[1], 0
    power = -math.frexp(largest)[1]
    return np.ldexp(vectors[0], power), np.ldexp(vectors[1], power), power


T = TypeVar("T")


def in_blocks(count: int, rows: int, work: Callable[[int, int], T]) -> list[T]:
    """The results of `work(start, stop)` for consecutive blocks of at most `rows` of `count` rows."""
    # Each thread multiplies its own matrices; threads of the BLAS library besides would only wait.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_cores()) as pool:
        return list(pool.map(lambda start: work(start, min(start + rows, count)), range(0, count, rows)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
