"""A picture in a gallery with what is known about it, filters over entries, and their labels as arrays."""

import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.retrieval.labels import Labels

LONGEST_ID = 4096
UNKNOWN = -1
UNKNOWN_PEOPLE = -2
"""The first of the numbers, going down, that tell unknown people apart."""


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
        raise ValueError(f"the {kind} {text!r} isn't valid UTF-8; rename the file") from error
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


def many(ids: Iterable[str]) -> Iterable[str]:
    """Ids as they are, unless they are one: its letters would be taken for ids."""
    if isinstance(ids, str):
        raise TypeError(f"expected several ids, got the text {ids!r}; give a list, [{ids!r}]")
    return ids


class Columns:
    """What searches read of N entries.

    Args:
        people, cameras: (N,), -1 where unknown.
        times: (N,), NaN where unknown.

    Attributes:
        people: (N,), the unknown ones numbered from -2 down.
        cameras, times: as given.
    """

    def __init__(
        self,
        people: Sequence[int] | NDArray[np.int64],
        cameras: Sequence[int] | NDArray[np.int64],
        times: Sequence[float] | NDArray[np.float64],
    ) -> None:
        self.people = np.array(people, np.int64)
        unknown = self.people == UNKNOWN
        self.people[unknown] = UNKNOWN_PEOPLE - np.arange(unknown.sum())
        self.cameras, self.times = np.asarray(cameras, np.int64), np.asarray(times, np.float64)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Columns":
        """Those of entries."""
        rows = [
            (
                UNKNOWN if e.person is None else e.person,
                UNKNOWN if e.camera is None else e.camera,
                np.nan if e.time is None else e.time,
            )
            for e in entries
        ]
        people, cameras, times = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(people, cameras, times)

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

    def labels(self) -> Labels:
        """As `Gallery.labels`."""
        return Labels(np.maximum(self.people, UNKNOWN), self.cameras)
