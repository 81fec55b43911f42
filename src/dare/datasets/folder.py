"""A user's own pictures: a folder, or a CSV file that lists them; camera numbers are optional.

A folder may hold `train/`, `query/` and `gallery/`; without these every picture serves in all three. Inside,
pictures either lie in a folder per person, or have names that begin with the person: `0002_c1_000451.jpg`,
`0002_000451.jpg`. A camera is read from `_c1_` or `c1_` in a picture's own name, for all pictures or for none.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dare.datasets.kinds import MAX_BYTES, misplaced
from dare.datasets.listing import SPLITS, Row, normal_label, rows_of_csv
from dare.datasets.market import IMAGE_SUFFIXES, some
from dare.datasets.sample import JUNK, UNKNOWN, Benchmark, Sample

PERSON_IN_NAME = re.compile(r"(-?\d+)_")
CAMERA_IN_NAME = re.compile(r"(?:^|_)c(\d+)(?:s\d+)?(?=[_.])")
WHOLE_NUMBER = re.compile(r"-?\d{1,18}")  # what 64 bits can hold

LIKE_SPLITS = ("test", "val", "valid", "validation", "testing", "training", "probe", "queries", "queue", "dev")
"""Names of folders that are splits elsewhere."""

WITHOUT_CAMERAS = (
    "no camera numbers: each picture counts as a camera of its own, so only matches with the very same picture "
    "are excluded, nothing else; accuracy is higher than across cameras"
)
ALL_IN_ALL = "no train/, query/ or gallery/: every picture serves as training picture, query and gallery entry"


def folder(root: str | Path, *, unlabelled: bool = False) -> Benchmark:
    """Read a folder of pictures, or a CSV file.

    A CSV file has a header and a line per picture: `image` (path, relative to the file), `person`, and
    optionally `camera`, `time` (seconds since 1970, or ISO 8601) and `split` (train, query or gallery; empty: all
    three). Labels that are not whole numbers become large numbers made from the label, the same in every data set.

    Args:
        unlabelled: whether pictures may lack a person, who then is `UNKNOWN`.

    Raises:
        FileNotFoundError: nothing there, no pictures, or a listed picture is missing.
        ValueError: a picture without a person, a picture listed twice, cameras for some pictures only.
    """
    path = Path(root)
    if path.is_dir():
        base, (rows, notes) = path, _rows_of_folder(path, unlabelled)
    elif path.is_file() and path.suffix.lower() == ".csv":
        base, rows, notes = path.parent, rows_of_csv(path, unlabelled), []
    else:
        expected = "a folder of pictures or a .csv file"
        raise FileNotFoundError(misplaced(path, expected) or f"expected {expected}, found neither at {path}")
    people = _numbered(row.person for row in rows if row.person is not None)
    if any(number < JUNK for number in people.values()):
        least = min(people.values())
        raise ValueError(f"people are numbered from 0 (-1 is junk), {path} has person {least}; correct it")
    cameras = _cameras(rows)
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


def pictures_below(root: str | Path) -> list[Path]:
    """All pictures below a folder, ordered by name, labelled or not; a FileNotFoundError if there are none."""
    top = Path(root)
    found = [path for path in _files(top) if path.suffix.lower() in IMAGE_SUFFIXES] if top.is_dir() else []
    if not found:
        expected = "a folder of pictures"
        raise FileNotFoundError(misplaced(top, expected) or f"expected {expected}, found none below {top}")
    return found


def splits_of(root: Path) -> dict[str, Path]:
    """The folders of a data set that are splits, in whatever case.

    Raises:
        ValueError: a folder beside them, or among people, looks as if it were meant to be one.
    """
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not _is_left_out(path)]
    splits = {path.name.lower(): path for path in folders if path.name.lower() in SPLITS}
    for path in folders:
        if path in splits.values():
            continue
        meant = difflib.get_close_matches(path.name.lower(), SPLITS, 1, 0.7 if splits else 0.8)
        if meant or path.name.lower() in LIKE_SPLITS:
            hint = f"{meant[0]}/" if meant else " or ".join(f"{split}/" for split in SPLITS)
            raise ValueError(
                f"{root} has a folder {path.name}/, which would not be read; rename it to {hint} if that is meant, or "
                "move it away"
            )
    return {split: splits[split] for split in SPLITS if split in splits}


def _rows_of_folder(root: Path, unlabelled: bool) -> tuple[list[Row], list[str]]:
    splits = splits_of(root)
    rows: list[Row] = []
    strangers: list[str] = []
    left_out: set[str] = set()
    parts: Sequence[str | None] = list(splits) if splits else [None]
    for split in parts:
        top = splits[split] if split else root
        for path in _files(top, left_out):
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
    beside = [path.name for path in sorted(root.iterdir()) if splits and path not in splits.values()]
    strangers += [name for name in beside if not name.startswith(".")]
    notes = [] if splits else [ALL_IN_ALL]
    if strangers:
        notes.append(f"ignored {some(strangers)}")
    if left_out:
        notes.append(f"passed over folders called {', '.join(sorted(left_out))}, as a NAS or an archiver makes them")
    return rows, notes


def _is_left_out(path: Path) -> bool:
    """Hidden, or made by a NAS or an archiver: thumbnails, bins."""
    return path.name.startswith((".", "@", "#")) or path.name in ("__MACOSX", "lost+found")


def _files(top: Path, left_out: set[str] | None = None, seen: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder, ordered by name; links to folders are followed once.

    Args:
        left_out: takes the names of folders that are passed over, hidden ones apart.
    """
    here = top.resolve()
    for path in sorted(top.iterdir()):
        if _is_left_out(path):
            if left_out is not None and path.is_dir() and not path.name.startswith("."):
                left_out.add(path.name)
        elif not path.is_dir():
            yield path
        elif path.resolve() not in seen | {here}:
            yield from _files(path, left_out, seen | {here})


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


