"""Market-1501 and data sets in its layout: three folders, labels in the file names.

Source: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015, and the readme of the
data set (v15.09.15): `0002_c1s1_000451_03.jpg` is person 2, camera 1, sequence 1, frame 451, box 3.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from dare.datasets.sample import DISTRACTOR, JUNK, Benchmark, Sample

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})

# Applied to a file's own name only: a parent folder called `run12_c3_backup` says nothing about a person.
NAME = re.compile(r"(?P<person>-1|\d{1,18})_c(?P<camera>\d{1,18})(?:s\d+)?[_.]")

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"

MARKET1501_COUNTS = {TRAIN: 12_936, QUERY: 3_368, GALLERY: 19_732}
"""Images per folder as published; the gallery holds 3,819 junk and 2,798 distractor boxes."""


def market1501(root: str | Path) -> Benchmark:
    """Read Market-1501 from the folder that holds bounding_box_train/, query/ and bounding_box_test/.

    Any other data set in this layout can be read too; counts that differ from the published ones are noted.
    """
    return _read("market1501", Path(root), MARKET1501_COUNTS)


def read_synthetic(root: str | Path) -> Benchmark:
    """Read a benchmark that `dare data synthetic` has drawn."""
    return _read("synthetic", Path(root), {})


def _read(name: str, root: Path, official: dict[str, int]) -> Benchmark:
    missing = [folder for folder in (TRAIN, QUERY, GALLERY) if not (root / folder).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"expected {TRAIN}/, {QUERY}/ and {GALLERY}/ in {root}, found no {', '.join(missing)}; "
            "give the folder that holds all three"
        )
    notes: list[str] = []
    splits = {folder: _split(root / folder, notes) for folder in (TRAIN, QUERY, GALLERY)}
    _refuse_twins(splits[QUERY], splits[GALLERY])
    for folder, expected in official.items():
        if len(splits[folder]) != expected:
            notes.append(f"{folder} has {len(splits[folder])} images, Market-1501 as published {expected}")
    train = tuple(sample for sample in splits[TRAIN] if sample.person not in (JUNK, DISTRACTOR))
    if dropped := len(splits[TRAIN]) - len(train):
        notes.append(f"{TRAIN}: {dropped} pictures of junk and distractors (persons -1 and 0) are not trained on")
    return Benchmark(name, train, splits[QUERY], splits[GALLERY], root, notes=tuple(notes))


def _split(folder: Path, notes: list[str]) -> tuple[Sample, ...]:
    samples, strangers = [], []
    for path in sorted(folder.iterdir()):
        match = NAME.match(path.name)
        if match and path.suffix.lower() in IMAGE_SUFFIXES:
            samples.append(Sample((path,), int(match["person"]), int(match["camera"])))
        else:
            strangers.append(path.name)
    if not samples:
        raise FileNotFoundError(
            f"no picture in {folder} has a name like 0002_c1s1_000451_03.jpg (person_cCAMERA...); "
            f"found {len(strangers)} other files"
        )
    if strangers:
        notes.append(f"{folder.name}: ignored {some(strangers)}")
    return tuple(samples)


def some(names: Sequence[str], shown: int = 3) -> str:
    """How many other files, and what the first are called."""
    more = ", ..." if len(names) > shown else ""
    return f"{len(names)} other file{'s' * (len(names) > 1)} ({', '.join(names[:shown])}{more})"


def _refuse_twins(query: Sequence[Sample], gallery: Sequence[Sample]) -> None:
    """A name says who, where and when, so one name with two contents means that a file was mixed up."""
    in_gallery = {sample.images[0].name: sample.images[0] for sample in gallery}
    for sample in query:
        path = sample.images[0]
        twin = in_gallery.get(path.name)
        if twin and twin.read_bytes() != path.read_bytes():
            raise ValueError(f"two different pictures have one name: {path} and {twin}; rename or remove one")
