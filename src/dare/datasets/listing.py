"""The pictures that a CSV file lists, and labels: in one form, and as numbers."""

import csv
import difflib
import hashlib
import io
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

SPLITS = ("train", "query", "gallery")
COLUMNS = ("image", "person", "camera", "split", "time")
AS_A_FRACTION = re.compile(r"(-?\d+)\.0+")  # how pandas writes whole numbers of a column that has gaps
WHOLE_NUMBER = re.compile(r"-?\d{1,18}")  # what 64 bits can hold
LATEST = 1e11
"""Seconds since 1970: what is later was meant otherwise."""
DAY_IN_DIGITS = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
MISSPELT = 0.8
"""How alike a column's name and one of `COLUMNS` are that is taken for it."""

Place = Callable[[str], Path | None]
"""What a file lists -> where it is; None for a place that isn't allowed."""

OUTSIDE = "-outside"
"""Behind a layout's name: links, and paths in a CSV file, may lead out of the folder."""


@dataclass(frozen=True, slots=True)
class Row:
    """A picture as it is listed; None where nothing is said.

    Attributes:
        line: of the CSV file; 0 for a picture in a folder.
    """

    path: Path
    person: str | None
    camera: str | None
    split: str | None
    time: float | None = None
    line: int = 0

    def __str__(self) -> str:
        return f"line {self.line} ({self.path.name})" if self.line else str(self.path)


def normal_label(label: str) -> str:
    """A person's or a camera's label in one form: without surrounding space, composed (NFC), 1.0 as 1."""
    composed = unicodedata.normalize("NFC", label.strip())
    match = AS_A_FRACTION.fullmatch(composed)
    return match[1] if match else composed


def label_number(label: str) -> int:
    """The number of a person's or a camera's label: the whole number it is, or 2^48 to 2^49 made from its SHA-256.

    It depends on the label alone, so people keep their numbers in a gallery, whatever else is read.
    """
    label = normal_label(label)
    if WHOLE_NUMBER.fullmatch(label):
        return int(label)
    return 2**48 + int.from_bytes(hashlib.sha256(label.encode(errors="surrogateescape")).digest()[:6])


def in_order(labels: Iterable[str]) -> list[str]:
    """Labels as people list them: numbers first, by size, then names, then "" for the unknown."""
    return sorted(labels, key=lambda label: (not label, int(label) if WHOLE_NUMBER.fullmatch(label) else 2**64, label))


def rows_of_csv(path: Path, *, unlabelled: bool, outside: bool) -> tuple[list[Row], Path, list[str]]:
    """The pictures that a CSV file lists, the folder that all lie in, and what a user should know.

    Args:
        unlabelled: whether pictures may lack a person.
        outside: whether they may lie outside of the file's folder. Then the folder is the deepest one above all.

    Raises:
        FileNotFoundError: a listed picture is missing.
        ValueError: the file, or a line of it, isn't what it should be.
    """
    columns, *lines = _records(path)
    notes = _check_columns(path, columns[1], unlabelled)
    folder = Path(os.path.normpath(path.parent.absolute()))
    place = _places(path.parent, folder, outside)
    rows = [_row(path, number, columns[1], cells, unlabelled, place) for number, cells in lines]
    if not rows:
        raise ValueError(f"{path} lists no pictures")
    seen: dict[tuple[Path, str | None], int] = {}
    labels: dict[Path, Row] = {}
    for row in rows:
        first = labels.setdefault(row.path, row)
        if (first.person, first.camera) != (row.person, row.camera):
            raise ValueError(
                f"{path}, lines {first.line} and {row.line}: {row.path.name} has two people or two cameras; correct one"
            )
        for split in [row.split] if row.split else SPLITS:
            if (row.path, split) in seen:
                raise ValueError(
                    f"{path} lists {row.path.name} twice, in lines {seen[row.path, split]} and {row.line}; remove one"
                )
            seen[row.path, split] = row.line
    base = os.path.commonpath([folder, *{row.path.parent for row in rows}]) if outside else path.parent
    return rows, Path(base), notes


