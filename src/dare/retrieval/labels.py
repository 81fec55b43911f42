"""Person and camera of each row of embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        asked = whole_labels("query", query.people, query.cameras)
        listed = whole_labels("gallery", gallery.people, gallery.cameras)
        self.kept: NDArray[np.bool_] = listed.people != JUNK
        everyone, dense = np.unique(np.concatenate([asked.people, listed.people[self.kept]]), return_inverse=True)
        self.query_people = dense[: len(asked.people)].astype(np.int64)
        self.gallery_people = dense[len(asked.people) :].astype(np.int64)
        self.query_cameras = asked.cameras
        self.gallery_cameras = listed.cameras[self.kept]
        counts = np.bincount(self.gallery_people, minlength=len(everyone))
        self.rows = np.argsort(self.gallery_people, kind="stable")
        self.offsets = np.concatenate([[0], np.cumsum(counts)])


def whole_labels(name: str, people: ArrayLike, cameras: ArrayLike) -> Labels:
    """Labels as int64. Raises a ValueError if they aren't whole numbers, or people and cameras differ in number."""
    people, cameras = np.asarray(people), np.asarray(cameras)
    if people.ndim != 1 or people.shape != cameras.shape:
        raise ValueError(
            f"expected a person and a camera per {name} row, got shapes {people.shape} and {cameras.shape}"
        )
    for kind, values in (("people", people), ("cameras", cameras)):
        if len(values) and not (np.issubdtype(values.dtype, np.integer) or (values == np.trunc(values)).all()):
            raise ValueError(f"{name} {kind} must be whole numbers, got {values.dtype} {values}")
    return Labels(people.astype(np.int64), cameras.astype(np.int64))
