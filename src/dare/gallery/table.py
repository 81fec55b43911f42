"""A LanceDB table of entries: its columns, how it is read and changed, and LanceDB's errors in plain words."""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.files import advised, sync_folder
from dare.gallery import folder
from dare.gallery.entry import Entry
from dare.gallery.log import HINT, Log, files_below
from dare.gallery.store import GalleryError

if TYPE_CHECKING:
    from lancedb.table import Table

LABELS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("person", pa.int64()),
        pa.field("camera", pa.int64()),
        pa.field("time", pa.float64()),
        pa.field("picture", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
    ]
)
BATCH_ROWS = 4096
NOISE = r"lance error: |LanceError\(\w+\): |Generic \S+ error: |Wrapped error: "
PANICS = ("RustPanic", "PanicException")
"""What LanceDB raises for a damaged file; the classes aren't public."""
MANY_COMMITS = 64
TOO_MANY_COMMITS = 1024
"""From the first number on a table is tidied up if that is cheap for its size, from the second on in any case."""
KEPT_FOR = timedelta(hours=1)
"""How long readers may take to read an old version."""

logger = logging.getLogger(__name__)


def connect(path: Path) -> Any:
    """LanceDB's handle on a folder. LanceDB is imported only where a table itself is read or written."""
    import lancedb

    return lancedb.connect(path)


def schema(sizes: Mapping[int, int]) -> pa.Schema:
    """Columns of a table with vectors of these exits (exit -> size).

    Sequences number entries in the order in which they were added; none is used a second time.
    """
    exits = [pa.field(f"exit_{number}", pa.list_(pa.float32(), size), nullable=False) for number, size in sizes.items()]
    return pa.schema([*LABELS, *exits])


def read(table: "Table", columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
    """Columns of all rows, in no particular order."""
    query = table.search().select(list(columns))
    if where is not None:
        query = query.where(where)
    yield from query.to_batches(BATCH_ROWS)


@contextlib.contextmanager
def plain_errors(path: Path, verb: str) -> Iterator[None]:
    """Turns LanceDB's few errors with pages of text into an OSError or a GalleryError of one line."""
    try:
        yield
    except GalleryError:
        raise
    except BaseException as error:
        if not isinstance(error, (RuntimeError, ValueError, pa.ArrowException)) and type(error).__name__ not in PANICS:
            raise
        if number := re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error)):
            code = int(number[1] or number[2])
            problem = OSError(code, os.strerror(code), str(path))
            raise OSError(code, advised(problem, f", the gallery could not be {verb}"), str(path)) from error
        lines = str(error).splitlines() or [type(error).__name__]
        reason = re.sub(NOISE, "", lines[0].split(", /")[0])
        raise GalleryError(
            f"{path} could not be {verb}: {reason}; if it stays so, restore a backup or index again"
        ) from error


