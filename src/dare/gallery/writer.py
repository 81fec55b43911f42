"""Changes of a gallery's table, each one commit and flushed to disk: for the one who holds the lock."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dare.files import sync_folder
from dare.gallery import folder, kept
from dare.gallery.errors import GalleryError
from dare.gallery.table import plain_errors, read, schema

if TYPE_CHECKING:
    from lancedb.table import Table

MANY_COMMITS = 64
TOO_MANY_COMMITS = 1024
"""From the first number on a table is tidied up where that is cheap for its size, from the second on in any case."""
KEPT_FOR = timedelta(hours=1)
"""How long readers may take to read an old version."""

logger = logging.getLogger(__name__)


class Writer:
    """Remembers which ids there are and what is flushed to disk; of no use any more after an error.

    Args:
        path: of the gallery.
        content: of the `gallery.json` that names the table.
        table: a handle that nobody else uses.

    Attributes:
        content: as given.
        following: the sequence of the next entry.
    """

    def __init__(self, path: Path, content: bytes, table: "Table") -> None:
        self._path, self.content, self._table = path, content, table
        self._folder = path / f"{table.name}.lance"
        self._sequences: dict[str, int] = {}
        for batch in read(table, ("id", "sequence")):
            self._sequences |= zip(batch["id"].to_pylist(), batch["sequence"].to_pylist(), strict=True)
        # Above any sequence of the past, also of entries that were removed: readers tell by it what is new to them.
        self.following = max(max(self._sequences.values(), default=-1) + 1, table.version << 32)
        self._flushed = set[str]()
        self._commits = len(os.listdir(self._folder / "_versions"))  # noqa: PTH208 - names are enough

    def add(self, batch: pa.RecordBatch) -> None:
        """Add entries, or replace those with the same id."""
        ids = batch["id"].to_pylist()
        if self._sequences.keys().isdisjoint(ids):
            self._commit(lambda: self._table.add(batch))
        else:
            upsert = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            self._commit(lambda: upsert.execute(batch))
        self._sequences |= zip(ids, batch["sequence"].to_pylist(), strict=True)
        self.following += len(ids)

    def remove(self, ids: set[str]) -> int:
        """Remove entries; returns how many of them there were."""
        gone = [sequence for id in ids if (sequence := self._sequences.get(id)) is not None]
        if gone:
            self._commit(lambda: self._table.delete(f"sequence IN ({','.join(map(str, gone))})"))
            for id in ids:
                self._sequences.pop(id, None)
        return len(gone)

    def copy(self, description: folder.Description, people: set[int], ids: set[str]) -> int:
        """Write everything but these into a new table; returns how many were left out.

        Sequences begin anew, as versions do.
        """
        order = np.sort(np.fromiter(self._sequences.values(), np.int64))
        left_out = np.asarray([self._sequences[id] for id in ids if id in self._sequences], np.int64)
        whom = np.asarray([person for person in people if 0 <= person < 2**62], np.int64)
        columns = schema(description.sizes)
        gone = 0

        def kept() -> Iterator[pa.RecordBatch]:
            nonlocal gone
            for batch in read(self._table, columns.names):
                sequences = batch["sequence"].to_numpy()
                out = np.isin(sequences, left_out) | np.isin(pc.fill_null(batch["person"], -1).to_numpy(), whom)
                gone += int(out.sum())
                place = columns.get_field_index("sequence")
                renumbered = batch.set_column(place, columns.field(place), pa.array(np.searchsorted(order, sequences)))
                yield renumbered.filter(pa.array(~out))

        reader = pa.RecordBatchReader.from_batches(columns, kept())
        folder.connect(self._path).create_table(description.table, reader)
        folder.sync_below(self._path / f"{description.table}.lance", set())
        sync_folder(self._path)
        return gone

    def tidy_up(self) -> None:
        """Join small pieces and drop old versions, where there are many."""
        if self._commits < MANY_COMMITS:
            return
        pieces = cast(dict[str, Any], self._table.stats())["fragment_stats"]
        count = len(self._sequences)
        # Joining reads and writes all small pieces: worth it once they have doubled the table.
        if count - pieces["lengths"]["max"] < count / 2 and self._commits < TOO_MANY_COMMITS:
            return
        self._commits = 0
        try:
            # Nobody but the holder of the lock has unfinished files here: those found are of one who was killed.
            with plain_errors(self._path, "tidied up"):
                self._table.optimize(cleanup_older_than=KEPT_FOR, delete_unverified=True)
                self._flushed = folder.sync_below(self._folder, self._flushed)
        except (GalleryError, OSError) as error:
            logger.warning("%s; the gallery is as it was, and will be tidied up later", error)

    def keep(self, sizes: Mapping[int, int]) -> None:
        """Write a file of the rows, which is quicker to open, if the table is small."""
        batches = read(self._table, schema(sizes).names)
        kept.keep(self._path, self._table.name, sizes, batches, len(self._sequences), self._table.version)

    def _commit(self, change: Callable[[], object]) -> None:
        before = self._table.version
        kept.discard(self._path, self._table.name)
        try:
            change()
            self._flushed = folder.sync_below(self._folder, self._flushed)
        except BaseException:  # a panic of LanceDB may be one
            self._table.checkout_latest()  # type: ignore[no-untyped-call]
            if self._table.version != before:  # an error is to mean that nothing was done
                self._table.restore(before)
            raise
        self._commits += 1
