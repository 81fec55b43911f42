"""Care of a gallery in a folder: whether its files are as they were written, and backups."""

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dare.files import advised, is_bare, replacing_folder
from dare.gallery import folder
from dare.gallery.lance import ATTEMPTS, LanceGallery, to_the_end
from dare.gallery.log import LOG, Log, files_below
from dare.gallery.opening import as_folder
from dare.gallery.rows import is_whole, newest_version, usable
from dare.gallery.store import GalleryError, UnknownGalleryError
from dare.gallery.table import copy_table, plain_errors, read, schema

PATIENCE = 0.2
"""Seconds until files that the log doesn't have are looked for in it again: a writer logs them last."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found when a gallery was verified.

    Attributes:
        files: whose checksums are right.
        entries: that were read, with finite vectors.
        changes: in the log.
        problems: what is wrong.
        notes: what could not be checked.
    """

    files: int
    entries: int
    changes: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify(path: Path) -> Verified:
    """Compare every file of a gallery with its checksum, read every entry, and check the log of changes.

    Others may write meanwhile. A search notices only some of the damage that this finds.

    Raises:
        UnknownGalleryError: no gallery there.
    """
    problems, notes, entries, right = list[str](), list[str](), 0, 0
    try:
        right, unlogged = _compared(path, problems)
        if not problems:  # otherwise it is known already
            entries = _steadily(lambda: _read_all(path))
    except UnknownGalleryError:
        raise
    except GalleryError as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(f"{error.filename}: {advised(error) if is_bare(error) else error.strerror}")
    else:
        if not (path / LOG).exists():
            notes.append("there is no log of changes yet, so nothing has a checksum; the next change begins one")
        elif unlogged:
            notes.append(f"{unlogged} files of an unfinished change have no checksum; the next change logs them")
    log = Log(path)
    problems += [
        f"{each}; find out why, then move {LOG} away: the next change begins a new one" for each in log.problems
    ]
    return Verified(right, entries, len(log.lines), tuple(problems), tuple(notes))


def _compared(path: Path, problems: list[str]) -> tuple[int, int]:
    """Compare files with their checksums; returns how many are right, and how many have none."""
    for attempt in range(1, ATTEMPTS + 1):
        description = folder.read(path)
        files = files_below(path / f"{description.table}.lance")
        log = Log(path)
        damaged = log.wrong(files)
        wrong = [f"{file} isn't as it was written; restore a backup" for file in damaged]
        unlogged = sum(not log.has(file) for file in files)
        right = len(files) - unlogged - len(damaged)
        newest = newest_version(log.sums, description.table)
        if newest and not (path / newest).exists():
            wrong.append(f"{path / newest} is missing, and with it the newest change; restore a backup")
        if not is_whole(path, description.table):
            wrong.append(f"{path / description.table}{folder.ROWS} isn't as it was written; delete it, it is made anew")
        if attempt == ATTEMPTS or (folder.read(path) == description and not unlogged):
            problems += wrong
            return right, unlogged
        time.sleep(PATIENCE)
    raise AssertionError


def _read_all(path: Path) -> int:
    gallery, count = LanceGallery(path), 0
    description, table = gallery.newest()
    with plain_errors(path, "read"):
        for batch in read(table, schema(description.sizes).names):
            for exit, size in description.sizes.items():
                usable(batch[f"exit_{exit}"], size, path)
            count += len(batch)
    return count


