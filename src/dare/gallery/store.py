"""What every gallery offers: vectors at every exit, found again by the vectors of one exit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture in a gallery.

    Attributes:
        id: its name; adding an id again replaces the entry.
        person: whom it shows; None for somebody unknown, who counts as a person of their own.
        camera: which camera took it, or None.
        time: seconds since 1970, or None.
        picture: where the picture is, or "".
    """

    id: str
    person: int | None = None
    camera: int | None = None
    time: float | None = None
    picture: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("an entry needs an id, got an empty one")
        if self.person is not None and self.person < 0:
            raise ValueError(f"people are numbered from 0, got {self.person} for {self.id}; None is somebody unknown")


@dataclass(frozen=True, slots=True)
class Where:
    """Which entries a search looks at; what is not given does not restrict it.

    Attributes:
        cameras: only these.
        not_cameras: all but these; entries without a camera stay.
        people: only these.
        since, until: seconds since 1970, both included; entries without a time fall out.
    """

    cameras: tuple[int, ...] | None = None
    not_cameras: tuple[int, ...] = ()
    people: tuple[int, ...] | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked lists, nearest first, (Q, k) each; k is smaller than asked for where the gallery has no more.

    Attributes:
        ids: of the entries.
        people: whom they show; each unknown person has a negative number of their own.
        cameras: -1 where there is none.
        distances: Euclidean.
        complete: the lists hold all entries that the search could have found.
    """

    ids: NDArray[np.str_]
    people: NDArray[np.int64]
    cameras: NDArray[np.int64]
    distances: NDArray[np.float64]
    complete: bool


class Gallery(Protocol):
    """Entries with one vector per exit; a vector is compared only with vectors of its own exit.

    Attributes:
        model: digest of the network that the vectors came from.
        dimensions: (E,), of the vectors of each exit.
    """

    model: str
    dimensions: tuple[int, ...]

    def add(self, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]) -> None:
        """Add entries, or replace those with the same id; all of them or, if an error is raised, none.

        Args:
            vectors: (N, D) per exit.
            entries: N of them.
        """
        ...

    def remove(self, ids: Sequence[str]) -> int:
        """Remove entries; returns how many of them there were."""
        ...

    def search(self, exit: int, vectors: NDArray[np.floating], count: int, *, where: Where | None = None) -> Hits:
        """The nearest entries by one exit's vectors, exactly; equal distances in the order they were added.

        Args:
            exit: counted from 0.
            vectors: (Q, D).
            count: how many per query, at most.
        """
        ...

    def count(self) -> int:
        """How many entries there are."""
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...


class MismatchError(ValueError):
    """Vectors that cannot belong to a gallery: of another model, size or number of exits, or not numbers."""


def check_vectors(
    gallery: Gallery, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]
) -> list[NDArray[np.float32]]:
    """What a gallery may store: (N, D) float32 per exit.

    Raises:
        MismatchError: other numbers of exits, entries or dimensions than the gallery has, NaN or infinity.
        ValueError: one id twice.
    """
    if len(vectors) != len(gallery.dimensions):
        raise MismatchError(f"the gallery holds vectors of {len(gallery.dimensions)} exits, got {len(vectors)}")
    arrays = [
        check_exit(gallery, exit, rows, None if len(rows) == len(entries) else len(entries))
        for exit, rows in enumerate(vectors)
    ]
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ValueError(f"two entries of one call have the id {entry.id}")
        seen.add(entry.id)
    return arrays


def check_exit(
    gallery: Gallery, exit: int, vectors: NDArray[np.floating], expected: int | None = None
) -> NDArray[np.float32]:
    """Vectors (N, D) of one exit, as the gallery compares them."""
    if not 0 <= exit < len(gallery.dimensions):
        raise ValueError(f"the gallery's exits are 0 to {len(gallery.dimensions) - 1}, got {exit}")
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != gallery.dimensions[exit] or expected is not None:
        rows = "N" if expected is None else expected
        raise MismatchError(
            f"expected vectors ({rows}, {gallery.dimensions[exit]}) at exit {exit}, got shape {array.shape}; "
            "they are of another network"
        )
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(rounded).all():
        row = int((~np.isfinite(rounded)).any(1).argmax())
        raise MismatchError(f"vector {row} of exit {exit} contains NaN or infinity")
    return rounded
