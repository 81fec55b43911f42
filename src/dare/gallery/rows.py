"""A table's rows in memory, in the order they were added: read when asked for, then kept up with the table.

Beside a small table lies a second file of its rows, which is read without LanceDB: importing that takes longer than
answering. The writer makes it when it has finished, and removes it before it changes anything. It counts only for the
very version of the table that it was made from, which the digest of that version's manifest tells, and if its checksum
is right. Whoever forgets entries removes it with the table.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.files import replacing
from dare.gallery.copies import Vectors
from dare.gallery.entry import UNKNOWN, Columns
from dare.gallery.folder import ROWS
from dare.gallery.store import GalleryError
from dare.gallery.table import LABELS, read, schema

if TYPE_CHECKING:
    from lancedb.table import Table

MOST_CHUNKS = 64
"""Taking a row out of an arrow column gets slower with the number of its chunks."""
MOST_BYTES = 128 * 2**20
"""Reading a larger table takes longer than importing LanceDB."""
ENTRY_BYTES = 300
"""Room for an entry's labels, roughly."""
DIGEST = b"manifest"
CHECKSUM_BYTES = 4


class Rows:
    """The rows of one table at one version. An error while it reads leaves it unusable.

    What it hands out never changes: later versions are read into other memory.

    Args:
        gallery: the folder.
        table: its name.
        sizes: exit -> size of its vectors, of those exits whose vectors the table has.
        open_table: gives a handle that nobody else uses; asked only if the table itself is to be read.
    """

    def __init__(self, gallery: Path, table: str, sizes: Mapping[int, int], open_table: "Callable[[], Table]") -> None:
        self._versions, self._sizes, self._open_table = _versions(gallery, table), sizes, open_table
        self._table: Table | None = None
        self._names: list[str] = []
        self._version, self.count = -1, 0
        self._labels: pa.Table | None = None
        self._sequences = np.zeros(0, np.int64)
        self._columns: Columns | None = None
        self._places: dict[str, int] | None = None
        self._exits: dict[int, Vectors] = {}
        self._kept: pa.Table | None = None
        if kept := open_kept(gallery, table, sizes):
            self._names, self._kept = kept
            self.count = len(self._kept)
        else:
            self._table = open_table()
            self.refresh()

    def refresh(self) -> None:
        """Become what the table is now."""
        # Each version is a file with a name of its own. Listing them takes a tenth of the time that LanceDB takes.
        if (names := _listed(self._versions)) == self._names:
            return
        if self._table is None:
            self._table, self._kept = self._open_table(), None
        else:
            self._table.checkout_latest()  # type: ignore[no-untyped-call]
        self._names = names
        if self._table.version == self._version:
            return
        self._version, self.count = self._table.version, self._table.count_rows()
        if self._labels is not None:
            self._catch_up()

    def labels(self) -> pa.Table:
        """The columns of `LABELS`."""
        if self._labels is None:
            self._labels = LABELS.empty_table()
            self._catch_up()
        return self._labels

    def columns(self) -> Columns:
        """People, cameras and times as a search takes them."""
        labels = self.labels()
        if self._columns is None:
            self._columns = Columns(
                pc.fill_null(labels["person"], UNKNOWN).to_numpy(),
                pc.fill_null(labels["camera"], UNKNOWN).to_numpy(),
                pc.fill_null(labels["time"], np.nan).to_numpy(),
            )
        return self._columns

    def places(self) -> dict[str, int]:
        """The row of each id."""
        if self._places is None:
            self._places = {id: place for place, id in enumerate(self.labels()["id"].to_pylist())}
        return self._places

    def vectors(self, exit: int) -> Vectors:
        """Those of one of the exits that the table has vectors of."""
        self.labels()
        if exit not in self._exits:
            vectors = Vectors(self._sizes[exit], self.count)
            sequences = [np.zeros(0, np.int64)]
            for batch in self._read(("sequence", f"exit_{exit}")):
                self._append(vectors, exit, batch)
                sequences.append(batch["sequence"].to_numpy())
            _sort(vectors, 0, np.concatenate(sequences))
            self._exits[exit] = vectors
        return self._exits[exit]

    def _catch_up(self) -> None:
        """Read what was added since, forget what was removed."""
        assert self._labels is not None
        before, last = len(self._sequences), max(self._sequences[-1:], default=-1)
        wanted = [*LABELS.names, *(f"exit_{exit}" for exit in self._exits)]
        batches = []
        for batch in self._read(wanted, None if last < 0 else f"sequence > {last}"):
            for exit, vectors in self._exits.items():
                self._append(vectors, exit, batch)
            batches.append(batch.select(LABELS.names))
        added = pa.Table.from_batches(batches, LABELS)
        sequences = added["sequence"].to_numpy()
        for vectors in self._exits.values():
            _sort(vectors, before, sequences)
        if not _increasing(sequences):
            order = np.argsort(sequences)
            added, sequences = added.take(order), sequences[order]
        if before + len(added) != self.count:
            left = [batch["sequence"].to_numpy() for batch in self._read(("sequence",))]
            kept = np.isin(self._sequences, np.concatenate([np.zeros(0, np.int64), *left]), assume_unique=True)
            self._labels, self._sequences = self._labels.filter(pa.array(kept)), self._sequences[kept]
            for vectors in self._exits.values():
                vectors.keep(np.concatenate([kept, np.ones(len(added), bool)]))
        labels = pa.concat_tables([self._labels, added])
        self._labels = labels.combine_chunks() if labels["id"].num_chunks > MOST_CHUNKS else labels
        self._sequences = np.concatenate([self._sequences, sequences])
        self._columns = self._places = None
        assert len(self._sequences) == self.count

    def _read(self, columns: Sequence[str], where: str | None = None) -> Iterable[pa.RecordBatch]:
        if self._kept is not None:
            assert where is None
            batches: list[pa.RecordBatch] = self._kept.select(columns).to_batches()
            return batches
        assert self._table is not None
        return read(self._table, columns, where)

    def _append(self, vectors: Vectors, exit: int, batch: pa.RecordBatch) -> None:
        rows = batch[f"exit_{exit}"].flatten().to_numpy().reshape(-1, self._sizes[exit])
        squares = np.einsum("nd,nd->n", rows, rows)
        if not ((squares > 0) & np.isfinite(squares)).all():
            raise GalleryError(
                f"{self._versions.parent} has a vector that is zero or not finite, so a file is damaged; "
                "put a backup in its place or index again"
            )
        vectors.append(rows)


