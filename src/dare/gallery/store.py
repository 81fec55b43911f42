"""What every gallery offers: vectors at every exit, found again by the vectors of one exit."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dare.gallery.entry import Entry, Where
from dare.gallery.errors import GalleryError
from dare.retrieval.distances import Space


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked lists, nearest first, (Q, k) each.

    k is smaller than asked for where the gallery has no more. Where lists of several queries differ in length the
    shorter ones are filled up with empty ids, people and cameras -1, at an infinite distance.

    Attributes:
        ids: of the entries.
        people: whom they show; each unknown person has a negative number of their own, below -1.
        cameras: -1 where there is none.
        distances: Euclidean.
        complete: (Q,), whether the list holds all entries that the search could have found.
    """

    ids: NDArray[np.str_]
    people: NDArray[np.int64]
    cameras: NDArray[np.int64]
    distances: NDArray[np.float64]
    complete: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.distances)

    def of(self, query: int) -> "Hits":
        """The list of one query, (1, k), without what it was filled up with."""
        row = slice(query, query + 1)
        length = int(np.isfinite(self.distances[query]).sum())
        return Hits(
            self.ids[row, :length],
            self.people[row, :length],
            self.cameras[row, :length],
            self.distances[row, :length],
            self.complete[row],
        )

    def first(self, count: int) -> "Hits":
        """The lists cut to so many entries."""
        lengths, cut = np.isfinite(self.distances).sum(1), slice(0, count)
        return Hits(
            self.ids[:, cut],
            self.people[:, cut],
            self.cameras[:, cut],
            self.distances[:, cut],
            self.complete & (lengths <= count),
        )

    @classmethod
    def nothing(cls) -> "Hits":
        """The empty list of one query, (1, 0)."""
        numbers = np.zeros((1, 0), np.int64)
        return cls(np.zeros((1, 0), np.str_), numbers, numbers, np.zeros((1, 0)), np.ones(1, np.bool_))


@dataclass(frozen=True, slots=True)
class GalleryLabels:
    """Labels of all entries, (N,) each, as scoring takes them: unknown people are junk (-1), unknown cameras -1."""

    people: NDArray[np.int64]
    cameras: NDArray[np.int64]


class Gallery(Protocol):
    """Entries with one vector per exit, which is compared with vectors of its own exit alone; or, where a network's
    exits share a space, with one vector of the last exit, which vectors of all exits are compared with.

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
            vectors: (N, D) per exit; in a shared space of the last exit alone. `Embeddings.entries` gives them.
            entries: N of them.

        Raises:
            MismatchError: vectors of other exits, sizes or numbers than the gallery's, with NaN or infinity.
            ValueError: one id twice.
        """
        ...

    def remove(self, ids: Iterable[str]) -> int:
        """Remove entries; returns how many of them there were. Their bytes may stay on disk: see `forget`."""
        ...

    def forget(self, *, people: Iterable[int] = (), ids: Iterable[str] = ()) -> int:
        """Remove people's entries, and entries by id, with every byte of them; returns how many there were."""
        ...

    def search(
        self,
        exit: int,
        vectors: NDArray[np.floating],
        count: int,
        *,
        where: Where | Sequence[Where | None] | None = None,
    ) -> Hits:
        """The nearest entries by one exit's vectors, exactly; equal distances in the order they were added.

        Args:
            exit: that the queries' vectors are of, counted from 0.
            vectors: (Q, D).
            count: how many per query, at most.
            where: which entries count, for all queries or one per query.

        Raises:
            ValueError: an exit that does not exist, or a count below 1.
            MismatchError: vectors of another size, with NaN or infinity.
        """
        ...

    def get(self, ids: Iterable[str]) -> dict[str, Entry]:
        """The entries with these ids, as far as there are any."""
        ...

    def ids(self) -> list[str]:
        """Of all entries, in the order they were added."""
        ...

    def pictures(self) -> list[str]:
        """Where those of all entries are, in the order they were added."""
        ...

    def vectors(self, exit: int) -> NDArray[np.float32]:
        """(N, D), what vectors of an exit are compared with: of all entries, in the order they were added."""
        ...

    def labels(self) -> GalleryLabels:
        """Whom all entries show and where, in the order they were added."""
        ...

    def count(self) -> int:
        """How many entries there are."""
        ...

    def close(self) -> None:
        """Let go of files and locks.

        After changes the rows are first written once more, so that the gallery opens fast: a second per 50,000 entries.
        """
        ...


def open_gallery(uri: str | Path) -> Gallery:
    """Open the gallery in a folder, which `dare index` or `create_gallery` made.

    Any number of processes may read a gallery while one writes. The first change that is made through the object
    takes the lock of the writer; `close` gives it back.

    Raises:
        GalleryError: no gallery there, or one that cannot be read.
    """
    from dare.gallery.lance import LanceGallery

    return LanceGallery(_folder(uri))


def create_gallery(
    uri: str | Path,
    *,
    model: str,
    dimensions: Sequence[int],
    model_path: Sequence[str] = (),
    names: Sequence[str] = (),
    space: Space = "own",
) -> Gallery:
    """Make an empty gallery in a folder, and open it.

    Args:
        model: digest of the network whose vectors it will hold.
        dimensions: (E,), of the vectors of each exit.
        model_path: where the network is, for those who open the gallery later; several for a cascade.
        names: of the exits.
        space: of the network's vectors, `runner.space`; in a "shared" one an entry has one vector.

    Raises:
        GalleryError: there is something already.
    """
    from dare.gallery.creation import create

    for kind, texts in (("model_path", model_path), ("names", names)):
        if isinstance(texts, str):
            raise TypeError(f"expected several texts as {kind}, got {texts!r}; give a list")
    return create(_folder(uri), model, dimensions, model_path, names, space)


def _folder(uri: str | Path) -> Path:
    path = Path(uri)
    if path.parts and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:", path.parts[0]):  # a Path makes s3:/x of s3://x
        raise GalleryError(f"{uri} is an address, a gallery is in a folder of this machine; give its path")
    return path
