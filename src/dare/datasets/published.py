"""What the authors of a data set published: its counts, and the lists of its splits as text or MATLAB files."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import DISTRACTOR, JUNK, Sample

LARGEST = 2.0**53  # beyond it, not every whole number has a double


@dataclass(frozen=True, slots=True)
class Published:
    """The published counts of a data set, to compare with what was found.

    Attributes:
        title: the data set's own name.
        samples: train, query and gallery, junk and distractors included.
        people: numbers of training people and of query people.
        unit: what a sample is called.
    """

    title: str
    samples: tuple[int, int, int]
    people: tuple[int, int]
    unit: str = "images"

    def differences(self, splits: Mapping[str, Sequence[Sample]]) -> list[str]:
        """A note on each split (train, query, gallery, by its own name) with another number of samples or people."""
        notes = []
        for (name, found), samples, people in zip(splits.items(), self.samples, (*self.people, None), strict=True):
            there = len({sample.person for sample in found} - {JUNK})
            if len(found) != samples:
                notes.append(f"{name} has {len(found)} {self.unit}, {self.title} as published {samples}")
            elif people is not None and there != people:
                notes.append(f"{name} has {there} people, {self.title} as published {people}")
        return notes


def check_folders(root: Path, names: Sequence[str], advice: str) -> None:
    """Raise a FileNotFoundError if folders are missing; `advice` says what to do."""
    if missing := [f"{name}/" for name in names if not (root / name).is_dir()]:
        expected = f"{', '.join(f'{name}/' for name in names[:-1])} and {names[-1]}/"
        raise FileNotFoundError(f"expected {expected} in {root}, found no {', '.join(missing)}; {advice}")


def trained_on(samples: Sequence[Sample], where: str, notes: list[str], unit: str = "pictures") -> list[Sample]:
    """The samples that show somebody; notes how many do not."""
    kept = [sample for sample in samples if sample.person not in (JUNK, DISTRACTOR)]
    if dropped := len(samples) - len(kept):
        notes.append(f"{where}: {dropped} {unit} of junk and distractors (persons -1 and 0) are not trained on")
    return kept


def stills(folder: Path, rows: Iterable[tuple[str, int, int]], source: Path) -> tuple[Sample, ...]:
    """A sample per picture, ordered by file name.

    Args:
        folder: where the names start.
        rows: name (with forward slashes), person and camera of each picture.
        source: the file that lists them, named in errors.

    Raises:
        FileNotFoundError: a picture is missing.
        ValueError: the list is empty, or names a picture twice or outside the folder.
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
    """The names that don't exist below a folder, in order; lists each folder once instead of asking for each file."""
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


def read_mat(path: Path, *names: str, advice: str) -> dict[str, NDArray[Any]]:
    """Variables of a .mat file by their names, each in MATLAB's shape.

    Args:
        advice: ends every error; what to do if the file is missing or can't be used.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it isn't a .mat file, is one of version 7.3, is damaged, or a variable is missing or sparse.
    """
    from scipy.io import loadmat  # slow to import, and most data sets need none of it

    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}; {advice}")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # for a variable that it can't read
            found = loadmat(file)
    except NotImplementedError as error:
        raise ValueError(f"{path} is a MATLAB file of version 7.3, expected an older one; save it with -v7") from error
    except Exception as error:  # SciPy raises many kinds; all mean that the file can't be used
        raise ValueError(f"{path} isn't a MATLAB file, or is damaged; {advice}") from error
    if missing := [name for name in names if name not in found]:
        there = ", ".join(name for name in found if not name.startswith("__")) or "nothing"
        raise ValueError(f"{path} has no variable {', '.join(missing)}, found {there}; {advice}")
    for name in names:
        if not isinstance(found[name], np.ndarray):
            raise ValueError(f"{path}: expected {name} as a full array, got {type(found[name]).__name__}; {advice}")
    return {name: found[name] for name in names}


def texts(path: Path, name: str, cells: NDArray[Any]) -> list[str]:
    """The texts in a variable's cells; a ValueError for anything else."""
    written = [cell.item() if isinstance(cell, np.ndarray) and cell.size == 1 else cell for cell in cells.ravel()]
    if not all(isinstance(text, str) and text for text in written):
        raise ValueError(f"{path}: expected a text in every cell of {name}; take the official file")
    return written


def whole_numbers(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """A variable's values as int64, in their own shape; a ValueError unless they are whole numbers."""
    numbers = values.dtype.kind in "iuf"
    if not numbers or not ((np.abs(values) < LARGEST) & (values == np.trunc(values))).all():
        raise ValueError(f"{path}: expected whole numbers in {name}, got {values.dtype}; take the official file")
    return values.astype(np.int64)


def positions(path: Path, name: str, values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """A variable's values as distinct indices into a list of `count`, from 0 where MATLAB counts from 1."""
    places = whole_numbers(path, name, values).ravel() - 1
    if not len(places):
        raise ValueError(f"{path}: {name} is empty, so there is nothing in that split; take the official file")
    if places.min() < 0 or places.max() >= count:
        worst = (places.max() if places.max() >= count else places.min()) + 1
        raise ValueError(
            f"{path}: {name} has the index {worst}, expected 1 to {count}; the files are of different versions"
        )
    if len(np.unique(places)) < len(places):
        raise ValueError(f"{path}: {name} has an index twice; take the official file")
    return places
