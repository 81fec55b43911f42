"""Files that are whole or not there: written aside, flushed to disk, then put in place."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes `path`'s place when the block ends, and vanishes if it fails.

    A reader, also after a crash or a power cut, finds the old content or the new one, never a part.
    """
    made = _make(path.absolute().parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o666 & ~_umask())  # mkstemp makes private files; give it the mode open() would
        aside.replace(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        _unmake(made)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise OSError(error.errno, f"{error.strerror} while writing", str(path)) from error
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes `path`'s place when the block ends, and vanishes with all that is in it if it fails."""
    path = path.resolve()
    made = _make(path.parent)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield aside
        for file in aside.rglob("*"):
            if file.is_dir():
                sync_folder(file)
                continue
            with file.open("rb") as content:
                os.fsync(content.fileno())
        sync_folder(aside)
        aside.chmod(0o777 & ~_umask())
        _swap(aside, path)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        _unmake(made)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise OSError(error.errno, f"{error.strerror} while writing", str(path)) from error
        raise
    sync_folder(path.parent)


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it that are missing; these, the deepest first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _unmake(made: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):  # somebody put something there meanwhile
        for folder in made:
            folder.rmdir()


def _swap(aside: Path, path: Path) -> None:
    """Put a folder in the place of another one, which is put back if that fails."""
    if not path.exists():
        aside.replace(path)
        return
    before = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        path.replace(before)  # an empty folder may be replaced, a full one not
        try:
            aside.replace(path)
        except BaseException:
            before.replace(path)
            raise
    except BaseException:
        if before.exists() and path.exists():
            before.rmdir()
        raise
    shutil.rmtree(before)


def check_writable(path: Path) -> None:
    """Refuse a path that `replacing` could not write to, before hours of work are spent on what goes there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected a file to write", str(path))
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is no folder", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot write into this folder", str(folder))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; systems without that (Windows) are left as they are."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