def _sort(vectors: Vectors, start: int, sequences: NDArray[np.int64]) -> None:
    """Put the vectors from `start` on in order; nobody has seen them yet."""
    if not _increasing(sequences):
        vectors.sort(start, np.argsort(sequences))


def _increasing(numbers: NDArray[np.int64]) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def open_kept(gallery: Path, table: str, sizes: Mapping[int, int]) -> tuple[list[str], pa.Table] | None:
    """The table's versions, and its rows as it is now; None if they were not kept, or if the file is of another version
    or damaged."""
    try:
        # Listed first: what is added meanwhile is then noticed later.
        versions = _listed(_versions(gallery, table))
        content = pa.memory_map(str(gallery / f"{table}{ROWS}")).read_buffer()
        rows, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:].to_pybytes()
        kept = pa.ipc.open_file(pa.BufferReader(rows)).read_all()
        if kept.schema.metadata != {DIGEST: _digest(gallery, table, versions)} or _checksum(rows) != checksum:
            return None
        return (versions, kept) if kept.schema.equals(schema(sizes)) else None
    except (OSError, pa.ArrowException, ValueError):
        return None  # whoever reads the table itself will say what is wrong with it


def keep(gallery: Path, table: "Table", sizes: Mapping[int, int]) -> None:
    """Write the file of a table's rows: for the one who holds the lock, when nothing else changes.

    A table that is too large has none, and none is written where the newest version is another than the handle's.
    """
    count = table.count_rows()
    if count * (4 * sum(sizes.values()) + ENTRY_BYTES) > MOST_BYTES or open_kept(gallery, table.name, sizes):
        return
    versions = _listed(_versions(gallery, table.name))
    if _number(_newest(versions)) != table.version:
        return
    plain = schema(sizes)
    columns = plain.with_metadata({DIGEST: _digest(gallery, table.name, versions)})
    rows = pa.Table.from_batches(read(table, plain.names), plain).sort_by("sequence").combine_chunks()
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, columns) as writer:
        writer.write_table(rows.cast(columns))
    whole = content.getvalue()
    with replacing(gallery / f"{table.name}{ROWS}") as file:
        file.write(whole)
        file.write(_checksum(whole))


def _versions(gallery: Path, table: str) -> Path:
    return gallery / f"{table}.lance" / "_versions"


def _listed(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - names are enough


def _checksum(content: pa.Buffer) -> bytes:
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "little")


def _digest(gallery: Path, table: str, versions: Sequence[str]) -> bytes:
    """Of the newest manifest. It names the data files, of which no two have the same name."""
    newest = _versions(gallery, table) / _newest(versions)
    return hashlib.sha256(newest.read_bytes()).hexdigest().encode()


def _newest(versions: Sequence[str]) -> str:
    return max((name for name in versions if name.endswith(".manifest")), key=_number)


def _number(name: str) -> int:
    """The version in a manifest's name; newer ones count down from 2^64, so that the newest is listed first."""
    number = int(name.partition(".")[0])
    return 2**64 - 1 - number if number > 2**63 else number
