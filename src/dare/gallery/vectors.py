"""The vectors of one exit in memory, with room for more, and their coarse copies for searches."""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dare.gallery.quantised import Copies, centre_of, copy_rows


class Matrix(NamedTuple):
    """What a search runs over: rows (N, D) and their copies around a centre (D,)."""

    rows: NDArray[np.float32]
    copies: Copies
    centre: NDArray[np.float32]


class Vectors:
    """Rows (N, D); what is handed out never changes. Several threads may search, one may change.

    Copies are made by the first search that needs them. They are all made anew once the rows have doubled: the centre
    was chosen among the first.

    Args:
        size: D.
        room: for how many rows at first.
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
        """Put the rows from `start` on in order; nobody has seen them yet."""
        with self._lock:
            assert self._copied <= start
            part = slice(start, self._count)
            self._rows[part] = self._rows[part][order]

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Let go of all rows but some."""
        with self._lock:
            self._rows, self._copies = (
                self._rows[: self._count][kept],
                self._copies.part(slice(self._copied)).part(kept[: self._copied]),
            )
            self._count, self._copied = len(self._rows), len(self._copies.codes)

    def all(self) -> NDArray[np.float32]:
        """(N, D), not to be written to."""
        with self._lock:
            rows = self._rows[: self._count]
        rows.flags.writeable = False
        return rows

    def matrix(self) -> Matrix:
        """The rows with their copies."""
        with self._lock:
            rows = self.all()
            if len(rows) > 2 * self._centred:
                self._centre, self._centred, self._copied = centre_of(rows), len(rows), 0
                self._copies = Copies.room(0, rows.shape[1])
            if len(rows) > len(self._copies.codes):
                room = min(len(self._rows), max(len(rows), len(self._copies.codes) * 3 // 2))
                larger = Copies.room(room, rows.shape[1])
                for new, old in zip(larger, self._copies, strict=True):
                    new[: self._copied] = old[: self._copied]
                self._copies = larger
            if len(rows) > self._copied:
                copy_rows(rows[self._copied :], self._centre, self._copies.part(slice(self._copied, len(rows))))
                self._copied = len(rows)
            return Matrix(rows, self._copies.part(slice(len(rows))), self._centre)
