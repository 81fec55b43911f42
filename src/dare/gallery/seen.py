"""Who is in a gallery: per camera and day, and per person."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dare.datasets.listing import in_order
from dare.gallery.lance import LanceGallery


@dataclass(frozen=True, slots=True)
class Seen:
    """Some of a gallery's entries: of a camera on a day, or of a person.

    Attributes:
        name: of the camera or the person; "" if unknown.
        day: in UTC, "" for entries without a time, or if those of all days are counted.
        entries: how many.
        others: people of a camera, each unknown one counted; names of a person's cameras.
        first, last: seconds since 1970, or None.
    """

    name: str
    day: str
    entries: int
    others: tuple[str, ...]
    first: float | None
    last: float | None


def per_camera_and_day(gallery: LanceGallery) -> list[Seen]:
    """How many entries and people each camera has on each day."""
    cameras = gallery.cameras()
    rows = gallery.entries().select(["camera", "time", "person", "name"]).to_pylist()
    return _seen(
        [
            (
                "" if row["camera"] is None else cameras.get(row["camera"], str(row["camera"])),
                calendar(row["time"])[:10],
                "" if row["person"] is None else row["name"] or str(row["person"]),
                row["time"],
            )
            for row in rows
        ]
    )


def per_person(gallery: LanceGallery) -> list[Seen]:
    """How many entries each person has, on which cameras, from when to when."""
    cameras, people = gallery.cameras(), gallery.people()
    rows = gallery.entries().select(["camera", "time", "person"]).to_pylist()
    return _seen(
        [
            (
                "" if row["person"] is None else people.get(row["person"], str(row["person"])),
                "",
                "" if row["camera"] is None else cameras.get(row["camera"], str(row["camera"])),
                row["time"],
            )
            for row in rows
        ]
    )


def _seen(rows: Sequence[tuple[str, str, str, float | None]]) -> list[Seen]:
    groups: dict[tuple[str, str], list[tuple[str, float | None]]] = {}
    for name, day, other, seconds in rows:
        groups.setdefault((name, day), []).append((other, seconds))
    found = []
    for (name, day), members in groups.items():
        times = [seconds for _, seconds in members if seconds is not None]
        others = Counter(other for other, _ in members)
        named = (*in_order(set(others) - {""}), *[""] * others[""])
        found.append(Seen(name, day, len(members), named, min(times, default=None), max(times, default=None)))
    places = {name: place for place, name in enumerate(in_order({name for name, _ in groups}))}
    return sorted(found, key=lambda seen: (places[seen.name], seen.day))


def calendar(seconds: float | None) -> str:
    """Day and time in UTC of seconds since 1970, "" for None and for what is no time of the calendar."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return ""
