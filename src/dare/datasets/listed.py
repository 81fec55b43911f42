"""Pictures that a file of a data set lists by name."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from dare.datasets.sample import Sample


def stills(folder: Path, rows: Iterable[tuple[str, int, int]], source: Path) -> tuple[Sample, ...]:
    """A sample per picture, ordered by file name.

    Args:
        folder: that the names are relative to.
        rows: name, with forward slashes, person and camera of each picture.
        source: the file that lists them, which errors name.

    Raises:
        FileNotFoundError: a picture is not there.
        ValueError: there is none, one is listed twice, or one lies elsewhere.
    """
    labels: dict[str, tuple[int, int]] = {}
    for name, person, camera in rows:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{source} lists {name}, which is not in {folder}; take the official file")
        if name in labels:
            raise ValueError(f"{source} lists {name} twice; take the official file")
        labels[name] = person, camera
    if not labels:
        raise ValueError(f"{source} lists no pictures for {folder.name}; take the official file")
    if missing := not_there(folder, list(labels)):
        raise FileNotFoundError(
            f"{len(missing)} of the {len(labels)} pictures that {source.name} lists are not in {folder}, "
            f"the first of them {missing[0]}; unpack the data set again"
        )
    return tuple(Sample((folder / name,), *labels[name]) for name in sorted(labels))


def not_there(folder: Path, names: Sequence[str]) -> list[str]:
    """Which of these names below a folder are no files there, in order; lists folders instead of asking for each."""
    by_folder: dict[str, set[str]] = {}
    for name in names:
        parent, _, file = name.rpartition("/")
        by_folder.setdefault(parent, set()).add(file)
    for parent, files in by_folder.items():
        files.difference_update(_listing(folder / parent))
    return [name for name in names if name.rpartition("/")[2] in by_folder[name.rpartition("/")[0]]]


def _listing(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
