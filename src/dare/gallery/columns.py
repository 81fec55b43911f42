"""Labels of entries as arrays, and which entries a search may look at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dare.gallery.entry import Entry, Where
from dare.gallery.store import GalleryLabels

UNKNOWN = -1
UNKNOWN_PEOPLE = -2
"""The first of the numbers, going down, by which people who are not known are told apart."""


class Columns:
    """(N,) each: people, those not known numbered from -2 down; cameras, -1 where not known; times, NaN where not."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.people = numbered([UNKNOWN if e.person is None else e.person for e in entries])
        self.cameras = np.asarray([UNKNOWN if e.camera is None else e.camera for e in entries], np.int64)
        self.times = np.asarray([np.nan if e.time is None else e.time for e in entries], np.float64)

    @classmethod
    def of(cls, people: NDArray[np.int64], cameras: NDArray[np.int64], times: NDArray[np.float64]) -> "Columns":
        """From arrays in which unknown people and cameras are -1 and unknown times NaN."""
        columns = cls([])
        columns.people, columns.cameras, columns.times = numbered(people), cameras, times
        return columns

    def matching(self, where: Where) -> NDArray[np.bool_]:
        """(N,), which entries a search may look at."""
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
        return kept

    def labels(self) -> GalleryLabels:
        """As `Gallery.labels`."""
        return GalleryLabels(np.maximum(self.people, UNKNOWN), self.cameras)


def numbered(people: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,), each -1 replaced by a negative number of its own."""
    array = np.array(people, np.int64)
    unknown = array == UNKNOWN
    array[unknown] = UNKNOWN_PEOPLE - np.arange(unknown.sum())
    return array
