"""A gallery in memory, exact: for evaluation, for small galleries, and the measure for all others."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dare.gallery.exact import nearest
from dare.gallery.store import Entry, Hits, Where, check_exit, check_vectors

UNKNOWN = -1


class MemoryGallery:
    """Keeps everything in arrays; nothing is written.

    Args:
        model: digest of the network.
        dimensions: (E,), of the vectors of each exit.
    """

    def __init__(self, model: str, dimensions: Sequence[int]) -> None:
        self.model, self.dimensions = model, tuple(dimensions)
        self._entries: dict[str, Entry] = {}
        self._vectors = [np.zeros((0, size), np.float32) for size in self.dimensions]
        self._squares = [np.zeros(0, np.float32) for _ in self.dimensions]
        self._labels = Columns([])

    def add(self, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]) -> None:
        """As `Gallery.add`; a replaced entry keeps its place in the order."""
        arrays = check_vectors(self, vectors, entries)
        places = {id: place for place, id in enumerate(self._entries)}
        old = [(row, places[entry.id]) for row, entry in enumerate(entries) if entry.id in places]
        new = [row for row, entry in enumerate(entries) if entry.id not in places]
        for exit, rows in enumerate(arrays):
            grown = np.concatenate([self._vectors[exit], rows[new]])
            for row, place in old:
                grown[place] = rows[row]
            self._set(exit, grown)
        self._entries |= {entry.id: entry for entry in entries}
        self._labels = Columns(list(self._entries.values()))

    def remove(self, ids: Sequence[str]) -> int:
        """As `Gallery.remove`."""
        gone = set(ids) & self._entries.keys()
        kept = np.asarray([id not in gone for id in self._entries], bool)
        for exit, rows in enumerate(self._vectors):
            self._set(exit, rows[kept])
        self._entries = {id: entry for id, entry in self._entries.items() if id not in gone}
        self._labels = Columns(list(self._entries.values()))
        return len(gone)

    def search(self, exit: int, vectors: NDArray[np.floating], count: int, *, where: Where | None = None) -> Hits:
        """As `Gallery.search`."""
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        queries = check_exit(self, exit, vectors)
        rows, squares, labels = self._vectors[exit], self._squares[exit], self._labels
        if where is not None:
            kept = labels.matching(where)
            rows, squares, labels = rows[kept], squares[kept], labels.rows(kept)
        places, distances = nearest(queries, rows, squares, count)
        return Hits(
            labels.ids[places], labels.people[places], labels.cameras[places], distances, complete=count >= len(rows)
        )

    def count(self) -> int:
        """As `Gallery.count`."""
        return len(self._entries)

    def close(self) -> None:
        """As `Gallery.close`; there is nothing to let go of."""

    def _set(self, exit: int, rows: NDArray[np.float32]) -> None:
        self._vectors[exit] = rows
        self._squares[exit] = np.einsum("nd,nd->n", rows, rows)


class Columns:
    """Entries as arrays (N,): people with unknown ones numbered from -2 down, cameras and times with -1 and NaN."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.ids = np.asarray([entry.id for entry in entries], str)
        self.people = np.asarray(
            [-2 - row if entry.person is None else entry.person for row, entry in enumerate(entries)], np.int64
        )
        self.cameras = np.asarray([UNKNOWN if e.camera is None else e.camera for e in entries], np.int64)
        self.times = np.asarray([np.nan if e.time is None else e.time for e in entries], np.float64)

    def rows(self, kept: NDArray[np.bool_]) -> "Columns":
        """Some of the entries."""
        part = Columns([])
        part.ids, part.people = self.ids[kept], self.people[kept]
        part.cameras, part.times = self.cameras[kept], self.times[kept]
        return part

    def matching(self, where: Where) -> NDArray[np.bool_]:
        """(N,), which entries a search may look at."""
        kept = np.ones(len(self.ids), bool)
        if where.cameras is not None:
            kept &= np.isin(self.cameras, where.cameras)
        if where.not_cameras:
            kept &= ~np.isin(self.cameras, where.not_cameras)
        if where.people is not None:
            kept &= np.isin(self.people, where.people)
        if where.since is not None:
            kept &= self.times >= where.since
        if where.until is not None:
            kept &= self.times <= where.until
        return kept
