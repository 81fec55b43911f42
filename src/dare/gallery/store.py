"""What every gallery offers, what a search finds, and what is refused."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dare.gallery.entry import Entry, Filter
from dare.retrieval.distances import Space, entry_exit, entry_sizes
from dare.retrieval.labels import Labels

LONGEST_SQUARE = float(np.finfo(np.float32).max) / 16
"""Of a vector's squared length: below it, sums of squares and products are finite."""


class MismatchError(ValueError):
    """Vectors that cannot belong to a gallery: of another model, size or number of exits, or not finite."""

    code = "model_mismatch"


class GalleryError(ValueError):
    """A gallery that is missing, unreadable or in use."""

    code = "gallery_unusable"


class UnknownGalleryError(GalleryError):
    """There is no gallery."""

    code = "unknown_gallery"


class GalleryLockedError(GalleryError):
    """Another process, or another object of this one, is writing."""

    code = "gallery_locked"


class GalleryChangedError(GalleryError):
    """A gallery that was open is now gone, unreadable, or of another network."""

    code = "gallery_changed"


class Called(Protocol):
    """Names of those people and cameras of a gallery that have one: number -> name."""

    def people(self) -> Mapping[int, str]: ...

    def cameras(self) -> Mapping[int, str]: ...


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked lists, nearest first, (Q, k) each.

    k is smaller than requested if the gallery has no more. Lists that are shorter than others are padded with empty
    ids, people and cameras -1, at an infinite distance.

    Attributes:
        ids: of the entries.
        people: who they show; each unknown person has a number of its own, below -1.
        cameras: -1 if unknown.
        distances: Euclidean.
        complete: (Q,), whether the list holds all entries that the filters allow.
        called: what people and cameras are called; `names` and `camera_names` ask it.
    """

    ids: NDArray[np.str_]
    people: NDArray[np.int64]
    cameras: NDArray[np.int64]
    distances: NDArray[np.float64]
    complete: NDArray[np.bool_]
    called: Called | None = None

    @property
    def names(self) -> NDArray[np.str_]:
        """(Q, k), the people's names, or numbers where they have none; "" if unknown."""
        return _named(self.people, self.called.people() if self.called else {})

    @property
    def camera_names(self) -> NDArray[np.str_]:
        """(Q, k), the cameras' names, or numbers where they have none; "" if unknown."""
        return _named(self.cameras, self.called.cameras() if self.called else {})

    def __len__(self) -> int:
        return len(self.distances)

    def of(self, query: int) -> "Hits":
        """The list of one query, (1, k), without padding."""
        row, length = slice(query, query + 1), int(np.isfinite(self.distances[query]).sum())
        return self._part(row, length, self.complete[row])

    def first(self, count: int) -> "Hits":
        """The lists cut to `count` entries."""
        lengths = np.isfinite(self.distances).sum(1)
        return self._part(slice(None), count, self.complete & (lengths <= count))

    def _part(self, rows: slice, count: int, complete: NDArray[np.bool_]) -> "Hits":
        cut = rows, slice(count)
        return Hits(self.ids[cut], self.people[cut], self.cameras[cut], self.distances[cut], complete, self.called)

    @classmethod
    def nothing(cls) -> "Hits":
        """The empty list of one query, (1, 0)."""
        numbers = np.zeros((1, 0), np.int64)
        return cls(np.zeros((1, 0), np.str_), numbers, numbers, np.zeros((1, 0)), np.ones(1, np.bool_))


def _named(numbers: NDArray[np.int64], names: Mapping[int, str]) -> NDArray[np.str_]:
    called = [names.get(number) or ("" if number < 0 else str(number)) for number in numbers.ravel().tolist()]
    return np.asarray(called, str).reshape(numbers.shape)