def _steadily(act: Callable[[], T]) -> T:
    """What a function returns that may fail because a writer deletes what it reads: then it is tried again."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(GalleryError, FileNotFoundError):
            return act()
    return act()


def backup(path: Path, out: Path) -> int:
    """Copy a gallery as it is now into a new folder, which is a gallery too; others may write meanwhile.

    The copy has no bytes of entries that were removed or replaced.

    Returns:
        How many entries it has.

    Raises:
        GalleryError: no gallery, or it is damaged; or there is something in the new folder's place.
    """
    _refuse_damaged(path)
    folder.check_free(as_folder(out))
    if out.resolve().is_relative_to(path.resolve()):
        raise GalleryError(f"{out} is in the gallery itself; give a folder beside it, best on another disk")
    return to_the_end(lambda: _steadily(lambda: _back_up(path, out)))


def _back_up(path: Path, out: Path) -> int:
    with replacing_folder(out) as aside, plain_errors(out, "written"):
        if (path / LOG).exists():  # first: what is forgotten from now on is left out again when the copy is restored
            shutil.copyfile(path / LOG, aside / LOG)
        now, table = LanceGallery(path).newest()
        description = now.next()
        copy_table(table, aside, description)
        count = table.count_rows()
        folder.write(description, aside)
        files = files_below(aside / f"{description.table}.lance")
        Log(aside).append("backup", entries=count, files=files)
    return count


def restore(backup: Path, path: Path) -> tuple[int, int]:
    """Put a backup in a gallery's place, or where one was, without what was forgotten since it was made.

    What that is says the log in the gallery's folder, so keep that if the rest is lost. Readers see the entries before
    or after.

    Returns:
        How many entries there are now, and how many of the backup were left out.

    Raises:
        GalleryError: a damaged backup, a folder that holds other things, or a gallery that another process writes to.
    """
    _refuse_damaged(backup)
    path = as_folder(path)
    if path.exists() and path.samefile(backup):
        raise GalleryError(f"{backup} is the gallery itself; give a backup of it")
    if (
        path.exists()
        and not (path / folder.DESCRIPTION).exists()
        and (not path.is_dir() or any(not folder.OURS.fullmatch(name.name) for name in path.iterdir()))
    ):
        raise GalleryError(f"{path} isn't a gallery; give the folder of one, or one that doesn't exist yet")
    return to_the_end(lambda: _restore(backup, path))


def _restore(backup: Path, path: Path) -> tuple[int, int]:
    new = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = folder.writer_lock(path)
    lock.take()
    try:
        if new:
            folder.check_free(path)  # another process may have been quicker
        if not (path / LOG).exists() and (backup / LOG).exists():
            shutil.copyfile(backup / LOG, path / LOG)
        log = Log(path)
        if log.problems:
            raise GalleryError(
                f"{log.problems[0]}, so nobody knows who was forgotten since the backup; restore it elsewhere, or move "
                f"{LOG} away and forget them again"
            )
        of = Log(backup)
        if log.lines and of.lines and log.lines[0] != of.lines[0]:
            raise GalleryError(f"{path} is another gallery than the one that was backed up; give a new place")
        if of.lines and of.lines[-1].what != "backup":
            raise GalleryError(
                f"{backup} isn't as `dare gallery backup` made it, but a gallery in use; give the backup first"
            )
        now, table = LanceGallery(backup).newest()
        tables = [found for place in path.iterdir() if (found := folder.TABLE.match(place.name))]
        newest = max((int(table[1]) for table in tables), default=0)
        description = now.model_copy(update={"table": folder.table_name(newest + 1)})
        try:
            with plain_errors(path, "restored"):
                gone = copy_table(table, path, description, log.forgotten(since=of).among)
            count = table.count_rows() - len(gone)
            log.append("restore", entries=count, files=files_below(path / f"{description.table}.lance"))
            folder.write(description, path)
        except BaseException:
            shutil.rmtree(path / f"{description.table}.lance", ignore_errors=True)
            if new:
                (path / LOG).unlink(missing_ok=True)
                lock.discard()
                with contextlib.suppress(OSError):  # something was put there in the meantime
                    for place in new:
                        place.rmdir()
            raise
        folder.sweep(path)
        return count, len(gone)
    finally:
        lock.release()


def _refuse_damaged(path: Path) -> None:
    if problems := verify(path).problems:
        raise GalleryError(f"{problems[0]} ({len(problems)} problems in all; see them with `dare gallery verify`)")
