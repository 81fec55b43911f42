"""What a gallery's entries are besides vectors: which of them a search may find, and what it tells of them."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.gallery.entry import Where
from dare.gallery.store import Called, Hits
from dare.retrieval.labels import Labels

UNKNOWN = -1
"""The number of unknown people and cameras."""
FEW = 32
"""Texts that are fetched one by one, which is then faster."""


class Columns:
    """What a search reads of N entries besides vectors, (N,) each: -1 for unknown people and cameras, NaN for times.

    Unknown people become -2, -3 and so on, so that no two of them are the same person.

    Args:
        called: what people and cameras are called.
    """

    def __init__(self, ids: Any, people: Any, cameras: Any, times: Any, called: Called) -> None:
        self.ids: pa.Array | pa.ChunkedArray = ids
        self.called = called
        self.people = np.array(people, np.int64)
        unknown = self.people == UNKNOWN
        self.people[unknown] = UNKNOWN - 1 - np.arange(unknown.sum())
        self.cameras, self.times = np.asarray(cameras, np.int64), np.asarray(times, np.float64)

    def matching(self, where: Where) -> NDArray[np.bool_]:
        """(N,), which entries a search may find."""
        kept = np.ones(len(self.people), bool)
        if where.cameras is not None:
            kept &= np.isin(self.cameras, where.cameras) & (self.cameras != UNKNOWN)
        for camera in where.not_cameras:
            kept &= (self.cameras != camera) | (self.cameras == UNKNOWN)
        if where.people is not None:
            kept &= np.isin(self.people, where.people) & (self.people > UNKNOWN)
        if where.not_seen is not None:
            person, camera = where.not_seen
            kept &= (self.people != person) | (self.cameras != camera)
        if where.since is not None:
            kept &= self.times >= where.since
        if where.until is not None:
            kept &= self.times <= where.until
        for id in where.not_ids:
            if (place := pc.index(self.ids, id).as_py()) >= 0:
                kept[place] = False
        return kept

    def labels(self) -> Labels:
        """As `Gallery.labels`."""
        return Labels(np.maximum(self.people, UNKNOWN), self.cameras)

    def hits(self, places: NDArray[np.int64], distances: NDArray[np.float64], complete: NDArray[np.bool_]) -> Hits:
        """The entries in these places, (Q, k); -1 behind the end of a list."""
        known = places >= 0
        rows = places[known]
        ids = np.full(places.shape, "", object)
        ids[known] = _texts(self.ids, rows)
        people, cameras = np.full(places.shape, UNKNOWN, np.int64), np.full(places.shape, UNKNOWN, np.int64)
        people[known], cameras[known] = self.people[rows], self.cameras[rows]
        return Hits(ids.astype(str), people, cameras, distances, complete, self.called)


class Names:
    """As `Called`, of entries; people are looked through when they are asked for.

    Args:
        people, names: of the entries, "" for those without a name.
        cameras: number -> name.
    """

    def __init__(self, people: Any, names: Any, cameras: Mapping[int, str]) -> None:
        self._labels = pa.table({"person": people, "name": names})
        self._cameras = cameras

    def people(self) -> Mapping[int, str]:
        return self._people

    def cameras(self) -> Mapping[int, str]:
        return self._cameras

    @cached_property
    def _people(self) -> dict[int, str]:
        named = self._labels.filter((pc.field("name") != "") & pc.field("person").is_valid())
        found = named.group_by("person").aggregate([("name", "max")])
        return dict(zip(found["person"].to_pylist(), found["name_max"].to_pylist(), strict=True))


def _texts(column: Any, places: NDArray[np.int64]) -> list[str]:
    if len(places) > FEW:
        return column.take(pa.array(places)).to_pylist()  # type: ignore[no-any-return]
    return [column[place].as_py() for place in places.tolist()]
