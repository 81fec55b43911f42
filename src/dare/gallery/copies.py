"""Vectors in memory, each with a coarse copy, a byte per value, that bounds each true distance from both sides.

Around a centre c, a row x is y = x - c, and its copy s a: a scale s, and codes a from -127 to 127. By the triangle
inequality a copy's distance from any point differs from the row's by at most the row's error e >= |y - s a|. A query
has a copy t b too, sixteen bits per value, with an error f >= |z - t b| for z = q - c. So

    |t b - s a| - e - f  <=  |q - x|  <=  |t b - s a| + e + f

and |t b - s a|^2 = t^2 |b|^2 - 2 t s (b.a) + s^2 |a|^2, of which b.a and |a|^2 are whole numbers, computed without
rounding. The errors are measured, not estimated: how well a row happens to be copied, and where the centre lies, decide
how tight the bounds are, never whether they hold.
"""

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dare.files import compiled
from dare.gallery.dots import BLOCK

MOST_DIMENSIONS = 2**17
"""With more, |a|^2 could leave the 32 bits."""
LARGEST_CODE = 127.0
CENTRE_ROWS = 256
"""The median of this many rows is a good centre; a few outliers don't move it."""
ROUNDED_UP = 1 + 2.0**-22
"""More than float32 and the sum of a square per dimension can round down, relatively."""
SMALLEST = 2.0**-148
"""More than float32 rounds down next to zero."""
DIFFERENCES = 2.0**-50
"""More than the roundings of x - c and z - t b in float64, as a share of |y| and |z|."""


class Copies(NamedTuple):
    """Of N rows: codes a (N, P) int8, zeros beyond D; scales s and errors e (N,) float32; squares |a|^2 (N,) int32."""

    codes: Any
    scales: Any
    errors: Any
    squares: Any

    @classmethod
    def room(cls, count: int, dimensions: int) -> "Copies":
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"vectors have at most {MOST_DIMENSIONS} dimensions, got {dimensions}")
        codes = np.empty((count, padded(dimensions)), np.int8)
        return cls(codes, *(np.empty(count, kind) for kind in (np.float32, np.float32, np.int32)))

    def part(self, rows: slice | NDArray[np.bool_]) -> "Copies":
        return Copies(*(array[rows] for array in self))


class CoarseQueries(NamedTuple):
    """Of Q queries: codes b (Q, P) int16, zeros beyond D; steps t, errors f and squares t^2 |b|^2 (Q,) float64."""

    codes: Any
    steps: Any
    errors: Any
    squares: Any


