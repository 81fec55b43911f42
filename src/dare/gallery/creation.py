"""A new gallery in a folder: all of it is there, or nothing."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from dare.files import sync_folder
from dare.gallery import folder
from dare.gallery.lance import LanceGallery
from dare.gallery.table import plain_errors, schema
from dare.gallery.uninterrupted import to_the_end
from dare.retrieval.distances import Space


def create(
    path: Path,
    model: str,
    dimensions: Sequence[int],
    model_path: Sequence[str],
    names: Sequence[str],
    space: Space = "own",
) -> LanceGallery:
    """As `create_gallery`."""
    description = folder.Description(
        model,
        tuple(dimensions),
        tuple(model_path),
        tuple(names) or tuple(f"exit {number + 1}" for number in range(len(dimensions))),
        folder.table_name(1),
        space,
    )
    folder.check_free(path)
    to_the_end(lambda: _make(path, description))
    return LanceGallery(path)


def _make(path: Path, description: folder.Description) -> None:
    new = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = folder.writer_lock(path)
    lock.take()
    try:
        folder.check_free(path)  # somebody may have been quicker
        try:
            with plain_errors(path, "made"):
                folder.connect(path).create_table(description.table, schema=schema(description.sizes))
            folder.sync_below(path, set())
            folder.write(description, path)
            sync_folder(path.parent)
        except BaseException:
            (path / folder.DESCRIPTION).unlink(missing_ok=True)
            shutil.rmtree(path / f"{description.table}.lance", ignore_errors=True)
            lock.discard()
            with contextlib.suppress(OSError):  # somebody put something there meanwhile
                for place in new:
                    place.rmdir()
            raise
    finally:
        lock.release()
