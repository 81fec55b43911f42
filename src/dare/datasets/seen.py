"""Whom a network was trained on, as a hash for each person, to tell whether people are new to it.

A person is known by one picture: the one whose file name hashes lowest. So people are found again in any data set that
holds that picture under its name, as those made by `dare data hold-out` do, whatever else it holds.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dare.datasets.sample import JUNK, UNKNOWN, Sample

DIGITS = 16
"""Hexadecimal digits of a hash: eight bytes."""

Seen = Annotated[str, Field(pattern=rf"^([0-9a-f]{{{DIGITS}}})*$")]

READ = 65_536
"""Bytes of a file that are looked at, beside its size."""


def people_seen(pictures: Iterable[tuple[int, Path]]) -> str:
    """A hash for each person, sorted and joined; people whose picture can't be read have none.

    Args:
        pictures: person and file; junk and unknown people don't count.
    """
    return together("".join(_hashes(pictures)))


def together(*seen: str) -> str:
    """The people of several such texts."""
    text = "".join(seen)
    return "".join(sorted({text[start : start + DIGITS] for start in range(0, len(text), DIGITS)}))


def trained_on(samples: Sequence[Sample], seen: str) -> str:
    """A note if people are among those that a network was trained on; "" if they aren't, or nothing is known."""
    if not seen:
        return ""
    known = {seen[start : start + DIGITS] for start in range(0, len(seen), DIGITS)}
    here = _hashes((sample.person, path) for sample in samples for path in sample.images)
    both = len(known & set(here))
    return (
        f"{both} of {len(here)} people here are among those the network was trained on, so figures flatter it, and "
        "what is chosen by them fits new people worse"
        if both
        else ""
    )


def _hashes(pictures: Iterable[tuple[int, Path]]) -> list[str]:
    lowest: dict[int, tuple[bytes, list[Path]]] = {}
    for person, path in pictures:
        if person in (JUNK, UNKNOWN):
            continue
        name = blake2b(path.name.encode(errors="surrogateescape"), digest_size=8).digest()
        best, paths = lowest.get(person, (name, []))
        if name <= best:
            lowest[person] = name, [*(paths if name == best else []), path]
    return [found for _, paths in lowest.values() if (found := min(filter(None, map(_hash, paths)), default=""))]


def _hash(path: Path) -> str:
    """Of a file's size and beginning; "" if it can't be read."""
    try:
        with path.open("rb") as file:
            content = file.read(READ)
        return blake2b(b"%d " % path.stat().st_size + content, digest_size=DIGITS // 2).hexdigest()
    except OSError:
        return ""