def padded(dimensions: int) -> int:
    """Codes per vector."""
    return -(-dimensions // BLOCK) * BLOCK


def centre_of(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(D,), a finite point among the rows."""
    some = rows[:: max(1, len(rows) // CENTRE_ROWS)].astype(np.float64)  # half a sum of float32 may be infinite
    return np.median(some, axis=0).astype(np.float32)


@compiled(fastmath={"reassoc", "nnan", "nsz"})  # the errors leave room for sums in any order
def copy_rows(rows: Any, centre: Any, copies: Any) -> None:
    """Write the copies of rows (N, D)."""
    dimensions = rows.shape[1]
    moved = np.empty(dimensions, np.float64)
    for row in range(rows.shape[0]):
        largest, length = 0.0, 0.0
        for d in range(dimensions):
            moved[d] = np.float64(rows[row, d]) - np.float64(centre[d])
            largest = max(largest, abs(moved[d]))
            length += moved[d] * moved[d]
        scale = np.float64(np.float32(largest / LARGEST_CODE))
        inverse = 1 / scale if scale > 0 else 0.0
        error, square = 0.0, np.int32(0)
        for d in range(dimensions):
            bounded = min(max(moved[d] * inverse, -LARGEST_CODE), LARGEST_CODE)
            code = np.int32(np.int32(bounded + 128.5) - np.int32(128))  # the nearest; positive numbers are cut quickly
            rest = moved[d] - scale * code
            error += rest * rest
            square += np.int32(code * code)
            copies.codes[row, d] = np.int8(code)
        copies.codes[row, dimensions:] = 0
        copies.scales[row], copies.squares[row] = scale, square
        copies.errors[row] = np.float32((np.sqrt(error) + DIFFERENCES * np.sqrt(length)) * ROUNDED_UP + SMALLEST)


def copy_queries(queries: NDArray[np.float32], centre: NDArray[np.float32]) -> CoarseQueries:
    """Copies of queries (Q, D) around the rows' centre."""
    dimensions = queries.shape[1]
    largest_code = min(2**15 - 1, (2**31 - 1) // (int(LARGEST_CODE) * dimensions))  # so b.a keeps to 32 bits
    moved = queries.astype(np.float64) - centre
    steps = np.abs(moved).max(1, initial=0) / largest_code
    codes = np.zeros((len(queries), padded(dimensions)), np.int16)
    codes[:, :dimensions] = np.rint(
        np.divide(moved, steps[:, None], where=steps[:, None] > 0, out=np.zeros_like(moved))
    )
    near = codes[:, :dimensions] * steps[:, None]
    lengths, errors = np.linalg.norm(moved, axis=1), np.linalg.norm(moved - near, axis=1)
    errors = errors * ROUNDED_UP + DIFFERENCES * lengths
    return CoarseQueries(codes, steps, errors, steps**2 * np.square(codes, dtype=np.float64).sum(1))


class Matrix(NamedTuple):
    """What a search runs over: rows (N, D) and their copies around a centre (D,)."""

    rows: NDArray[np.float32]
    copies: Copies
    centre: NDArray[np.float32]


class Vectors:
    """Rows (N, D); what is handed out never changes. Several threads may search, one may change.

    Copies are made by the first search that needs them, and all anew when the rows have doubled, around a new centre.
    """

    def __init__(self, size: int, room: int = 0) -> None:
        self._rows, self._count = np.empty((room, size), np.float32), 0
        self._copies, self._copied, self._centred = Copies.room(0, size), 0, 0
        self._centre = np.zeros(size, np.float32)
        self._lock = threading.RLock()

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add rows behind the others."""
        with self._lock:
            end = self._count + len(rows)
            if end > len(self._rows):
                larger = np.empty((max(end, len(self._rows) * 3 // 2), self._rows.shape[1]), np.float32)
                larger[: self._count] = self._rows[: self._count]
                self._rows = larger
            self._rows[self._count : end] = rows
            self._count = end

    def sort(self, start: int, order: NDArray[np.int64]) -> None:
        """Put the rows from `start` on in order; they have not been handed out yet."""
        with self._lock:
            part = slice(start, self._count)
            self._rows[part] = self._rows[part][order]

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop all rows but some."""
        with self._lock:
            self._copies = self._copies.part(slice(self._copied)).part(kept[: self._copied])
            self._rows = self._rows[: self._count][kept]
            self._count, self._copied = len(self._rows), len(self._copies.codes)

    def all(self) -> NDArray[np.float32]:
        """(N, D), not to be written to."""
        with self._lock:
            rows = self._rows[: self._count]
        rows.flags.writeable = False
        return rows

    def matrix(self) -> Matrix:
        with self._lock:
            rows = self.all()
            if len(rows) > 2 * self._centred:
                self._centre, self._centred, self._copied = centre_of(rows), len(rows), 0
                self._copies = Copies.room(0, rows.shape[1])
            if len(rows) > len(self._copies.codes):
                larger = Copies.room(len(self._rows), rows.shape[1])
                for new, old in zip(larger, self._copies, strict=True):
                    new[: self._copied] = old[: self._copied]
                self._copies = larger
            if len(rows) > self._copied:
                copy_rows(rows[self._copied :], self._centre, self._copies.part(slice(self._copied, len(rows))))
                self._copied = len(rows)
            return Matrix(rows, self._copies.part(slice(len(rows))), self._centre)
