"""The folder of a gallery: what describes it, who may write, what is flushed to disk, what is left over."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dare.files import FolderLock, replacing, said, sync_folder
from dare.gallery.store import GalleryError, GalleryLockedError, UnknownGalleryError
from dare.retrieval.distances import Space, entry_sizes

FORMAT = 2
"""Written for galleries with a space, which only a shared one has: versions that know nothing of it read the others."""
DESCRIPTION = "gallery.json"
LOCK = "gallery.lock"
HOLDER = "gallery.pid"
TABLE = re.compile(r"entries-(\d+)-[0-9a-f]{8}")
TABLE_SUFFIX = ".lance"
ROWS = ".rows"
"""Of the file that `rows` writes beside a table."""
ROWS_FILE = re.compile(rf"{TABLE.pattern}\{ROWS}|\.{TABLE.pattern}\{ROWS}\..*")


class _Format(BaseModel):
    """What the files of all formats have."""

    model_config = ConfigDict(strict=True)

    format: int = Field(ge=1)


class Description(BaseModel):
    """What `gallery.json` says.

    Attributes:
        format: 1, or 2 of a shared space.
        model: digest of the network.
        dimensions: (E,), of the vectors of each exit.
        model_path: where the network is; several for a cascade.
        names: (E,), of the exits.
        table: the one that holds the entries; its folder is this and ".lance". Every other one is left over.
        space: of the network's vectors.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, protected_namespaces=())

    format: int
    model: str
    dimensions: tuple[Annotated[int, Field(gt=0, lt=2**31)], ...] = Field(min_length=1)
    model_path: tuple[str, ...]
    names: tuple[str, ...]
    table: str
    space: Space = "own"

    @model_validator(mode="after")
    def _fits(self) -> "Description":
        if len(self.names) != len(self.dimensions):
            raise ValueError(f"expected a name for each of {len(self.dimensions)} exits, got {len(self.names)}")
        if not TABLE.fullmatch(self.table):
            raise ValueError(f"expected a table called like entries-1-0a1b2c3d, got {self.table!r}")
        entry_sizes(self.space, self.dimensions)
        return self

    @property
    def sizes(self) -> dict[int, int]:
        """Exit -> size of its vectors, of those exits whose vectors the table has."""
        return entry_sizes(self.space, self.dimensions)

    def next(self) -> "Description":
        """The same with a table of the next generation; no name comes twice, whatever became of an earlier one."""
        return self.model_copy(update={"table": table_name(int(self.table.split("-")[1]) + 1)})


def table_name(generation: int) -> str:
    return f"entries-{generation}-{secrets.token_hex(4)}"


def read(folder: Path) -> Description:
    """What the folder's `gallery.json` says now.

    Raises:
        UnknownGalleryError: no gallery there.
        GalleryError: damaged, or written by a newer version of dare.
        OSError: it cannot be read.
    """
    try:
        content = (folder / DESCRIPTION).read_bytes()
        number = _Format.model_validate_json(content).format
        if number <= FORMAT:
            return Description.model_validate_json(content)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.exists():
            raise UnknownGalleryError(f"there is no gallery {folder}; make one with `dare index`") from error
        raise UnknownGalleryError(
            f"{folder} is no gallery, it has no {DESCRIPTION}; give the folder that `dare index` made"
        ) from error
    except ValidationError as error:
        raise GalleryError(
            f"{said(error, folder / DESCRIPTION)}; put a backup in its place or index again elsewhere"
        ) from error
    raise GalleryError(f"{folder} has format {number}, this version of dare knows up to {FORMAT}; update dare")


def write(description: Description, folder: Path) -> None:
    """Put the description in place: from here on the gallery is what it says."""
    with replacing(folder / DESCRIPTION) as file:
        file.write(description.model_dump_json(indent=1, exclude_defaults=True).encode())


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
    table = read(folder).table
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


def _inside(folder: Path) -> Iterator[Path]:
    yield from folder.iterdir() if folder.is_dir() else ()


def _is_ours(path: Path) -> bool:
    table = path.suffix == TABLE_SUFFIX and TABLE.fullmatch(path.stem) is not None
    return table or _is_rows(path) or path.name in (LOCK, HOLDER) or path.name.startswith(f".{DESCRIPTION}.")


def _is_rows(path: Path) -> bool:
    """Whether it is a table's file of rows, or one that was being written."""
    return ROWS_FILE.fullmatch(path.name) is not None
