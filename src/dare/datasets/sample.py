"""What a benchmark is made of: labelled samples, split into train, query and gallery."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

JUNK = -1
"""Person label of boxes that count neither as right nor as wrong (in Market-1501 `-1_...`)."""

DISTRACTOR = 0
"""Person label of boxes that are always wrong answers (in Market-1501 `0000_...`)."""

UNKNOWN = -2
"""Person label of pictures of unknown people: in galleries and streams, never in a benchmark."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to recognise: a still has one image, a tracklet many.

    Attributes:
        images: the picture files, in order of time for a tracklet.
        person: label as published; `JUNK` and `DISTRACTOR` are special.
        camera: label as published.
        time: seconds since 1970, or None.
    """

    images: tuple[Path, ...]
    person: int
    camera: int
    time: float | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError(f"a sample of person {self.person} needs at least one image, got none")


def says_nothing(people: Iterable[int], cameras: Iterable[int] | None) -> str:
    """Why queries and gallery of these people and cameras (None if unknown) can't be scored, or ""."""
    if len({*people} - {JUNK}) == 1:
        return "queries and gallery show one person, so every answer is right; add other people"
    if cameras is not None and len({*cameras}) == 1:
        return (
            "queries and gallery are from one camera, and matches within a camera don't count; "
            "add a second camera, or leave camera numbers out"
        )
    return ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A data set with its protocol's splits; plain data, nothing is read from pictures.

    Attributes:
        name: what reports call it.
        train, query, gallery: the samples of each split, ordered by file name.
        root: the folder that picture ids are relative to; by default the deepest one above all pictures.
        cameras_known: False where each distinct picture was given a camera number of its own.
        names, camera_names: of people and cameras whose label isn't a number.
        numbered_anew: whether a number in train is another person than the same number in query and gallery.
        notes: what the reader saw that a user should know: ignored files, counts that differ.
    """

    name: str
    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    root: Path = None  # type: ignore[assignment]  # never None once made
    cameras_known: bool = True
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    numbered_anew: bool = False
    camera_names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.root is None:
            samples = (*self.train, *self.query, *self.gallery)
            folders = {path.parent for sample in samples for path in sample.images}
            object.__setattr__(self, "root", Path(os.path.commonpath(folders)) if folders else Path())

    def identify(self, samples: Iterable[Sample]) -> tuple[str, ...]:
        """The ids of samples: the path of each one's first image below `root`, with forward slashes."""
        return tuple(sample.images[0].relative_to(self.root).as_posix() for sample in samples)
