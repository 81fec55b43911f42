"""What every gallery offers: vectors at every exit, found again by the vectors of one exit."""

import numbers
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LONGEST_ID = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture in a gallery.

    Attributes:
        id: its name, of at most 4,096 bytes; adding an id again replaces the entry.
        person: whom it shows; None for somebody unknown, who counts as a person of their own.
        camera: which camera took it, or None.
        time: seconds since 1970, or None.
        picture: where the picture is, or "".
        name: what the person is called, or "".
    """

    id: str
    person: int | None = None
    camera: int | None = None
    time: float | None = None
    picture: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for kind in ("id", "picture", "name"):
            _check_text(kind, getattr(self, kind))
        if not self.id:
            raise ValueError("an entry needs an id, got an empty one")
        if len(self.id.encode()) > LONGEST_ID:
            raise ValueError(f"an id has at most {LONGEST_ID} bytes, got {self.id[:40]!r} and so on")
        for kind, field in (("people", "person"), ("cameras", "camera")):
            if (number := getattr(self, field)) is None:
                continue
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
                raise TypeError(f"{kind} are numbered by whole numbers, got {number!r} for {self.id}")
            if not 0 <= number < 2**62:
                raise ValueError(f"{kind} are numbered from 0, got {number} for {self.id}; None is an unknown one")
            object.__setattr__(self, field, int(number))
        if self.time is not None:
            object.__setattr__(self, "time", _seconds(self.time, self.id))


def _check_text(kind: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"the {kind} of an entry is text, got {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the {kind} {text!r} is no UTF-8 text; rename the file") from error
    if "\0" in text:
        raise ValueError(f"the {kind} {text!r} has a NUL in it; give text without")


def _seconds(time: object, id: str) -> float:
    if isinstance(time, bool) or not isinstance(time, numbers.Real):
        raise TypeError(f"a time is a number of seconds since 1970, got {time!r} for {id}")
    try:
        seconds = float(time)
    except OverflowError:
        seconds = np.inf
    if not np.isfinite(seconds):
        raise ValueError(f"a time is a number of seconds since 1970, got {seconds} for {id}")
    return seconds


@dataclass(frozen=True, slots=True)
class Where:
    """Which entries a search looks at; what is not given does not restrict it.

    Attributes:
        cameras: only these.
        not_cameras: all but these; entries without a camera stay.
        people: only these.
        not_seen: a person and a camera; all but this person's entries of this camera. The paper's protocol leaves out
            the query's own in this way, and knows who the query is.
        since, until: seconds since 1970, both included; entries without a time fall out.
        not_ids: all but these few entries: the query itself, say.
    """

    cameras: tuple[int, ...] | None = None
    not_cameras: tuple[int, ...] = ()
    people: tuple[int, ...] | None = None
    not_seen: tuple[int, int] | None = None
    since: float | None = None
    until: float | None = None
    not_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("cameras", "not_cameras", "people", "not_seen", "not_ids"):
            if (value := getattr(self, name)) is not None:
                if isinstance(value, str):
                    raise TypeError(f"expected several {name}, got the text {value!r}; give a list")
                object.__setattr__(self, name, tuple(value))
        for bound in (self.since, self.until):
            if bound is not None and np.isnan(bound):
                raise ValueError("a time is a number of seconds since 1970, got NaN")


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


LONGEST_SQUARE = float(np.finfo(np.float32).max) / 16
"""Of a vector's squared length: sums of squares and products stay finite below."""


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

        When it returns the entries are kept, whatever happens to the process.

        Args:
            vectors: (N, D) per exit.
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
            exit: counted from 0.
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

    def vectors(self, exit: int) -> NDArray[np.float32]:
        """(N, D), of all entries at one exit, in the order they were added."""
        ...

    def labels(self) -> GalleryLabels:
        """Whom all entries show and where, in the order they were added."""
        ...

    def count(self) -> int:
        """How many entries there are."""
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...


class MismatchError(ValueError):
    """Vectors that cannot belong to a gallery: of another model, size or number of exits, or not numbers."""

    code = "model_mismatch"


class GalleryError(ValueError):
    """A gallery that is not there, cannot be read, or is not free."""

    code = "gallery_unusable"


class UnknownGalleryError(GalleryError):
    """There is no gallery."""

    code = "unknown_gallery"


class GalleryLockedError(GalleryError):
    """Another process, or another object of this one, is writing."""

    code = "gallery_locked"


class GalleryChangedError(GalleryError):
    """A gallery that was open is gone, unreadable, or of another network now."""

    code = "gallery_changed"


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
    uri: str | Path, *, model: str, dimensions: Sequence[int], model_path: Sequence[str] = (), names: Sequence[str] = ()
) -> Gallery:
    """Make an empty gallery in a folder, and open it.

    Args:
        model: digest of the network whose vectors it will hold.
        dimensions: (E,), of the vectors of each exit.
        model_path: where the network is, for those who open the gallery later; several for a cascade.
        names: of the exits.

    Raises:
        GalleryError: there is something already.
    """
    from dare.gallery.lance import create

    for kind, texts in (("model_path", model_path), ("names", names)):
        if isinstance(texts, str):
            raise TypeError(f"expected several texts as {kind}, got {texts!r}; give a list")
    return create(_folder(uri), model, dimensions, model_path, names)


def _folder(uri: str | Path) -> Path:
    path = Path(uri)
    if path.parts and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:", path.parts[0]):  # a Path makes s3:/x of s3://x
        raise GalleryError(f"{uri} is an address, a gallery is in a folder of this machine; give its path")
    return path


def many(ids: Iterable[str]) -> Iterable[str]:
    """Ids as they are, unless they are one: its letters would be taken for ids."""
    if isinstance(ids, str):
        raise TypeError(f"expected several ids, got the text {ids!r}; give a list, [{ids!r}]")
    return ids


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
    arrays = [check_exit(gallery, exit, rows) for exit, rows in enumerate(vectors)]
    for exit, rows in enumerate(arrays):
        if len(rows) != len(entries):
            raise MismatchError(f"expected one vector per entry at exit {exit}, got {len(rows)} for {len(entries)}")
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ValueError(f"two entries of one call have the id {entry.id}")
        seen.add(entry.id)
    return arrays


def check_exit(gallery: Gallery, exit: int, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors (N, D) of one exit, as the gallery compares them."""
    if not 0 <= exit < len(gallery.dimensions):
        raise ValueError(f"the gallery's exits are 0 to {len(gallery.dimensions) - 1}, got {exit}")
    array = np.asarray(vectors)
    if array.dtype.kind not in "fiu" or isinstance(vectors, np.ma.MaskedArray):
        kind = "a masked array" if isinstance(vectors, np.ma.MaskedArray) else str(array.dtype)
        raise MismatchError(f"expected vectors of real numbers at exit {exit}, got {kind}")
    if array.ndim != 2 or array.shape[1] != gallery.dimensions[exit]:
        raise MismatchError(
            f"expected vectors (N, {gallery.dimensions[exit]}) at exit {exit}, got shape {array.shape}; "
            "they are of another network"
        )
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        squares = np.einsum("nd,nd->n", rounded, rounded)
    unusable = ~(squares < LONGEST_SQUARE) | (squares == 0)
    if unusable.any():
        row = int(unusable.argmax())
        finite = np.isfinite(array[row]).all()
        length = "is zero, or nearly" if squares[row] == 0 else "is too long"
        problem = length if finite else "contains NaN or infinity"
        raise MismatchError(f"vector {row} of exit {exit} {problem}; check the pictures and the network")
    return rounded
