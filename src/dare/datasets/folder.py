"""A user's own pictures: a folder, or a CSV file that lists them; camera numbers are optional.

A folder may hold `train/`, `query/` and `gallery/`; without these every picture serves in all three. Inside,
pictures either lie in a folder per person, or have names that begin with the person: `0002_c1_000451.jpg`,
`0002_000451.jpg`. A camera is read from `_c1_` or `c1_` in a picture's own name, for all pictures or for none.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dare.datasets.kinds import MAX_BYTES, misplaced
from dare.datasets.listing import OUTSIDE, SPLITS, WHOLE_NUMBER, Row, label_number, normal_label, rows_of_csv, within
from dare.datasets.market import IMAGE_SUFFIXES, NAME, some
from dare.datasets.sample import JUNK, UNKNOWN, Benchmark, Sample
from dare.datasets.splits import is_left_out, splits_of

PERSON_IN_NAME = re.compile(r"(-?\d+)_")
CAMERA_IN_NAME = re.compile(r"(?:^|_)c(\d+)(?:s\d+)?(?=[_.])")

DEEPEST = 64
"""Folders in folders."""

WITHOUT_CAMERAS = (
    "no camera numbers: each picture counts as a camera of its own, so only matches with the very same picture "
    "are excluded, nothing else; accuracy is higher than across cameras"
)
ALL_IN_ALL = "no train/, query/ or gallery/: every picture serves as training picture, query and gallery entry"


def folder(root: str | Path, *, unlabelled: bool = False, outside: bool = False) -> Benchmark:
    """Read a folder of pictures, or a CSV file.

    A CSV file has a header and a line per picture: `image` (path, relative to the file), `person`, and
    optionally `camera`, `time` (seconds since 1970, or ISO 8601) and `split` (train, query or gallery; empty: all
    three). Labels that are not whole numbers become large numbers made from the label, the same in every data set.

    Args:
        unlabelled: whether pictures may lack a person, who then is `UNKNOWN`.
        outside: whether links, and paths in a CSV file, may lead out of the folder.

    Raises:
        FileNotFoundError: nothing there, no pictures, or a listed picture is missing.
        ValueError: a picture without a person, a picture listed twice, cameras for some pictures only, a folder that
            looks like a misspelt split or holds several people.
    """
    path = Path(root)
    if path.is_dir():
        base, (rows, notes) = path, _rows_of_folder(path, unlabelled, outside)
    elif path.is_file() and path.suffix.lower() == ".csv":
        rows, base, notes = rows_of_csv(path, unlabelled=unlabelled, outside=outside)
    else:
        expected = "a folder of pictures or a .csv file"
        raise FileNotFoundError(misplaced(path, expected) or f"expected {expected}, found neither at {path}")
    people = _numbered(path, ((row.person, row) for row in rows if row.person is not None))
    if negative := [row for row in rows if row.person is not None and people[row.person] < JUNK]:
        raise ValueError(
            f"people are numbered from 0 (-1 is junk), {path} has person {negative[0].person} "
            f"({negative[0]}); correct it"
        )
    cameras = _cameras(path, rows)
    if cameras is None:
        notes.append(WITHOUT_CAMERAS)
        own = _numbered_pictures(row.path for row in rows)
    samples: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for row in rows:
        camera = cameras[row.camera or ""] if cameras is not None else own[row.path]
        person = UNKNOWN if row.person is None else people[row.person]
        sample = Sample((row.path,), person, camera, row.time)
        for split in [row.split] if row.split else SPLITS:
            samples[split].append(sample)
    train, query, gallery = (tuple(samples[split]) for split in SPLITS)
    name = path.name if path.is_dir() else path.stem
    train = tuple(sample for sample in train if sample.person not in (JUNK, UNKNOWN))
    names = {number: label for label, number in people.items() if not WHOLE_NUMBER.fullmatch(label)}
    places = {number: label for label, number in (cameras or {}).items() if not WHOLE_NUMBER.fullmatch(label)}
    return Benchmark(name, train, query, gallery, base, cameras is not None, tuple(notes), names, camera_names=places)


def refuse_mixtures(benchmark: Benchmark) -> None:
    """Refuse folders that were taken for a person while their pictures' names, as in Market-1501, tell of several."""
    named: dict[int, str] = {}
    for sample in benchmark.gallery + benchmark.query + benchmark.train:
        path = sample.images[0]
        if (match := NAME.match(path.name)) and named.setdefault(sample.person, match["person"]) != match["person"]:
            both = f"{named[sample.person]} and {match['person']}"
            raise ValueError(
                f"{path.parent} would be taken for a person, but its pictures' names begin with several, such as "
                f"{both}; give that folder itself, or --layout folder if it is one"
            )


def pictures_below(root: str | Path) -> list[Path]:
    """All pictures below a folder, ordered by name, labelled or not; a FileNotFoundError if there are none."""
    top = Path(root)
    found = [path for path in _files(top, within(top)) if path.suffix.lower() in IMAGE_SUFFIXES] if top.is_dir() else []
    if not found:
        expected = "a folder of pictures"
        raise FileNotFoundError(misplaced(top, expected) or f"expected {expected}, found none below {top}")
    return found


