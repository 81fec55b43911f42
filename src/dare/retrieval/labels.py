"""Whom the rows of embeddings show, and which camera took them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import JUNK, Sample


class Labelled(Protocol):
    """Anything with a person and a camera per row, (N,) each."""

    @property
    def people(self) -> NDArray[np.int64]: ...

    @property
    def cameras(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True)
class Labels:
    """Person and camera per row, (N,) each."""

    people: NDArray[np.int64]
    cameras: NDArray[np.int64]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Labels":
        """The labels of samples, in order."""
        return cls(
            np.asarray([sample.person for sample in samples], np.int64),
            np.asarray([sample.camera for sample in samples], np.int64),
        )


class DenseLabels:
    """Labels with people numbered from 0 without gaps, and the gallery rows of each person; junk is dropped."""

    def __init__(self, query: Labelled, gallery: Labelled) -> None:
        query_people, gallery_people = np.asarray(query.people), np.asarray(gallery.people)
        self.kept: NDArray[np.bool_] = gallery_people != JUNK
        everyone, dense = np.unique(np.concatenate([query_people, gallery_people[self.kept]]), return_inverse=True)
        self.query_people = dense[: len(query_people)].astype(np.int64)
        self.gallery_people = dense[len(query_people) :].astype(np.int64)
        self.query_cameras = np.asarray(query.cameras, np.int64)
        self.gallery_cameras = np.asarray(gallery.cameras, np.int64)[self.kept]
        counts = np.bincount(self.gallery_people, minlength=len(everyone))
        self.rows = np.argsort(self.gallery_people, kind="stable")
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
