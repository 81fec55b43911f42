"""An entry of a gallery, and filters over entries."""

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dare.datasets.listing import WHOLE_NUMBER, label_number, normal_label

LONGEST_ID = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture in a gallery.

    Attributes:
        id: its name, of at most 4,096 bytes; adding an id again replaces the entry.
        person: who it shows; None if unknown, which counts as a person of its own.
        camera: which camera took it, or None.
        time: seconds since 1970, or None.
        picture: where the picture is, or "".
        name, camera_name: what the person and the camera are called, or "" where their label is a number.
    """

    id: str
    person: int | None = None
    camera: int | None = None
    time: float | None = None
    picture: str = ""
    name: str = ""
    camera_name: str = ""

    def __post_init__(self) -> None:
        for kind in ("id", "picture", "name", "camera_name"):
            _check_text(kind, getattr(self, kind))
        if not self.id:
            raise ValueError("an entry needs an id, got an empty one")
        for kind, field in (("people", "person"), ("cameras", "camera")):
            if (number := getattr(self, field)) is None:
                continue
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
                raise TypeError(f"expected {kind} as whole numbers, got {number!r} for {self.id}")
            if not 0 <= number < 2**62:
                raise ValueError(f"{kind} are numbered from 0, got {number} for {self.id}; use None if unknown")
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
    if len(text.encode()) > LONGEST_ID and kind != "picture":
        raise ValueError(f"the {kind} of an entry has at most {LONGEST_ID} bytes, got one that begins {text[:40]!r}")
    if "\0" in text:
        raise ValueError(f"the {kind} {text!r} contains a NUL character; remove it")


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
    """Which entries a search may find. People and cameras are given by number or by name.

    Attributes:
        cameras: only these.
        not_cameras: all but these; entries without a camera are kept.
        people: only these.
        not_seen: a person and a camera; all but this person's entries of this camera, which the paper's protocol leaves
            out for a query of that person and camera.
        since, until: seconds since 1970, both included; entries without a time are left out.
        not_ids: all but these few entries, such as the query itself.
    """

    cameras: tuple[int | str, ...] | None = None
    not_cameras: tuple[int | str, ...] = ()
    people: tuple[int | str, ...] | None = None
    not_seen: tuple[int, int] | None = None
    since: float | None = None
    until: float | None = None
    not_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("cameras", "not_cameras", "people", "not_seen", "not_ids"):
            if (value := getattr(self, name)) is not None:
                if isinstance(value, str):
                    raise TypeError(f"expected several {name}, got the text {value!r}; give a list")
                object.__setattr__(self, name, tuple(value) if name == "not_ids" else numbered(value))
        for bound in (self.since, self.until):
            if bound is not None and np.isnan(bound):
                raise ValueError("a time is a number of seconds since 1970, got NaN")


def numbered(labels: Iterable[int | str]) -> tuple[int, ...]:
    """The numbers of people or cameras, some of which are given by name."""
    if isinstance(labels, str):
        raise TypeError(f"expected several labels, got the text {labels!r}; give a list, [{labels!r}]")
    return tuple(label_number(label) if isinstance(label, str) else label for label in labels)


def relabelled(people: Mapping[int | str, str]) -> dict[int, tuple[int, str]]:
    """Person -> number and name from now on, of people who get another label; "" names one whose label is a number."""
    labels = [normal_label(label) for label in people.values()]
    for label in labels:
        _check_text("name", label)
        if not label or (label.startswith("-") and WHOLE_NUMBER.fullmatch(label)):
            raise ValueError(f"expected a person's name, or a number from 0 on, got {label!r}")
    new = [(label_number(label), "" if WHOLE_NUMBER.fullmatch(label) else label) for label in labels]
    return dict(zip(numbered(people), new, strict=True))


Filter = Where | Sequence[Where | None] | None
"""Of a search: for all its queries, or one per query; None allows every entry."""


def many(ids: Iterable[str]) -> Iterable[str]:
    """Refuses one id, whose letters would be taken for ids."""
    if isinstance(ids, str):
        raise TypeError(f"expected several ids, got the text {ids!r}; give a list, [{ids!r}]")
    return ids