def _records(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that hold anything, the columns' names first: the number of the line on which each begins, its cells.

    Raises:
        ValueError: not a CSV file in UTF-8.
    """
    content, found, start = path.read_bytes().removeprefix(b"\xef\xbb\xbf"), list[tuple[int, list[str]]](), 1
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte {content[error.start]:#x} isn't UTF-8; save the file as CSV in UTF-8"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((start, [cell.strip() for cell in cells]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {start}: not a line of a CSV file ({error}); correct it") from error
    return found or [(1, [])]


def _check_columns(path: Path, columns: list[str], unlabelled: bool) -> list[str]:
    """A note on columns that aren't read; a ValueError unless the others are all there, once, and spelt right."""
    if not {"image", *([] if unlabelled else ["person"])} <= set(columns):
        raise ValueError(
            f"{path} needs the columns image and person (camera, time and split are optional), separated by commas, "
            f"its first line has {', '.join(columns) or 'nothing'}"
        )
    if twice := sorted({name for name in columns if name in COLUMNS and columns.count(name) > 1}):
        raise ValueError(f"{path} has the column {twice[0]} twice; remove or rename one")
    others = [name for name in columns if name and name not in COLUMNS]
    for name in others:
        meant = difflib.get_close_matches(name.lower(), COLUMNS, 1, MISSPELT)
        if meant and meant[0] not in columns:
            raise ValueError(
                f"{path} has a column {name}, which would not be read; rename it to {meant[0]}, or remove it"
            )
    return [f"columns that aren't read: {', '.join(others)}"] if others else []


def _row(path: Path, number: int, columns: list[str], cells: list[str], unlabelled: bool, place: Place) -> Row:
    if len(cells) != len(columns):
        raise ValueError(
            f"{path}, line {number}: expected {len(columns)} cells as in the first line, got {len(cells)}; "
            "put cells that hold a comma in quotes"
        )
    line = dict(zip(columns, cells, strict=True))
    image, person, camera, split, time = (line.get(name, "") for name in COLUMNS)
    if not image or not (person or unlabelled):
        raise ValueError(f"{path}, line {number}: expected an image and a person, got {image!r} and {person!r}")
    if split and split.lower() not in SPLITS:
        raise ValueError(f"{path}, line {number}: split must be {', '.join(SPLITS)} or empty, got {split!r}")
    file = place(image)
    if file is None:
        raise ValueError(
            f"{path}, line {number}: {image} is outside of the CSV file's folder; put the file into a folder above all "
            f"its pictures, or read it with --layout folder{OUTSIDE}"
        )
    if not file.is_file():
        raise FileNotFoundError(f"{path}, line {number}: no picture at {file}")
    try:
        seconds = seconds_since_1970(time) if time else None
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None
    label, where = normal_label(person) or None, normal_label(camera) or None
    return Row(file, label, where, split.lower() or None, seconds, number)


def _places(given: Path, folder: Path, outside: bool) -> Place:
    """Paths begin as the folder was given, or are absolute if they may lead out of it."""
    is_within = within(folder)

    def place(image: str) -> Path | None:
        file = Path(os.path.normpath(folder / image))
        if outside:
            return file
        if not is_within(file):
            return None
        if not file.is_relative_to(folder):  # one of the two is written by way of a link
            file = folder / file.resolve().relative_to(folder.resolve())
        return given / file.relative_to(folder)

    return place


def within(folder: Path) -> Callable[[Path], bool]:
    """Tells of paths whether they lead to places in a folder once links are followed."""
    resolved, root = cache(Path.resolve), folder.resolve()  # of the few folders of many pictures

    def is_within(path: Path) -> bool:
        place: Path = resolved(path.parent) / path.name
        return (place.resolve() if place.is_symlink() else place).is_relative_to(root)

    return is_within


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
    # Milliseconds, and days written like 20240531, are numbers too, of another time.
    if not 0 <= seconds < LATEST or DAY_IN_DIGITS.fullmatch(time.strip()):
        raise ValueError(f"a time is seconds since 1970 or like 2024-05-31T14:00:00+02:00, got {time!r}")
    return seconds
