"""What a gallery's entries are besides vectors: which of them a search may find, and what it tells of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.gallery.entry import Where
from dare.gallery.store import Hits
from dare.retrieval.labels import Labels

UNKNOWN = -1
"""The number of unknown people and cameras."""
FEW = 32
"""Texts that are fetched one by one, which is then faster."""


class Columns:
    """What a search reads of N entries besides vectors, (N,) each: -1 for unknown people and cameras, NaN for times.

    Unknown people become -2, -3 and so on, so that no two of them are the same person.

    Args:
        names: of people, "" without one.
        camera_names: number -> name, of cameras that have one.
    """

    def __init__(
        self, ids: Any, people: Any, cameras: Any, times: Any, names: Any, camera_names: Mapping[int, str]
    ) -> None:
        self.ids: pa.Array | pa.ChunkedArray = ids
        self.names: pa.Array | pa.ChunkedArray = names
        self.camera_names = camera_names
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
        people, cameras = self.people[rows], self.cameras[rows]
        called = [self.camera_names.get(camera, "") for camera in cameras.tolist()]

        def lists(values: NDArray[Any], empty: Any) -> NDArray[Any]:
            whole = np.full(places.shape, empty, values.dtype)
            whole[known] = values
            return whole

        return Hits(
            lists(_texts(self.ids, rows), ""),
            lists(people, UNKNOWN),
            lists(cameras, UNKNOWN),
            distances,
            complete,
            lists(_or_numbers(_texts(self.names, rows), people), ""),
            lists(_or_numbers(np.asarray(called, str), cameras), ""),
        )


def _texts(column: Any, places: NDArray[np.int64]) -> NDArray[np.str_]:
    if len(places) > FEW:
        return np.asarray(column.take(pa.array(places)).to_pylist(), str)
    return np.asarray([column[place].as_py() for place in places.tolist()], str)


def _or_numbers(names: NDArray[np.str_], numbers: NDArray[np.int64]) -> NDArray[np.str_]:
    """Names, or numbers where there are none; nothing for who is unknown."""
    return np.where(numbers < 0, "", np.where(names == "", numbers.astype(str), names))