class Writer:
    """Remembers which ids there are and what is flushed to disk; not to be used after an error."""

    def __init__(self, path: Path, description: folder.Description, table: "Table", log: Log) -> None:
        self._path, self.description, self.table, self.log = path, description, table, log
        self._folder = path / f"{table.name}.lance"
        self._sequences: dict[str, int] = {}
        for batch in read(table, ("id", "sequence")):
            self._sequences |= zip(batch["id"].to_pylist(), batch["sequence"].to_pylist(), strict=True)
        # Above any earlier sequence, also of removed entries: readers recognise new entries by it.
        self._following = max(max(self._sequences.values(), default=-1) + 1, table.version << 32)
        self._flushed = set[str]()
        self._commits = len(os.listdir(self._folder / "_versions"))  # noqa: PTH208 - names are enough

    def add(self, entries: Sequence[Entry], vectors: Mapping[int, NDArray[np.float32]]) -> None:
        """Add entries with their vectors (N, D) of some exits, or replace those with the same id."""
        self._tidy_up()
        sequences = {entry.id: self._following + place for place, entry in enumerate(entries)}
        labels = {name: [getattr(entry, name) for entry in entries] for name in LABELS.names if name != "sequence"}
        batch = pa.RecordBatch.from_pydict(labels | {"sequence": list(sequences.values())}, LABELS)
        for exit, values in vectors.items():
            column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            batch = batch.append_column(pa.field(f"exit_{exit}", column.type, nullable=False), column)
        if self._sequences.keys().isdisjoint(sequences):
            self._commit("add", len(sequences), lambda: self.table.add(batch))
        else:
            upsert = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            self._commit("add", len(sequences), lambda: upsert.execute(batch))
        self._sequences |= sequences
        self._following += len(entries)

    def remove(self, ids: set[str]) -> int:
        """Remove entries; returns how many there were."""
        gone = {id: self._sequences[id] for id in ids if id in self._sequences}
        if gone:
            self._tidy_up()
            listed = ",".join(map(str, gone.values()))
            self._commit("remove", len(gone), lambda: self.table.delete(f"sequence IN ({listed})"), gone)
            for id in gone:
                del self._sequences[id]
        return len(gone)

    def copy(
        self,
        description: folder.Description,
        leaves: Callable[[pa.RecordBatch], NDArray[np.bool_]],
        names: Mapping[int, tuple[int, str]],
    ) -> tuple[int, list[str]]:
        """Write the entries into a new table, numbered anew.

        Args:
            leaves: which entries of a batch are left out.
            names: person -> number and name from now on.

        Returns:
            How many were left out or have another name, and the ids of those left out.

        Raises:
            GalleryError: a damaged file, which would get a new checksum otherwise.
        """
        if wrong := self.log.wrong(files_below(self._folder)):
            raise GalleryError(f"{wrong[0]} isn't as it was written; restore a backup")
        order, renamed = np.sort(np.fromiter(self._sequences.values(), np.int64)), 0

        def changed(batch: pa.RecordBatch) -> pa.RecordBatch:
            nonlocal renamed
            batch = _with(batch, sequence=np.searchsorted(order, batch["sequence"].to_numpy()))
            places = np.flatnonzero(np.isin(pc.fill_null(batch["person"], -1).to_numpy(), list(names)))
            if not len(places):
                return batch
            people, called = batch["person"].to_pylist(), batch["name"].to_pylist()
            for place in places:
                people[place], called[place] = names[people[place]]
            renamed += len(places)
            return _with(batch, person=people, name=called)

        gone = copy_table(self.table, self._path, description, leaves, changed)
        return len(gone) + renamed, gone

    def _tidy_up(self) -> None:
        """Join small pieces and drop old versions, if there are many."""
        if self._commits < MANY_COMMITS:
            return
        pieces = cast(dict[str, Any], self.table.stats())["fragment_stats"]
        count = len(self._sequences)
        # Joining reads and writes all small pieces: worth it once they have doubled the table.
        if count - pieces["lengths"]["max"] < count / 2 and self._commits < TOO_MANY_COMMITS:
            return
        self._commits = 0
        try:
            # Only the holder of the lock writes: unfinished files are those of a writer that was killed.
            with plain_errors(self._path, "tidied up"):
                self.table.optimize(cleanup_older_than=KEPT_FOR, delete_unverified=True)
                self.log.append("tidy up", files=self._flush())
        except (GalleryError, OSError) as error:
            logger.warning("%s; the gallery is unchanged and will be tidied up later", error)

    def _commit(self, what: str, count: int, change: Callable[[], object], ids: Iterable[str] = ()) -> None:
        before = self.table.version
        (self._path / f"{self.table.name}{folder.ROWS}").unlink(missing_ok=True)
        try:
            change()
            self.log.append(what, entries=count, ids=ids, files=self._flush())
        except BaseException:  # a panic of LanceDB may be one
            self.table.checkout_latest()  # type: ignore[no-untyped-call]
            if self.table.version != before:  # an error must mean that nothing was done
                self.table.restore(before)
            raise
        self._commits += 1

    def _flush(self) -> list[Path]:
        """Flush the table to disk; returns the files that the log doesn't have."""
        before, self._flushed = self._flushed, folder.sync_below(self._folder, self._flushed)
        new = [Path(name) for name in sorted(self._flushed - before)]
        return [path for path in new if path.name != HINT and not path.is_dir() and not self.log.has(path)]


def _with(batch: pa.RecordBatch, **columns: Any) -> pa.RecordBatch:
    """A batch with other values in some columns."""
    for name, values in columns.items():
        place = batch.schema.get_field_index(name)
        field = batch.schema.field(place)
        batch = batch.set_column(place, field, pa.array(values, field.type))
    return batch


def copy_table(
    table: "Table",
    path: Path,
    description: folder.Description,
    leaves: Callable[[pa.RecordBatch], NDArray[np.bool_]] = lambda batch: np.zeros(len(batch), bool),
    changed: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> list[str]:
    """Write a table's rows into a new one of a gallery, flushed to disk; returns the ids of those left out.

    Args:
        leaves: (N,), which rows of a batch are left out.
        changed: the others as they are from now on.
    """
    columns, gone = schema(description.sizes), list[str]()

    def kept() -> Iterator[pa.RecordBatch]:
        for batch in read(table, columns.names):
            out = pa.array(leaves(batch))
            gone.extend(batch["id"].filter(out).to_pylist())
            yield changed(batch.filter(pc.invert(out)))

    connect(path).create_table(description.table, pa.RecordBatchReader.from_batches(columns, kept()))
    folder.sync_below(path / f"{description.table}.lance", set())
    sync_folder(path)
    return gone
