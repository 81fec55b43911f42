"""A CSV file that lists pictures: `image` and `person`, and optionally `camera`, `time` and `split`."""

import csv
import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True, slots=True)
class Row:
    """A picture as it is listed; None is what is not said of it."""

    path: Path
    person: str | None
    camera: str | None
    split: str | None
    time: float | None = None


def rows_of_csv(path: Path, unlabelled: bool) -> list[Row]:
    """The pictures that a CSV file lists, whose paths are relative to it.

    Args:
        unlabelled: whether a picture needs no person.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a CSV file in UTF-8 ({error}); save it as one") from error
    if not {"image", *([] if unlabelled else ["person"])} <= set(columns):
        raise ValueError(
            f"{path} needs the columns image and person (camera, time and split are optional), "
            f"its first line has {', '.join(columns) or 'nothing'}"
        )
    rows = [_row(path, number, line, unlabelled) for number, line in enumerate(lines, start=2)]
    if not rows:
        raise ValueError(f"{path} lists no pictures")
    seen: dict[tuple[Path, str | None], int] = {}
    labels: dict[Path, tuple[int, str | None, str | None]] = {}
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


def _row(path: Path, number: int, line: dict[str, str | None], unlabelled: bool) -> Row:
    columns = ("image", "person", "camera", "split", "time")
    image, person, camera, split, time = ((line.get(name) or "").strip() for name in columns)
    if not image or not (person or unlabelled):
        raise ValueError(f"{path}, line {number}: expected an image and a person, got {image!r} and {person!r}")
    if split and split not in SPLITS:
        raise ValueError(f"{path}, line {number}: split must be {', '.join(SPLITS)} or empty, got {split!r}")
    file = Path(os.path.normpath(path.parent / image))
    if not file.is_relative_to(path.parent):
        raise ValueError(f"{path}, line {number}: {image} must lie in the CSV file's folder, or below it")
    if not file.is_file():
        raise FileNotFoundError(f"{path}, line {number}: no picture at {file}")
    try:
        seconds = seconds_since_1970(time) if time else None
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None
    return Row(file, person or None, camera or None, split or None, seconds)


def seconds_since_1970(time: str) -> float:
    """A time as people write it; without a zone it is UTC.

    Raises:
        ValueError: it is neither a number of seconds nor like 2024-05-31T14:00:00+02:00.
    """
    try:
        seconds = float(time)
    except ValueError:
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            seconds = math.nan
        else:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ValueError(f"a time is seconds since 1970 or like 2024-05-31T14:00:00+02:00, got {time!r}")
    return seconds
