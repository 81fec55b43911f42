"""A gallery in a folder, in a LanceDB table; searches run over the vectors of an exit in memory.

Every change is one commit of the table, flushed to disk before it counts as done. A process that is killed leaves the
state before a change or after it, and so does a power cut once a change has returned. A power cut between LanceDB's
commit and the flush may leave a commit whose files never reached the disk. The gallery then cannot be read until the
newest `.manifest` in the table's `_versions` is removed, which takes it back to before that change; a program that had
it open must open it again.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.gallery import folder
from dare.gallery.columns import UNKNOWN
from dare.gallery.entry import Entry, Filter, many, numbered, relabelled
from dare.gallery.log import Log, files_below
from dare.gallery.rows import Rows, keep
from dare.gallery.search import search_rows
from dare.gallery.store import GalleryChangedError, GalleryError, Hits, check_exit, check_vectors, kept_exit
from dare.gallery.table import Writer, connect, plain_errors, schema
from dare.retrieval.labels import Labels

if TYPE_CHECKING:
    from lancedb.table import Table

T = TypeVar("T")

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""To read. One fails only if a writer forgets entries meanwhile."""


class LanceGallery:
    """As `Gallery`; several threads may use it, and searches don't wait for changes.

    Attributes:
        path: the folder.
        model_path: where the network is; several for a cascade.
        names: (E,), of the exits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._description = description = folder.read(self.path)
        self.model, self.dimensions = description.model, description.dimensions
        self.model_path, self.names = description.model_path, description.names
        self.space, self._sizes = description.space, description.sizes
        self._lock = folder.writer_lock(self.path)
        self._changes, self._reads = threading.Lock(), threading.Lock()  # threads: of the writer, of the rows
        self._writer: Writer | None = None
        self._rows: Rows | None = None
        self.count()

    def take_lock(self) -> None:
        """Become the writer before there is anything to write, or raise GalleryLockedError."""
        self._change(lambda writer: None)

    def add(self, vectors: Sequence[NDArray[np.floating]], entries: Sequence[Entry]) -> None:
        arrays = check_vectors(self, vectors, entries)
        cameras = {entry.camera_name: entry.camera for entry in entries if entry.camera is not None}
        cameras.pop("", None)

        def write(writer: Writer) -> None:
            named = writer.description.cameras | cameras
            if named != writer.description.cameras:  # first: a name too many harms nobody
                writer.description = writer.description.model_copy(update={"cameras": named})
                folder.write(writer.description, self.path)
            writer.add(entries, arrays)

        if entries:
            self._change(write)

    def remove(self, ids: Iterable[str]) -> int:
        wanted = set(many(ids))
        return self._change(lambda writer: writer.remove(wanted)) if wanted else 0

    def forget(self, *, people: Iterable[int | str] = (), ids: Iterable[str] = (), before: float | None = None) -> int:
        """As `Gallery.forget`; also erases what was removed or replaced before.

        Writes all that stays into a new table, which needs as much room on disk, and deletes the old one. If the
        process is killed, nothing is forgotten, or the next writer completes it.
        """
        whom, wanted = set(numbered(people)), set(many(ids))
        those = np.asarray([person for person in whom if 0 <= person < 2**62], np.int64)

        def leaves(batch: pa.RecordBatch) -> NDArray[np.bool_]:
            out: NDArray[np.bool_] = np.isin(pc.fill_null(batch["person"], UNKNOWN).to_numpy(), those)
            if wanted:
                out |= np.asarray([id in wanted for id in batch["id"].to_pylist()], bool)
            if before is not None:
                out |= pc.fill_null(batch["time"], np.inf).to_numpy() < before
            return out

        return self._rewrite(leaves, {}, "forget" if before is None else "expire", wanted, people=whom, before=before)

    def relabel(self, people: Mapping[int | str, str]) -> int:
        """As `Gallery.relabel`; also erases their old names and what was removed or replaced before, as `forget`."""
        names = relabelled(people)
        return self._rewrite(
            lambda batch: np.zeros(len(batch), bool), names, "relabel", people=[*names, *dict(names.values())]
        )

    def _rewrite(
        self,
        leaves: Callable[[pa.RecordBatch], NDArray[np.bool_]],
        names: Mapping[int, tuple[int, str]],
        what: str,
        ids: Iterable[str] = (),
        **about: Any,
    ) -> int:
        """Put a new table in place of the old one, and delete that; returns how many entries are gone or changed."""

        def rewrite(writer: Writer) -> int:
            description = writer.description.next()
            try:
                count, gone = writer.copy(description, leaves, names)
                files = files_below(self.path / f"{description.table}.lance")
                # First: what was forgotten must not come back with a backup. By id, for people may have been renamed.
                writer.log.append(what, entries=count, files=files, ids={*ids, *gone}, **about)
                folder.write(description, self.path)
            finally:
                self._writer = None
                folder.sweep(self.path)
            with self._reads:
                self._rows = None
            return count

        return self._change(rewrite)

    def entries(self) -> pa.Table:
        """`id`, `person`, `camera`, `time`, `picture` and `name` of all entries, in the order they were added."""
        return self._read(lambda rows: rows.labels()).drop_columns("sequence")

    def people(self) -> dict[int, str]:
        """Number -> name, or the number as text, of all known people."""
        columns = self._read(lambda rows: rows.columns())
        return _all_named(columns.people, columns.called.people())

    def cameras(self) -> dict[int, str]:
        """Number -> name, or the number as text, of all known cameras."""
        columns = self._read(lambda rows: rows.columns())
        return _all_named(columns.cameras, columns.called.cameras())

    def search(self, exit: int, vectors: NDArray[np.floating], count: int, *, where: Filter = None) -> Hits:
        queries, kept = check_exit(self, exit, vectors), kept_exit(self, exit)
        matrix, columns = self._read(lambda rows: (rows.vectors(kept).matrix(), rows.columns()))
        return search_rows(queries, matrix, columns, count, where)

    def get(self, ids: Iterable[str]) -> dict[str, Entry]:
        labels, places, cameras = self._read(lambda rows: (rows.labels(), rows.places(), rows.camera_names))
        found = [places[id] for id in dict.fromkeys(many(ids)) if id in places]
        rows = labels.drop_columns("sequence").take(pa.array(found, pa.int64())).to_pylist()
        return {row["id"]: Entry(**row, camera_name=cameras.get(row["camera"], "")) for row in rows}

    def ids(self) -> list[str]:
        return self._texts("id")

    def pictures(self) -> list[str]:
        return self._texts("picture")

    def vectors(self, exit: int) -> NDArray[np.float32]:
        kept = kept_exit(self, exit)
        return self._read(lambda rows: rows.vectors(kept).all())

    def labels(self) -> Labels:
        return self._read(lambda rows: rows.columns()).labels()

    def count(self) -> int:
        return self._read(lambda rows: rows.count)

    def close(self) -> None:
        """As `Gallery.close`; whatever is asked afterwards opens the gallery again."""
        with self._changes, self._reads:
            try:
                if self._lock.is_held():
                    to_the_end(self._keep_rows)
            finally:
                self._writer = self._rows = None
                self._lock.release()

    def _keep_rows(self) -> None:
        try:
            with plain_errors(self.path, "read"):
                keep(self.path, self._writer.table if self._writer else self._open(self._current()), self._sizes)
        except (GalleryError, OSError) as error:
            logger.warning("%s; what was changed is safe, but the gallery opens more slowly", error)

    def _texts(self, column: str) -> list[str]:
        texts: list[str] = self._read(lambda rows: rows.labels())[column].to_pylist()
        return texts

    def _read(self, answer: Callable[[Rows], T]) -> T:
        """An answer from the newest rows, all of one version.

        A writer that forgets entries deletes the files that are read here; then the new ones are read.
        """
        with self._reads:
            for attempt in range(1, ATTEMPTS + 1):
                rows, self._rows = self._rows, None  # an error leaves them unusable
                try:
                    with plain_errors(self.path, "read"):
                        now = self._current()
                        if rows is None or now != self._description:
                            opened = partial(self._open, now)
                            rows = Rows(self.path, now.table, self._sizes, opened, now.camera_names)
                            self._description = now
                        else:
                            rows.refresh()
                        found = answer(rows)
                except (GalleryError, OSError) as error:
                    if attempt == ATTEMPTS or isinstance(error, GalleryChangedError):
                        raise
                else:
                    self._rows = rows
                    return found
        raise AssertionError

    def _current(self) -> folder.Description:
        try:
            now = folder.read(self.path)
        except GalleryError as error:
            raise GalleryChangedError(f"the gallery was open and can no longer be used: {error}") from error
        if (now.model, now.sizes) != (self.model, self._sizes):
            raise GalleryChangedError(
                f"{self.path} holds vectors of model {now.model[:12]} {now.sizes} now, "
                f"it was opened with those of {self.model[:12]} {self._sizes}; open it again"
            )
        return now

    def newest(self) -> "tuple[folder.Description, Table]":
        """The description and the table as they are now; the table stays at this version."""
        now = self._current()
        with plain_errors(self.path, "read"):
            return now, self._open(now)

    def _open(self, description: folder.Description) -> "Table":
        table = description.table
        if not (self.path / f"{table}.lance").is_dir():
            raise GalleryError(f"{self.path} lacks its table {table}.lance; restore a backup or index again")
        opened: Table = connect(self.path).open_table(table)
        if not opened.schema.equals(schema(self._sizes)):
            raise GalleryError(
                f"{self.path / folder.DESCRIPTION} has exits of {self.dimensions} dimensions, {table}.lance has "
                "other columns; restore a backup or index again elsewhere"
            )
        return opened

    def _change(self, act: Callable[[Writer], T]) -> T:
        """What the writer, who has the lock, returns for a change. After an error a new writer reads the table again.

        LanceDB goes on with a commit when the thread that waits for it is interrupted. So the change has a thread of
        its own: Ctrl-C takes effect when it has ended.
        """

        def change() -> T:
            with self._changes:
                try:
                    with plain_errors(self.path, "changed"):
                        now = self._current()  # first: taking the lock would make a deleted folder again
                        if self._writer is None or now != self._writer.description or not self._lock.is_held():
                            self._writer = self._become_writer()
                        return act(self._writer)
                except BaseException:
                    self._writer = None
                    raise

        return to_the_end(change)

    def _become_writer(self) -> Writer:
        self._lock.take()
        try:
            now = self._current()  # it may have changed until now
            folder.sweep(self.path)
            log = Log(self.path)
            log.recover(self.path / f"{now.table}.lance")
            return Writer(self.path, now, self._open(now), log)
        except BaseException:
            self._lock.release()
            raise


def _all_named(numbers: NDArray[np.int64], names: Mapping[int, str]) -> dict[int, str]:
    return {number: names.get(number, str(number)) for number in np.unique(numbers[numbers >= 0]).tolist()}


def to_the_end(act: Callable[[], T]) -> T:
    """What a function returns; an interrupt meanwhile is raised once it has ended."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(act).result()
