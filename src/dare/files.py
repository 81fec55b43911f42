"""Files that are whole or not there, their checksums, and what is wrong with a file that has a schema."""

import contextlib
import errno
import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from pydantic import ValidationError

LONGEST = 80
"""Characters of a value that are shown."""

SEAL = re.compile(rb',\s*"sha256": "([0-9a-f]{64})"')
CHANGED = "isn't as it was written: its sha256 is missing, or doesn't fit"

STALE = 3600.0
"""Seconds after which an unfinished file was left by a process that was killed."""

SPACE = "free some space, or give a place on another disk"
PLACE = "give a place that can be written to"
PERMISSIONS = "change its permissions, or give another place"
WRITE_ELSEWHERE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), SPACE),
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or give another place",
    errno.EROFS: PLACE,
    **dict.fromkeys((errno.EACCES, errno.EPERM), PERMISSIONS),
}
"""What to do about errors of the system."""

BOUNDS = {"greater than or equal to": "at least", "less than or equal to": "at most"}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes `path`'s place when the block ends, and vanishes if it fails.

    A reader finds the old content or the new, never a part, even after a crash or a power cut.
    """
    with _beside(path):
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        aside = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield cast(BinaryIO, file)
                file.flush()
                os.fsync(file.fileno())
            aside.chmod(0o666 & ~_umask())  # mkstemp makes private files; give it the mode open() would
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def sealed(content: bytes) -> bytes:
    """The text of a JSON object, with the SHA-256 of what stands before it as its last entry."""
    text = content.rstrip().removesuffix(b"}").rstrip()
    return text + b',\n "sha256": "' + hashlib.sha256(text).hexdigest().encode() + b'"\n}\n'


def unsealed(content: bytes) -> tuple[bytes, bool]:
    """What was sealed, and whether it is still as it was then."""
    *_, last = [None, *SEAL.finditer(content)]
    if last is None:
        return content, False
    text, after = content[: last.start()], content[last.end() :]
    return text + after, after.strip() == b"}" and hashlib.sha256(text).hexdigest().encode() == last[1]


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes `path`'s place when the block ends, and vanishes with its content if it fails."""
    path = path.resolve()
    with _beside(path):
        _sweep(path)
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
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Makes the folders above `path`, which vanish if the block fails, and its name durable when the block ends."""
    folder = path.absolute().parent
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # something was put there in the meantime
            for place in missing:
                place.rmdir()
        if isinstance(error, OSError) and is_bare(error) and (error.errno in WRITE_ELSEWHERE or not error.filename):
            raise OSError(error.errno, advised(error, " while writing"), str(path)) from error
        raise
    sync_folder(folder)


def is_bare(error: OSError) -> bool:
    """Whether an error has the system's own words, which say neither what was done nor what to do."""
    return bool(error.errno) and error.strerror == os.strerror(error.errno or 0)


def advised(error: OSError, doing: str = "") -> str:
    """The system's words for an error, while doing what, and what to do about it where that is known."""
    advice = WRITE_ELSEWHERE.get(error.errno or 0)
    return f"{error.strerror}{doing}" + (f"; {advice}" if advice else "")


def _sweep(path: Path) -> None:
    """Remove what killed saves of this file or folder have left, but not what a save at work may need."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime < STALE:
                continue
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def _swap(aside: Path, path: Path) -> None:
    """Put a folder in the place of another, which is put back if that fails."""
    if not path.exists():
        aside.replace(path)
        return
    before = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        path.replace(before)  # an empty folder can be replaced, a full one can't
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
    """Refuse a path that `replacing` couldn't write to, before hours are spent on its content."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected the name of a file", str(path))
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "cannot write into this folder", str(folder))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; does nothing on systems that can't (Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def said(error: "ValidationError", file: str | Path) -> str:
    """The first thing that a pydantic model refused: `FILE: PLACE: expected ..., got ...`.

    What a model's own validators raise is said in their words.
    """
    errors = error.errors(include_url=False)
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"])
    where = f"{file}: {place}" if place else str(file)
    if first["type"] == "missing":
        lacking = [str(each["loc"][0]) for each in errors if each["type"] == "missing" and len(each["loc"]) == 1]
        if len(lacking) > 1:
            return f"{file} lacks {', '.join(lacking)}, so it is another kind of file"
        parent = ".".join(str(part) for part in first["loc"][:-1])
        return f"{file}: {f'{parent}: ' if parent else ''}expected {first['loc'][-1]}, which is missing; add it"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where} is unknown; leave it out, or correct its name"
    if first["type"] == "json_invalid":
        return f"{where} isn't valid JSON: {first['ctx']['error']}"
    if first["type"] in ("value_error", "assertion_error"):
        return f"{where}: {first['ctx']['error']}"
    expected = first["msg"].removeprefix("Input should be ")
    for bound, plain in BOUNDS.items():
        expected = expected.replace(bound, plain)
    return f"{where}: expected {expected[:1].lower()}{expected[1:]}, got {_shown(first['input'])}"


def parse_toml(text: str) -> dict[str, Any]:
    """What a TOML text says; a ValueError says in one line why it isn't one."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # Python reads no integers of thousands of digits
        raise ValueError("a number in it has too many digits") from error


def plain(text: str) -> str:
    """A text for a cell of a CSV file; one that a spreadsheet would take for a formula gets a quote in front."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python doesn't write integers of thousands of digits
        return "a number with too many digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def compiled(*signature: Any, **options: Any) -> Callable[[Any], Any]:
    """numba's `njit`, without Python's lock, and kept on disk for the next process where there is room for it.

    That is beside the module or in the user's folder for caches, else in the system's folder for temporary files, in a
    folder that belongs to the user alone.
    """
    import numba

    njit: Any = numba.njit
    config: Any = numba.config

    def compile(function: Any) -> Any:
        with contextlib.suppress(RuntimeError):  # numba finds no place
            return njit(*signature, nogil=True, cache=True, **options)(function)
        config.CACHE_DIR = config.CACHE_DIR or _own_cache()
        with contextlib.suppress(RuntimeError):
            return njit(*signature, nogil=True, cache=True, **options)(function)
        return njit(*signature, nogil=True, **options)(function)

    return compile


def _own_cache() -> str:
    """A folder for what numba compiles, or "" where none can be had."""
    user = os.getuid() if hasattr(os, "getuid") else None
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"dare-numba-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # What others could write there would be their code in this process.
        if stat.S_ISDIR(found.st_mode) and user in (None, found.st_uid) and not found.st_mode & 0o022:
            return str(folder)
    return ""