def _cameras(rows: Sequence[Row]) -> dict[str, int] | None:
    """Camera label -> number; None if no picture has one."""
    without = [row.path for row in rows if row.camera is None]
    if len(without) == len(rows):
        return None
    if without:
        raise ValueError(
            f"{len(rows) - len(without)} pictures have a camera number and {len(without)} don't, "
            f"such as {without[0]}; give camera numbers to all of them or to none"
        )
    return _numbered(row.camera or "" for row in rows)


def _numbered_pictures(paths: Iterable[Path]) -> dict[Path, int]:
    """A number for each distinct picture: copies of one picture, in query and gallery say, share it."""
    numbers: dict[str, int] = {}
    own = {}
    for path in sorted(set(paths)):
        is_small = path.is_file() and path.stat().st_size <= MAX_BYTES  # a larger one isn't read as a picture either
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_small else str(path)
        own[path] = numbers.setdefault(content, len(numbers) + 1)
    return own


def _numbered(labels: Iterable[str]) -> dict[str, int]:
    """Labels as the whole numbers they are, or numbers made from them."""
    numbers: dict[int, str] = {}
    for label in sorted(set(labels)):
        number = label_number(label)
        if number in numbers:
            raise ValueError(f"the labels {numbers[number]} and {label} are the same number; write them alike")
        numbers[number] = label
    return {label: number for number, label in numbers.items()}


def label_number(label: str) -> int:
    """The number of a person's or a camera's label: the whole number it is, or 2^48 to 2^49 made from its SHA-256.

    It depends on the label alone, so people keep their numbers in a gallery, whatever else is read.
    """
    label = normal_label(label)
    if WHOLE_NUMBER.fullmatch(label):
        return int(label)
    return 2**48 + int.from_bytes(hashlib.sha256(label.encode(errors="surrogateescape")).digest()[:6])
