"""The folder of a gallery: what describes it, who may write, what is flushed to disk, what is left over."""

import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dare.datasets.kinds import misplaced
from dare.files import CHANGED, replacing, said, sealed, sync_folder, unsealed
from dare.gallery.lock import FolderLock
from dare.gallery.log import LOG
from dare.gallery.store import GalleryError, GalleryLockedError, UnknownGalleryError
from dare.retrieval.distances import Space, entry_sizes

FORMAT = 2
"""Of galleries of a shared space; the others are written in format 1, which knows no space."""
DESCRIPTION = "gallery.json"
LOCK = "gallery.lock"
HOLDER = "gallery.pid"
TABLE = re.compile(r"entries-(\d+)-[0-9a-f]{8}")
ROWS = ".rows"
"""Of the file that `rows` writes beside a table."""
OURS = re.compile(rf"{TABLE.pattern}\.(lance|rows)|\.({TABLE.pattern}\.rows|{DESCRIPTION})\..*|{LOCK}|{HOLDER}|{LOG}")
"""Names in the folder of a gallery besides its description."""


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
        table: the one that holds the entries; its folder is this and ".lance". Any other table is left over.
        space: of the network's vectors.
        cameras: name -> number, of those that have a name.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, protected_namespaces=())

    format: int
    model: str
    dimensions: tuple[Annotated[int, Field(gt=0, lt=2**31)], ...] = Field(min_length=1)
    model_path: tuple[str, ...]
    names: tuple[str, ...]
    table: str
    space: Space = "own"
    cameras: dict[str, int] = Field(default_factory=dict)

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
        """Exit -> size of its vectors, for the exits whose vectors the table has."""
        return entry_sizes(self.space, self.dimensions)

    @property
    def camera_names(self) -> dict[int, str]:
        """Number -> name, of cameras that have one."""
        return {number: name for name, number in self.cameras.items()}

    def next(self) -> "Description":
        """The same with a table of the next generation."""
        return self.model_copy(update={"table": table_name(int(self.table.split("-")[1]) + 1)})


def table_name(generation: int) -> str:
    """A name that no table had before, whatever became of earlier ones."""
    return f"entries-{generation}-{secrets.token_hex(4)}"


def read(folder: Path) -> Description:
    """What the folder's `gallery.json` says now.

    Raises:
        UnknownGalleryError: no gallery there.
        GalleryError: damaged, or written by a newer version of dare.
        OSError: it cannot be read.
    """
    try:
        content, whole = unsealed((folder / DESCRIPTION).read_bytes())
        number = _Format.model_validate_json(content).format
        found = Description.model_validate_json(content) if number <= FORMAT else None
    except (FileNotFoundError, NotADirectoryError) as error:
        if misfit := misplaced(folder, "a gallery"):
            raise UnknownGalleryError(misfit) from error
        if not folder.exists():
            raise UnknownGalleryError(f"there is no gallery {folder}; make one with `dare index`") from error
        raise UnknownGalleryError(
            f"{folder} isn't a gallery, it has no {DESCRIPTION}; give the folder that `dare index` made"
        ) from error
    except ValidationError as error:
        raise GalleryError(f"{said(error, folder / DESCRIPTION)}; restore a backup or index again elsewhere") from error
    if found is None:
        raise GalleryError(f"{folder} has format {number}, this version of dare knows up to {FORMAT}; update dare")
    if not whole:
        raise GalleryError(f"{folder / DESCRIPTION} {CHANGED}; restore a backup or index again elsewhere")
    return found


def write(description: Description, folder: Path) -> None:
    """Put the description in place: from here on the gallery is what it says."""
    with replacing(folder / DESCRIPTION) as file:
        file.write(sealed(description.model_dump_json(indent=1, exclude_defaults=True).encode()))


def writer_lock(folder: Path) -> FolderLock:
    """The lock that whoever writes to a gallery holds."""
    return FolderLock(folder, LOCK, HOLDER, GalleryLockedError)


def check_free(folder: Path) -> None:
    """Refuse to make a gallery where something is; what is left of an interrupted making doesn't count.

    Raises:
        GalleryError: a file, or a folder with anything in it.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise GalleryError(f"{folder} is a file; give a folder that is empty or doesn't exist yet")
    if (folder / DESCRIPTION).exists():
        raise GalleryError(f"{folder} is a gallery already; open it, or give another folder")
    if any(not OURS.fullmatch(path.name) or (path / "data").exists() for path in folder.iterdir()):
        raise GalleryError(f"{folder} is not empty; give a folder that is empty or doesn't exist yet")


def sweep(folder: Path) -> None:
    """Remove what the gallery's description does not name; only for the holder of the lock."""
    table = read(folder).table
    used = {f"{table}.lance", f"{table}{ROWS}", LOCK, HOLDER, LOG}
    for path in folder.iterdir():
        if path.name not in used and OURS.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
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
