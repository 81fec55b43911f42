"""The log of a gallery's changes: who made which, when, with what result, and checksums of the files it wrote.

`gallery.log` has a JSON object per line. Each holds the SHA-256 of the line before it and, last, of itself, so that a
line that was damaged, edited, added or taken out is noticed; not a missing end, nor a log that was written anew. The
writer appends a line, flushed to disk, before a change counts as done. Lines hold no vectors, names or ids: whom a
change was about stands there as a keyed hash, which tells a restored backup who was forgotten since. The key is in the
first line, so a hash tells whoever has the log and guesses a name whether that was it.
"""

import contextlib
import getpass
import hashlib
import hmac
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from dare.files import advised, said, sealed, sync_folder, unsealed

LOG = "gallery.log"
HINT = "latest_version_hint.json"
FORGOTTEN = ("forget", "expire")
"""Changes after which a restored backup must not bring back what they were about."""


class Line(BaseModel):
    """A change.

    Attributes:
        number: counts from 1.
        time: in UTC, ISO 8601.
        who: user and machine.
        what: "begin", "add", "remove", "forget", "expire", "relabel", "restore", "backup", "tidy up"; "recover": files
            of a change whose writer was killed before it could say so.
        entries: how many it was about.
        asked: keyed hashes of ids and people.
        before: of "expire", seconds since 1970.
        files: path below the gallery -> size and SHA-256, of the files that were written.
        key: of the hashes; only in the first line.
        previous: SHA-256 of the line before.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    number: int
    time: str
    who: str
    what: str
    entries: int = 0
    asked: tuple[str, ...] = ()
    before: float | None = None
    files: dict[str, tuple[int, str]] = {}
    key: str = ""
    previous: str = ""


class Log:
    """As it was when it was read, with what was appended through this object since.

    Attributes:
        lines: the changes, oldest first.
        sums: path -> size and SHA-256, of all files that were ever written.
        problems: what is wrong with the log itself.
    """

    def __init__(self, gallery: Path) -> None:
        self._gallery, self._path = gallery, gallery / LOG
        self.lines: list[Line] = []
        self.sums: dict[str, tuple[int, str]] = {}
        self.problems: list[str] = []
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        *whole, torn = content.split(b"\n")
        self._length, self._count, self._previous = len(content) - len(torn), len(whole), ""
        for number, text in enumerate(whole, 1):
            self._take(number, text)

    def append(
        self,
        what: str,
        *,
        entries: int = 0,
        ids: Iterable[str] = (),
        people: Iterable[int] = (),
        before: float | None = None,
        files: Iterable[Path] = (),
    ) -> None:
        """Write a line, flushed to disk; only for the holder of the gallery's lock. If it fails there is no line."""
        if not self._count and what != "begin":
            self.append("begin")
        key = secrets.token_hex(16) if what == "begin" else ""
        line = Line(
            number=self._count + 1,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            who=_who(),
            what=what,
            entries=entries,
            asked=tuple(sorted([self.hashed(f"id {id}") for id in ids] + [self.hashed(person) for person in people])),
            before=before,
            files={path.relative_to(self._gallery).as_posix(): checksum(path) for path in files},
            key=key,
            previous=self._previous,
        )
        text = sealed(line.model_dump_json(exclude_defaults=True).encode()).replace(b"\n", b"")
        try:
            with self._path.open("ab") as file:
                file.truncate(self._length)  # what a killed writer left of a line
                try:
                    file.write(text + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException:
                    file.truncate(self._length)
                    raise
        except OSError as error:
            raise OSError(error.errno, advised(error, " while writing"), str(self._path)) from error
        if self._length == 0:
            sync_folder(self._gallery)
        self._length, self._count = self._length + len(text) + 1, self._count + 1
        self._previous = hashlib.sha256(text).hexdigest()
        self.lines.append(line)
        self.sums |= line.files

    def has(self, file: Path) -> bool:
        """Whether there is a checksum of this file."""
        return file.relative_to(self._gallery).as_posix() in self.sums

    def wrong(self, files: Iterable[Path]) -> list[Path]:
        """Those files that aren't as they were written; one without a checksum, or that is gone by now, isn't wrong."""
        found = []
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                if self.has(path) and checksum(path) != self.sums[path.relative_to(self._gallery).as_posix()]:
                    found.append(path)
        return found

    def recover(self, table: Path) -> None:
        """Log a table's files that no line names; only for the holder of the lock, before it changes anything."""
        unknown = [path for path in files_below(table) if not self.has(path)]
        if unknown or not self._count:
            self.append("recover" if self._count else "begin", files=sorted(unknown))

    def forgotten(self, since: "Log") -> "Forgotten":
        """What was forgotten since another log of the same gallery ended."""
        common = 0
        for ours, theirs in zip(self.lines, since.lines, strict=False):
            if ours != theirs:
                break
            common += 1
        return Forgotten(self, self.lines[common:])

    def _take(self, number: int, text: bytes) -> None:
        """Read a line, and notice what is wrong with it."""
        content, whole = unsealed(text)
        try:
            line = Line.model_validate_json(content)
        except ValidationError as error:
            self.problems.append(said(error, f"{self._path}, line {number}"))
        else:
            if not whole:
                self.problems.append(f"{self._path}, line {number}, isn't as it was written")
            elif (line.previous, line.number) != (self._previous, number):
                self.problems.append(f"{self._path}, line {number}: lines before it were taken out, added or changed")
            self.lines.append(line)
            self.sums |= line.files
        self._previous = hashlib.sha256(text).hexdigest()

    def hashed(self, whom: int | str | None) -> str:
        """What stands in the log for a person, or for an id behind "id "."""
        key = next((line.key for line in self.lines if line.key), "")
        return hmac.digest(key.encode(), str(whom).encode(errors="surrogateescape"), "sha256").hex()[:32]


class Forgotten:
    """Whom and what some changes forgot."""

    def __init__(self, log: Log, lines: Sequence[Line]) -> None:
        lines = [line for line in lines if line.what in FORGOTTEN]
        self._log, self._asked = log, {hashed for line in lines for hashed in line.asked}
        self._before = max((line.before for line in lines if line.before is not None), default=-float("inf"))

    def among(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """(N,), which entries with an `id`, a `person` and a `time` were forgotten."""
        out: NDArray[np.bool_] = pc.fill_null(batch["time"], np.inf).to_numpy() < self._before
        if self._asked:
            labels = zip(batch["id"].to_pylist(), batch["person"].to_pylist(), strict=True)
            out |= [
                not self._asked.isdisjoint((self._log.hashed(f"id {id}"), self._log.hashed(person)))
                for id, person in labels
            ]
        return out


def checksum(path: Path) -> tuple[int, str]:
    """A file's size and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, but those that LanceDB writes again and again and doesn't depend on."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names if name != HINT]


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user, and nothing in the environment
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
