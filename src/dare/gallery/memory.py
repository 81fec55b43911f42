"""A gallery in memory, exact: for evaluation, for small galleries, and the measure for all others."""

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dare.gallery.copies import Vectors
from dare.gallery.entry import Columns, Entry, Where, many
from dare.gallery.search import search_rows
from dare.gallery.store import Hits, check_exit, check_vectors, kept_exit
from dare.retrieval.distances import Space, entry_sizes
from dare.retrieval.labels import Labels


class MemoryGallery:
    """As `Gallery`, in arrays; nothing is written. Several threads may use it.

    Args:
        model: digest of the network.
        dimensions: (E,), of the vectors of each exit.
        space: of the network's vectors, `runner.space`; in a "shared" one an entry has one vector.
    """

    def __init__(self, model: str, dimensions: Sequence[int], space: Space = "own") -> None:
        self.model, self.dimensions, self.space = model, tuple(dimensions), space
        self._entries: dict[str, Entry] = {}
        self._vectors = {exit: Vectors(size) for exit, size in entry_sizes(space, self.dimensions).items()}
        self._ids: list[str] = []
        self._columns = Columns.of([])
        self._lock = threading.RLock()

    def add(self, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]) -> None:
        arrays = check_vectors(self, vectors, entries)
        new = {entry.id: entry for entry in entries}
        with self._lock:
            self._keep({id: entry for id, entry in self._entries.items() if id not in new})
            for exit, more in arrays.items():
                self._vectors[exit].append(more)
            self._become(self._entries | new)

    def remove(self, ids: Iterable[str]) -> int:
        with self._lock:
            gone = set(many(ids)) & self._entries.keys()
            self._keep({id: entry for id, entry in self._entries.items() if id not in gone})
        return len(gone)

    def forget(self, *, people: Iterable[int] = (), ids: Iterable[str] = ()) -> int:
        whom = set(people)
        with self._lock:
            return self.remove({*many(ids), *(entry.id for entry in self._entries.values() if entry.person in whom)})

    def search(
        self,
        exit: int,
        vectors: NDArray[np.floating],
        count: int,
        *,
        where: Where | Sequence[Where | None] | None = None,
    ) -> Hits:
        queries = check_exit(self, exit, vectors)

        with self._lock:  # what belongs together; it never changes afterwards
            matrix, columns, names = self._vectors[kept_exit(self, exit)].matrix(), self._columns, self._ids

        def ids(places: NDArray[np.int64]) -> list[str]:
            return [names[place] for place in places]

        return search_rows(queries, matrix, columns, ids, count, where)

    def get(self, ids: Iterable[str]) -> dict[str, Entry]:
        return {id: self._entries[id] for id in many(ids) if id in self._entries}

    def ids(self) -> list[str]:
        return list(self._ids)

    def pictures(self) -> list[str]:
        return [entry.picture for entry in self._entries.values()]

    def vectors(self, exit: int) -> NDArray[np.float32]:
        return self._vectors[kept_exit(self, exit)].all()

    def labels(self) -> Labels:
        return self._columns.labels()

    def count(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """As `Gallery.close`; there is nothing to let go of."""

    def _keep(self, left: dict[str, Entry]) -> None:
        if len(left) == len(self._entries):
            return
        kept = np.asarray([id in left for id in self._ids], bool)
        for vectors in self._vectors.values():
            vectors.keep(kept)
        self._become(left)

    def _become(self, entries: dict[str, Entry]) -> None:
        self._entries, self._ids, self._columns = entries, list(entries), Columns.of(entries.values())