def _rows_of_folder(root: Path, unlabelled: bool, outside: bool) -> tuple[list[Row], list[str]]:
    splits = splits_of(root)
    rows: list[Row] = []
    strangers: list[str] = []
    left_out: set[str] = set()
    parts: Sequence[tuple[str | None, Path]] = list(splits.items()) or [(None, root)]
    for split, top in parts:
        for path in _files(top, None if outside else within(root), left_out):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                strangers.append(path.relative_to(root).as_posix())
                continue
            camera = CAMERA_IN_NAME.search(path.name)
            rows.append(Row(path, _person(path, top, unlabelled), camera[1] if camera else None, split))
    if not rows:
        raise FileNotFoundError(
            misplaced(root, "a data set")
            or f"no pictures in {root}; expected a folder per person, names like 0002_c1_000451.jpg, "
            "or train/, query/ and gallery/ with these"
        )
    notes = [_taken(rows, parts)] if splits else [_taken(rows, parts), ALL_IN_ALL]
    if strangers:
        notes.append(f"ignored {some(strangers)}: not pictures")
    beside = [path for path in sorted(root.iterdir()) if splits and path not in splits.values()]
    left_out |= {path.name for path in beside if is_left_out(path)}
    if others := [f"{path.name}/" if path.is_dir() else path.name for path in beside if not is_left_out(path)]:
        notes.append(f"ignored beside {'/, '.join(path.name for path in splits.values())}/: {', '.join(others)}")
    if left_out:
        notes.append(f"passed over what is hidden, or made by a NAS or an archiver: {', '.join(sorted(left_out))}")
    return rows, notes


def _taken(rows: Sequence[Row], parts: Sequence[tuple[str | None, Path]]) -> str:
    """What a folder was read as."""
    tops = dict(parts)
    known = [row for row in rows if row.person is not None]
    in_folders = sum(row.path.parent != tops[row.split] for row in known)
    sources = {
        f"{in_folders} by the folders they lie in": in_folders,
        f"{len(known) - in_folders} by the beginnings of their names": len(known) - in_folders,
        f"{len(rows) - len(known)} of unknown people": len(rows) - len(known),
    }
    people = len({row.person for row in known})
    where = f" in {', '.join(f'{top.name}/' for split, top in parts)}" if parts[0][0] else ""
    cameras = len({row.camera for row in rows} - {None})
    seen_by = f", of {_several(cameras, 'camera', 'cameras')} by c and a number in their names" if cameras else ""
    told = ", ".join(source for source, count in sources.items() if count)
    counts = f"{_several(len(rows), 'picture', 'pictures')} of {_several(people, 'person', 'people')}"
    return f"read as a folder{where}: {counts}, {told}{seen_by}"


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _files(top: Path, is_allowed: Callable[[Path], bool] | None = None, left_out: set[str] | None = None) -> list[Path]:
    """All files below a folder, ordered by name; links to folders are followed, but not in circles.

    Args:
        is_allowed: says of links whether they may be followed.
        left_out: takes the names of what is passed over.

    Raises:
        ValueError: a link that may not be followed, or folders that are too deep.
    """
    found: list[Path] = []
    waiting: list[tuple[Path, frozenset[Path]]] = [(top, frozenset())]
    while waiting:
        path, above = waiting.pop()
        here = path.resolve()
        if here in above:
            continue
        if len(above) > DEEPEST:
            raise ValueError(f"{top} has folders more than {DEEPEST} levels deep; give the one that holds the pictures")
        with os.scandir(path) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
        for entry in inside:
            place = path / entry.name
            if is_left_out(place, entry.is_dir()):
                if left_out is not None:
                    left_out.add(entry.name)
                continue
            if is_allowed and entry.is_symlink() and not is_allowed(place):
                raise ValueError(
                    f"{place} is a link that leads out of {top}; put the pictures there, or read the folder with "
                    f"--layout folder{OUTSIDE}"
                )
            if entry.is_dir():
                waiting.append((place, above | {here}))
            else:
                found.append(place)
    return sorted(found)


def _person(path: Path, top: Path, unlabelled: bool) -> str | None:
    """The name of the person's folder if the picture lies in one, else what its own name begins with."""
    parts = path.relative_to(top).parts
    if len(parts) > 1:
        return normal_label(parts[0])
    match = PERSON_IN_NAME.match(path.name)
    if not match and not unlabelled:
        raise ValueError(
            f"can't tell who {path} shows; expected a folder per person, a name like 0002_000451.jpg, or a CSV file"
        )
    return match[1] if match else None


def _cameras(path: Path, rows: Sequence[Row]) -> dict[str, int] | None:
    """Camera label -> number; None if no picture has one."""
    without = [row for row in rows if row.camera is None]
    if len(without) == len(rows):
        return None
    if without:
        raise ValueError(
            f"{path}: {len(rows) - len(without)} pictures have a camera number and {len(without)} don't, "
            f"such as {without[0]}; give camera numbers to all of them or to none"
        )
    return _numbered(path, ((row.camera, row) for row in rows if row.camera is not None))


def _numbered_pictures(paths: Iterable[Path]) -> dict[Path, int]:
    """A number for each distinct picture: copies of one picture, in query and gallery say, share it."""
    numbers: dict[str, int] = {}
    own = {}
    for path in sorted(set(paths)):
        is_small = path.is_file() and path.stat().st_size <= MAX_BYTES  # a larger one isn't read as a picture either
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_small else str(path)
        own[path] = numbers.setdefault(content, len(numbers) + 1)
    return own


def _numbered(path: Path, labels: Iterable[tuple[str, Row]]) -> dict[str, int]:
    """Labels as the whole numbers they are, or numbers made from them."""
    first: dict[str, Row] = {}
    for label, row in labels:
        first.setdefault(label, row)
    numbers: dict[int, str] = {}
    for label in sorted(first):
        number = label_number(label)
        if number in numbers:
            raise ValueError(
                f"the labels {numbers[number]} and {label} are the same number; write them alike "
                f"({path}: {first[numbers[number]]} and {first[label]})"
            )
        numbers[number] = label
    return {label: number for number, label in numbers.items()}
