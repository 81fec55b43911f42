"""A user's own pictures: a folder, or a CSV file that lists them; camera numbers are optional.

A folder may hold `train/`, `query/` and `gallery/`; without these every picture serves in all three. Inside,
pictures either lie in a folder per person, or have names that begin with the person: `0002_c1_000451.jpg`,
`0002_000451.jpg`. A camera is read from `_c1_` or `c1_` in a picture's own name, for all pictures or for none.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dare.datasets.market import IMAGE_SUFFIXES, some
from dare.datasets.sample import JUNK, Benchmark, Sample

SPLITS = ("train", "query", "gallery")
PERSON_IN_NAME = re.compile(r"(-?\d+)_")
CAMERA_IN_NAME = re.compile(r"(?:^|_)c(\d+)(?:s\d+)?(?=[_.])")
WHOLE_NUMBER = re.compile(r"-?\d{1,18}")  # what 64 bits can hold

WITHOUT_CAMERAS = (
    "no camera numbers: each picture counts as a camera of its own, so only matches with the very same picture "
    "are excluded, nothing else; accuracy is higher than across cameras"
)
ALL_IN_ALL = "no train/, query/ or gallery/: every picture serves as training picture, query and gallery entry"


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    person: str
    camera: str | None
    split: str | None


def folder(root: str | Path) -> Benchmark:
    """Read a folder of pictures, or a CSV file.

    A CSV file has a header and a line per picture: `image` (path, relative to the file), `person`, and
    optionally `camera` and `split` (train, query or gallery; empty: all three). Labels that are not whole numbers are
    numbered in alphabetical order, from 1.

    Raises:
        FileNotFoundError: nothing there, no pictures, or a listed picture is missing.
        ValueError: a picture without a person, a picture listed twice, cameras for some pictures only.
    """
    path = Path(root)
    if path.is_dir():
        base, (rows, notes) = path, _rows_of_folder(path)
    elif path.is_file() and path.suffix.lower() == ".csv":
        base, rows, notes = path.parent, _rows_of_csv(path), []
    else:
        raise FileNotFoundError(f"expected a folder of pictures or a .csv file, found neither at {path}")
    people = _numbered(row.person for row in rows)
    cameras = _cameras(rows)
    if cameras is None:
        notes.append(WITHOUT_CAMERAS)
        own = _numbered_pictures(row.path for row in rows)
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for row in rows:
        camera = cameras[row.camera or ""] if cameras is not None else own[row.path]
        sample = Sample((row.path,), people[row.person], camera)
        for split in [row.split] if row.split else SPLITS:
            samples[split].append(sample)
    train, query, gallery = (tuple(samples[split]) for split in SPLITS)
    name = path.name if path.is_dir() else path.stem
    train = tuple(sample for sample in train if sample.person != JUNK)
    return Benchmark(name, train, query, gallery, base, cameras is not None, tuple(notes))


def _rows_of_folder(root: Path) -> tuple[list[_Row], list[str]]:
    splits = [split for split in SPLITS if (root / split).is_dir()]
    rows: list[_Row] = []
    strangers: list[str] = []
    for split in splits or (None,):
        top = root / split if split else root
        for path in _files(top):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                strangers.append(path.relative_to(root).as_posix())
                continue
            camera = CAMERA_IN_NAME.search(path.name)
            rows.append(_Row(path, _person(path, top), camera[1] if camera else None, split))
    if not rows:
        raise FileNotFoundError(
            f"no pictures in {root}; expected a folder per person, names like 0002_c1_000451.jpg, "
            "or train/, query/ and gallery/ with these"
        )
    notes = [] if splits else [ALL_IN_ALL]
    if strangers:
        notes.append(f"ignored {some(strangers)}")
    return rows, notes


def _files(top: Path, seen: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder in order of their names, hidden ones left out; links to folders are followed once."""
    here = top.resolve()
    for path in sorted(top.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif path.resolve() not in seen | {here}:
            yield from _files(path, seen | {here})


def _person(path: Path, top: Path) -> str:
    """The folder per person if the picture lies in one, else what its name begins with."""
    parts = path.relative_to(top).parts
    if len(parts) > 1:
        return parts[0]
    match = PERSON_IN_NAME.match(path.name)
    if not match:
        raise ValueError(
            f"cannot tell who is on {path}; expected a folder per person, a name like 0002_000451.jpg, or a CSV file"
        )
    return match[1]


def _rows_of_csv(path: Path) -> list[_Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a CSV file in UTF-8 ({error}); save it as one") from error
    if not {"image", "person"} <= set(columns):
        raise ValueError(
            f"{path} needs the columns image and person (camera and split are optional), "
            f"its first line has {', '.join(columns) or 'nothing'}"
        )
    rows = [_csv_row(path, number, line) for number, line in enumerate(lines, start=2)]
    if not rows:
        raise ValueError(f"{path} lists no pictures")
    seen: dict[tuple[Path, str | None], int] = {}
    labels: dict[Path, tuple[int, str, str | None]] = {}
    for number, row in enumerate(rows, start=2):
        first, *known = labels.setdefault(row.path, (number, row.person, row.camera))
        if known != [row.person, row.camera]:
            raise ValueError(
                f"{path}, lines {first} and {number}: {row.path.name} has two people or two cameras; correct one"
            )
        for split in [row.split] if row.split else SPLITS:
            if (row.path, split) in seen:
                raise ValueError(
                    f"{path} lists {row.path.name} twice, in lines {seen[row.path, split]} and {number}; remove one"
                )
            seen[row.path, split] = number
    return rows


def _csv_row(path: Path, number: int, line: dict[str, str | None]) -> _Row:
    image, person, camera, split = ((line.get(name) or "").strip() for name in ("image", "person", "camera", "split"))
    if not image or not person:
        raise ValueError(f"{path}, line {number}: expected an image and a person, got {image!r} and {person!r}")
    if split and split not in SPLITS:
        raise ValueError(f"{path}, line {number}: split must be {', '.join(SPLITS)} or empty, got {split!r}")
    file = Path(os.path.normpath(path.parent / image))
    if not file.is_relative_to(path.parent):
        raise ValueError(f"{path}, line {number}: {image} must lie in the CSV file's folder, or below it")
    if not file.is_file():
        raise FileNotFoundError(f"{path}, line {number}: no picture at {file}")
    return _Row(file, person, camera or None, split or None)


def _cameras(rows: Sequence[_Row]) -> dict[str, int] | None:
    """Camera label -> number; None where no picture has one."""
    without = [row.path for row in rows if row.camera is None]
    if len(without) == len(rows):
        return None
    if without:
        raise ValueError(
            f"{len(rows) - len(without)} pictures have a camera number and {len(without)} have none, "
            f"the first of them {without[0]}; give all of them one, or none"
        )
    return _numbered(row.camera or "" for row in rows)


def _numbered_pictures(paths: Iterable[Path]) -> dict[Path, int]:
    """A number for each distinct picture: copies of one picture, in query and gallery say, share it."""
    numbers: dict[str, int] = {}
    own = {}
    for path in sorted(set(paths)):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(path)
        own[path] = numbers.setdefault(content, len(numbers) + 1)
    return own


def _numbered(labels: Iterable[str]) -> dict[str, int]:
    """Labels as the whole numbers they are, or else numbered in alphabetical order."""
    distinct = sorted(set(labels))
    if all(WHOLE_NUMBER.fullmatch(label) for label in distinct):
        numbers: dict[int, str] = {}
        for label in distinct:
            if int(label) in numbers:
                raise ValueError(f"the labels {numbers[int(label)]} and {label} are one number; write them alike")
            numbers[int(label)] = label
        return {label: number for number, label in numbers.items()}
    return {label: number for number, label in enumerate(distinct, start=1)}
