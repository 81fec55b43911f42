"""A gallery in memory: for evaluation and small galleries."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dare.gallery.columns import UNKNOWN, Columns, Names
from dare.gallery.copies import Vectors
from dare.gallery.entry import Entry, Filter, many, numbered, relabelled
from dare.gallery.search import search_rows
from dare.gallery.store import Hits, check_exit, check_vectors, kept_exit
from dare.retrieval.distances import Space, entry_sizes
from dare.retrieval.labels import Labels


class MemoryGallery:
    """As `Gallery`; nothing is written to disk. Several threads may use it.

    Args:
        model: digest of the network.
        dimensions: (E,), of the vectors of each exit.
        space: of the network's vectors, `runner.space`; in a "shared" one an entry has one vector.
    """

    def __init__(self, model: str, dimensions: Sequence[int], space: Space = "own") -> None:
        self.model, self.dimensions, self.space = model, tuple(dimensions), space
        self._vectors = {exit: Vectors(size) for exit, size in entry_sizes(space, self.dimensions).items()}
        self._lock = threading.RLock()
        self._become({})

    def add(self, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]) -> None:
        arrays = check_vectors(self, vectors, entries)
        with self._lock:
            self.remove(entry.id for entry in entries)
            for exit, more in arrays.items():
                self._vectors[exit].append(more)
            self._become(self._entries | {entry.id: entry for entry in entries})

    def remove(self, ids: Iterable[str]) -> int:
        gone = set(many(ids))
        with self._lock:
            kept = np.asarray([id not in gone for id in self._entries], bool)
            if not kept.all():
                for vectors in self._vectors.values():
                    vectors.keep(kept)
                self._become({id: entry for id, entry in self._entries.items() if id not in gone})
        return int((~kept).sum())

    def forget(self, *, people: Iterable[int | str] = (), ids: Iterable[str] = (), before: float | None = None) -> int:
        whom, until = set(numbered(people)), -np.inf if before is None else before
        with self._lock:
            gone = {
                entry.id
                for entry in self._entries.values()
                if entry.person in whom or (entry.time is not None and entry.time < until)
            }
            return self.remove(gone.union(many(ids)))

    def relabel(self, people: Mapping[int | str, str]) -> int:
        names = relabelled(people)
        with self._lock:
            changed = {
                id: replace(entry, person=names[entry.person][0], name=names[entry.person][1])
                for id, entry in self._entries.items()
                if entry.person in names
            }
            self._become(self._entries | changed)
        return len(changed)

    def search(self, exit: int, vectors: NDArray[np.floating], count: int, *, where: Filter = None) -> Hits:
        queries = check_exit(self, exit, vectors)
        with self._lock:  # what belongs together; it never changes afterwards
            matrix, columns = self._vectors[kept_exit(self, exit)].matrix(), self._columns
        return search_rows(queries, matrix, columns, count, where)

    def get(self, ids: Iterable[str]) -> dict[str, Entry]:
        return {id: self._entries[id] for id in many(ids) if id in self._entries}

    def ids(self) -> list[str]:
        return list(self._entries)

    def pictures(self) -> list[str]:
        return [entry.picture for entry in self._entries.values()]

    def vectors(self, exit: int) -> NDArray[np.float32]:
        return self._vectors[kept_exit(self, exit)].all()

    def labels(self) -> Labels:
        return self._columns.labels()

    def count(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Does nothing."""

    def _become(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        known = entries.values()
        self._columns = Columns(
            pa.array(entries, pa.string()),
            [UNKNOWN if entry.person is None else entry.person for entry in known],
            [UNKNOWN if entry.camera is None else entry.camera for entry in known],
            [np.nan if entry.time is None else entry.time for entry in known],
            Names(
                pa.array([entry.person for entry in known], pa.int64()),
                pa.array([entry.name for entry in known], pa.string()),
                {entry.camera: entry.camera_name for entry in known if entry.camera is not None and entry.camera_name},
            ),
        )