class Gallery(Protocol):
    """Entries with one vector per exit, compared with vectors of that exit only; or, if a network's exits share a
    space, with one vector of the last exit, compared with vectors of all exits.

    Attributes:
        model: digest of the network that the vectors came from.
        dimensions: (E,), of the vectors of each exit.
        space: of the network's vectors; "shared" if entries have one vector.
    """

    model: str
    dimensions: tuple[int, ...]
    space: Space

    def add(self, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]) -> None:
        """Add entries, or replace those with the same id; all of them or, if an error is raised, none.

        When it returns the entries are kept, whatever happens to the process.

        Args:
            vectors: (N, D) per exit; in a shared space of the last exit only. `Embeddings.entries` gives them.
            entries: N of them.

        Raises:
            MismatchError: vectors of other exits, sizes or counts than expected, or with NaN or infinity.
            ValueError: one id twice.
        """
        ...

    def remove(self, ids: Iterable[str]) -> int:
        """Remove entries; returns how many there were. Their bytes may stay on disk: see `forget`."""
        ...

    def forget(self, *, people: Iterable[int | str] = (), ids: Iterable[str] = (), before: float | None = None) -> int:
        """Remove people's entries, entries by id and old ones, with every byte of them; returns how many there were.

        Args:
            people: by number or name.
            before: in seconds since 1970; entries without a time stay.
        """
        ...

    def relabel(self, people: Mapping[int | str, str]) -> int:
        """Give people another label, a name or a number as text; returns of how many entries.

        Those who get the label of another one become that person. A label is read as in data sets: spaces around it
        don't count, and "007" is 7.
        """
        ...

    def search(self, exit: int, vectors: NDArray[np.floating], count: int, *, where: Filter = None) -> Hits:
        """The nearest entries by one exit's vectors, exactly; equal distances in the order they were added.

        Args:
            exit: of the queries' vectors, counted from 0.
            vectors: (Q, D).
            count: entries per query, at most.
            where: which entries may be found.

        Raises:
            ValueError: no such exit, or a count below 1.
            MismatchError: vectors of another size, or with NaN or infinity.
        """
        ...

    def get(self, ids: Iterable[str]) -> dict[str, Entry]:
        """The entries with these ids; ids that are not there are left out."""
        ...

    def ids(self) -> list[str]:
        """Of all entries, in the order they were added."""
        ...

    def pictures(self) -> list[str]:
        """Of all entries, in the order they were added."""
        ...

    def vectors(self, exit: int) -> NDArray[np.float32]:
        """(N, D), what an exit's vectors are compared with, in the order the entries were added; read-only."""
        ...

    def labels(self) -> Labels:
        """Of all entries, in the order they were added, as scoring takes them: -1 for unknown people and cameras."""
        ...

    def count(self) -> int:
        """How many entries there are."""
        ...

    def close(self) -> None:
        """Release files and locks. After changes this first writes a second copy, so that the gallery opens fast."""
        ...


def check_vectors(
    gallery: Gallery, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]
) -> dict[int, NDArray[np.float32]]:
    """What a gallery may store, exit -> (N, D) float32; raises as `Gallery.add` does."""
    exits = entry_sizes(gallery.space, gallery.dimensions)
    if len(vectors) != len(exits):
        kept = f"{len(exits)} exits" if gallery.space == "own" else "the last exit only, whose space all exits share"
        raise MismatchError(f"the gallery holds vectors of {kept}, got {len(vectors)}")
    arrays = {exit: check_exit(gallery, exit, rows) for exit, rows in zip(exits, vectors, strict=True)}
    for exit, rows in arrays.items():
        if len(rows) != len(entries):
            raise MismatchError(f"expected one vector per entry at exit {exit}, got {len(rows)} for {len(entries)}")
    seen = Counter(entry.id for entry in entries)
    if len(seen) < len(entries):
        raise ValueError(f"two entries of one call have the id {seen.most_common(1)[0][0]}")
    return arrays


def check_exit(gallery: Gallery, exit: int, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors (N, D) of one exit, as the gallery compares them."""
    kept_exit(gallery, exit)  # raises if there is no such exit
    array = np.asarray(vectors)
    masked = isinstance(vectors, np.ma.MaskedArray)
    if masked or array.dtype.kind not in "fiu":
        kind = "a masked array" if masked else str(array.dtype)
        raise MismatchError(f"expected vectors of real numbers at exit {exit}, got {kind}")
    if array.ndim != 2 or array.shape[1] != gallery.dimensions[exit]:
        raise MismatchError(
            f"expected vectors (N, {gallery.dimensions[exit]}) at exit {exit}, got shape {array.shape}; "
            "another network made them"
        )
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(array, np.float32)
        squares = np.einsum("nd,nd->n", rounded, rounded)
    unusable = ~(squares < LONGEST_SQUARE) | (squares == 0)
    if unusable.any():
        row = int(unusable.argmax())
        if not np.isfinite(array[row]).all():
            problem = "contains NaN or infinity"
        else:
            problem = "is zero, or nearly" if squares[row] == 0 else "is too long"
        raise MismatchError(f"vector {row} of exit {exit} {problem}; check the pictures and the network")
    return rounded


def kept_exit(gallery: Gallery, exit: int) -> int:
    """The exit of the entries' vectors that an exit's vectors are compared with.

    Raises:
        ValueError: no such exit.
    """
    if not 0 <= exit < len(gallery.dimensions):
        raise ValueError(f"the gallery's exits are 0 to {len(gallery.dimensions) - 1}, got {exit}")
    return entry_exit(gallery.space, exit, len(gallery.dimensions))
