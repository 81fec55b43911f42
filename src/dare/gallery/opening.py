"""Opening and creating galleries in folders; a new one is made whole or not at all."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dare.datasets.kinds import ADDRESS, STREAM, kind_of, misplaced
from dare.files import said, sync_folder
from dare.gallery import folder
from dare.gallery.lance import LanceGallery, to_the_end
from dare.gallery.log import LOG, Log
from dare.gallery.store import GalleryError
from dare.gallery.table import connect, plain_errors, schema
from dare.retrieval.distances import Space


def open_gallery(uri: str | Path) -> LanceGallery:
    """Open the gallery in a folder, which `dare index` or `create_gallery` made.

    Any number of processes may read a gallery while one writes. The first change made through the object takes the
    writer's lock; `close` gives it back.

    Raises:
        GalleryError: no gallery there, or one that cannot be read.
    """
    return LanceGallery(as_folder(uri))


def create_gallery(
    uri: str | Path,
    *,
    model: str,
    dimensions: Sequence[int],
    model_path: Sequence[str] = (),
    names: Sequence[str] = (),
    space: Space = "own",
) -> LanceGallery:
    """Make an empty gallery in a folder, and open it.

    Args:
        model: digest of the network whose vectors it will hold.
        dimensions: (E,), of the vectors of each exit.
        model_path: where the network is; several for a cascade.
        names: of the exits.
        space: of the network's vectors, `runner.space`; in a "shared" one an entry has one vector.

    Raises:
        GalleryError: there is something already.
        ValueError: not a network, such as one without exits.
    """
    path = as_folder(uri)
    try:
        description = folder.Description.model_validate(
            {
                "format": 1 if space == "own" else folder.FORMAT,
                "model": model,
                "dimensions": dimensions,
                "model_path": model_path,
                "names": names or [f"exit {number + 1}" for number in range(len(dimensions))],
                "table": folder.table_name(1),
                "space": space,
            },
            strict=False,  # takes lists and tuples alike
        )
    except ValidationError as error:
        raise ValueError(said(error, path)) from error
    folder.check_free(path)
    to_the_end(lambda: _make(path, description))
    return LanceGallery(path)


def as_folder(uri: str | Path) -> Path:
    """A path; an address is refused, which would become a folder of that name."""
    path = Path(uri)
    if kind_of(path) in (ADDRESS, STREAM):
        raise GalleryError(misplaced(uri, "a gallery's folder"))
    return path


def _make(path: Path, description: folder.Description) -> None:
    new = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = folder.writer_lock(path)
    lock.take()
    try:
        folder.check_free(path)  # another process may have been quicker
        try:
            with plain_errors(path, "made"):
                connect(path).create_table(description.table, schema=schema(description.sizes))
            folder.sync_below(path, set())
            Log(path).recover(path / f"{description.table}.lance")
            folder.write(description, path)
            sync_folder(path.parent)
        except BaseException:
            for made in (folder.DESCRIPTION, LOG):
                (path / made).unlink(missing_ok=True)
            shutil.rmtree(path / f"{description.table}.lance", ignore_errors=True)
            lock.discard()
            with contextlib.suppress(OSError):  # something was put there in the meantime
                for place in new:
                    place.rmdir()
            raise
    finally:
        lock.release()
