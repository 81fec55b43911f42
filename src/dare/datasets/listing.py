"""The pictures that a CSV file lists, with their labels as they stand there."""

import csv
import math
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

SPLITS = ("train", "query", "gallery")
COLUMNS = ("image", "person", "camera", "split", "time")
AS_A_FRACTION = re.compile(r"(-?\d+)\.0+")  # how pandas writes whole numbers of a column that has gaps


@dataclass(frozen=True, slots=True)
class Row:
    """A picture as it is listed; None where nothing is said."""

    path: Path
    person: str | None
    camera: str | None
    split: str | None
    time: float | None = None


def normal_label(label: str) -> str:
    """A person's or a camera's label in one form: without surrounding space, composed (NFC), 1.0 as 1."""
    composed = unicodedata.normalize("NFC", label.strip())
    match = AS_A_FRACTION.fullmatch(composed)
    return match[1] if match else composed


def rows_of_csv(path: Path, unlabelled: bool) -> list[Row]:
    """The pictures that a CSV file lists.

    Args:
        unlabelled: whether pictures may lack a person.

    Raises:
        FileNotFoundError: a listed picture is missing.
        ValueError: the file, or a line of it, isn't what it should be.
    """
    rows = [(number, _row(path, number, line, unlabelled)) for number, line in _lines(path, unlabelled)]
    if not rows:
        raise ValueError(f"{path} lists no pictures")
    seen: dict[tuple[Path, str | None], int] = {}
    labels: dict[Path, tuple[int, str | None, str | None]] = {}
    for number, row in rows:
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
    return [row for _, row in rows]


def _lines(path: Path, unlabelled: bool) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of the line on which each record begins, and its cells by their columns' names."""
    columns: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader, start = csv.reader(file, strict=True), 1
            for cells in reader:
                number, start = start, reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if not columns:
                    columns = [cell.strip() for cell in cells]
                    _check_columns(path, columns, unlabelled)
                elif len(cells) != len(columns):
                    raise ValueError(
                        f"{path}, line {number}: expected {len(columns)} cells as in the first line, got {len(cells)}; "
                        "put cells that hold a comma in quotes"
                    )
                else:
                    yield number, dict(zip(columns, cells, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} isn't a CSV file in UTF-8 ({error}); save it as one") from error
    if not columns:
        _check_columns(path, columns, unlabelled)


def _check_columns(path: Path, columns: list[str], unlabelled: bool) -> None:
    if not {"image", *([] if unlabelled else ["person"])} <= set(columns):
        raise ValueError(
            f"{path} needs the columns image and person (camera, time and split are optional), "
            f"its first line has {', '.join(columns) or 'nothing'}"
        )
    if twice := sorted({name for name in columns if name in COLUMNS and columns.count(name) > 1}):
        raise ValueError(f"{path} has the column {twice[0]} twice; remove or rename one")


def _row(path: Path, number: int, line: dict[str, str], unlabelled: bool) -> Row:
    image, person, camera, split, time = (line.get(name, "").strip() for name in COLUMNS)
    if not image or not (person or unlabelled):
        raise ValueError(f"{path}, line {number}: expected an image and a person, got {image!r} and {person!r}")
    if split and split not in SPLITS:
        raise ValueError(f"{path}, line {number}: split must be {', '.join(SPLITS)} or empty, got {split!r}")
    folder = path.parent.absolute()
    file = Path(os.path.normpath(folder / image))
    if not file.is_relative_to(folder):
        raise ValueError(
            f"{path}, line {number}: {image} must lie in the CSV file's folder, or below it; "
            "put the CSV file into a folder above all its pictures"
        )
    if not file.is_file():
        raise FileNotFoundError(f"{path}, line {number}: no picture at {file}")
    try:
        seconds = seconds_since_1970(time) if time else None
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None
    label, where = normal_label(person) or None, normal_label(camera) or None
    return Row(path.parent / file.relative_to(folder), label, where, split or None, seconds)


def seconds_since_1970(time: str) -> float:
    """A time, in seconds or like 2024-05-31T14:00:00+02:00 (UTC without a zone); a ValueError for anything else."""
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
