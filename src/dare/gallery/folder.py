"""The folder of a gallery: what describes it, who may write, what is flushed to disk, what is left over."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dare.files import FolderLock, replacing, sync_folder
from dare.gallery.errors import GalleryError, GalleryLockedError, UnknownGalleryError
from dare.retrieval.distances import Space, entry_sizes

FORMAT = 2
"""Written for galleries with a space, which only a shared one has: versions that know nothing of it read the others."""
DESCRIPTION = "gallery.json"
LOCK = "gallery.lock"
HOLDER = "gallery.pid"
TABLE = re.compile(r"entries-(\d+)-[0-9a-f]{8}")
TABLE_SUFFIX = ".lance"
ROWS = ".rows"
"""Of the file that `kept` writes beside a table."""
ROWS_FILE = re.compile(rf"{TABLE.pattern}\{ROWS}|\.{TABLE.pattern}\{ROWS}\..*")


@dataclass(frozen=True, slots=True)
class Description:
    """What `gallery.json` says.

    Attributes:
        model: digest of the network.
        dimensions: (E,), of the vectors of each exit.
        model_path: where the network is; several for a cascade.
        names: (E,), of the exits.
        table: the one that holds the entries; its folder is this and ".lance". Every other one is left over.
        space: of the network's vectors.
    """

    model: str
    dimensions: tuple[int, ...]
    model_path: tuple[str, ...]
    names: tuple[str, ...]
    table: str
    space: Space = "own"

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not all(
            isinstance(text, str) for text in (*self.model_path, *self.names)
        ):
            raise ValueError("expected the model's digest, its paths and the exits' names to be text")
        if not self.dimensions or any(type(size) is not int or not 0 < size < 2**31 for size in self.dimensions):
            raise ValueError(f"expected a positive number of dimensions per exit, got {self.dimensions}")
        if len(self.names) != len(self.dimensions):
            raise ValueError(f"expected a name for each of {len(self.dimensions)} exits, got {len(self.names)}")
        if not TABLE.fullmatch(self.table):
            raise ValueError(f"expected a table called like entries-1-0a1b2c3d, got {self.table!r}")
        entry_sizes(self.space, self.dimensions)

    @property
    def sizes(self) -> dict[int, int]:
        """Exit -> size of its vectors, of those exits whose vectors the table has."""
        return entry_sizes(self.space, self.dimensions)

    def as_json(self) -> str:
        """What `parse` reads."""
        fields = asdict(self)
        if self.space == "own":
            del fields["space"]
        return json.dumps({"format": 1 if self.space == "own" else FORMAT} | fields, indent=1)

    def next(self) -> "Description":
        """The same with a table of the next generation; no name comes twice, whatever became of an earlier one."""
        found = TABLE.fullmatch(self.table)
        assert found is not None
        return replace(self, table=table_name(int(found[1]) + 1))


def table_name(generation: int) -> str:
    return f"entries-{generation}-{secrets.token_hex(4)}"


def read_content(folder: Path) -> bytes:
    """What `gallery.json` holds, as it is.

    Raises:
        UnknownGalleryError: no gallery there.
        OSError: it cannot be read.
    """
    try:
        return (folder / DESCRIPTION).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.exists():
            raise UnknownGalleryError(f"there is no gallery {folder}; make one with `dare index`") from error
        raise UnknownGalleryError(
            f"{folder} is no gallery, it has no {DESCRIPTION}; give the folder that `dare index` made"
        ) from error


def parse(content: bytes, folder: Path) -> Description:
    """The description in a `gallery.json`.

    Raises:
        GalleryError: damaged, or written by a newer version of dare.
    """
    try:
        fields: dict[str, Any] = json.loads(content)
        number = fields.pop("format")
        if type(number) is not int or number < 1:
            raise ValueError(f"expected a format number, got {number!r}")
        if number <= FORMAT:
            lists = ("dimensions", "model_path", "names")
            if other := [name for name in lists if not isinstance(fields[name], list)]:
                raise ValueError(f"expected lists, got {' and '.join(other)} of another kind")
            return Description(**fields | {name: tuple(fields[name]) for name in lists})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise GalleryError(
            f"{folder / DESCRIPTION} is damaged: {reason}; put a backup in its place or index again elsewhere"
        ) from error
    raise GalleryError(f"{folder} has format {number}, this version of dare knows up to {FORMAT}; update dare")


def write(description: Description, folder: Path) -> None:
    """Put the description in place: from here on the gallery is what it says."""
    with replacing(folder / DESCRIPTION) as file:
        file.write(description.as_json().encode())


def writer_lock(folder: Path) -> FolderLock:
    """The lock of the one who writes to a gallery."""
    return FolderLock(folder, LOCK, HOLDER, GalleryLockedError)


def check_free(folder: Path) -> None:
    """Refuse to make a gallery where something is; what is left of one whose making was cut short is nothing.

    Raises:
        GalleryError: a file, or a folder with anything in it.
    """
    if folder.exists() and not folder.is_dir():
        raise GalleryError(f"{folder} is a file; give a folder that is empty or not there yet")
    if (folder / DESCRIPTION).exists():
        raise GalleryError(f"{folder} is a gallery already; open it, or give another folder")
    if any(not _is_ours(path) or (path / "data").exists() for path in _inside(folder)):
        raise GalleryError(f"{folder} is not empty; give a folder that is empty or not there yet")


def sweep(folder: Path) -> None:
    """Remove what the gallery's description does not name: for the one who holds the lock."""
    table = parse(read_content(folder), folder).table
    for path in _inside(folder):
        if path.name.startswith(f".{DESCRIPTION}.") or (_is_rows(path) and path.name != f"{table}{ROWS}"):
            path.unlink()
        elif path.suffix == TABLE_SUFFIX and path.stem != table and _is_ours(path) and path.is_dir():
            shutil.rmtree(path)
    sync_folder(folder)


def sync_below(folder: Path, known: set[str]) -> set[str]:
    """Flush to disk all files and folders that are not known, and the folders they are in; returns all there are."""
    found = set[str]()
    for place, folders, files in os.walk(folder):
        names = {os.path.join(place, name) for name in (*folders, *files)}  # noqa: PTH118 - thousands of them
        for name in names - known:
            if not Path(name).is_dir():
                with open(name, "r+b") as file:  # noqa: PTH123 - as above
                    os.fsync(file.fileno())
        if names - known:
            sync_folder(Path(place))
        found |= names
    return found


def connect(folder: Path) -> Any:
    """LanceDB's handle on a folder. Only who reads or writes a table itself waits for LanceDB to be imported."""
    import lancedb

    return lancedb.connect(folder)


def _inside(folder: Path) -> Iterator[Path]:
    yield from folder.iterdir() if folder.is_dir() else ()


def _is_ours(path: Path) -> bool:
    table = path.suffix == TABLE_SUFFIX and TABLE.fullmatch(path.stem) is not None
    return table or _is_rows(path) or path.name in (LOCK, HOLDER) or path.name.startswith(f".{DESCRIPTION}.")


def _is_rows(path: Path) -> bool:
    """Whether it is a table's file of rows, or one that was being written."""
    return ROWS_FILE.fullmatch(path.name) is not None
