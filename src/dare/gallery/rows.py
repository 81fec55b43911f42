"""A table's rows in memory, in the order they were added: read when asked for, then kept up with the table.

Beside a small table lies a second file of its rows, which is read without LanceDB: importing that takes longer than
answering. The writer makes it when it closes, and removes it before it changes anything. It is used only with the
version of the table that it was made from, by the digest of that version's manifest, and if its checksum is right.
Forgetting removes it with the table.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.files import replacing
from dare.gallery.columns import UNKNOWN, Columns, Names
from dare.gallery.copies import Vectors
from dare.gallery.folder import ROWS
from dare.gallery.store import GalleryError
from dare.gallery.table import LABELS, read, schema

if TYPE_CHECKING:
    from lancedb.table import Table

MOST_CHUNKS = 64
"""Reading a row of an arrow column gets slower with the number of its chunks."""
MOST_BYTES = 128 * 2**20
"""Reading a larger table takes longer than importing LanceDB."""
ENTRY_BYTES = 300
"""Room for an entry's labels, roughly."""
CHECKSUM_BYTES = 4


class Rows:
    """The rows of one table at one version, with vectors of some exits (exit -> size); not to be used after an error.

    What it hands out never changes: later versions are read into other memory. `open_table` is called only if the table
    itself has to be read.
    """

    def __init__(
        self,
        gallery: Path,
        table: str,
        sizes: Mapping[int, int],
        open_table: "Callable[[], Table]",
        camera_names: Mapping[int, str] | None = None,
    ) -> None:
        self.camera_names = camera_names or {}
        self._gallery, self._versions = gallery, _versions(gallery, table)
        self._sizes, self._open_table = sizes, open_table
        self._table: Table | None = None
        self._names: list[str] = []
        self._version, self.count = -1, 0
        self._labels: pa.Table | None = None
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
        if (names := os.listdir(self._versions)) == self._names:  # noqa: PTH208 - names are enough
            return
        if self._table is None:
            self._table, self._kept = self._open_table(), None
        else:
            self._table.checkout_latest()  # type: ignore[no-untyped-call]
        self._names = names
        if self._table.version != self._version:
            self._version, self.count = self._table.version, self._table.count_rows()
            if self._labels is not None:
                self._catch_up(self._labels)

    def labels(self) -> pa.Table:
        return self._catch_up(LABELS.empty_table()) if self._labels is None else self._labels

    def columns(self) -> Columns:
        """People, cameras and times as a search takes them."""
        labels = self.labels()
        if self._columns is None:
            self._columns = Columns(
                labels["id"],
                pc.fill_null(labels["person"], UNKNOWN).to_numpy(),
                pc.fill_null(labels["camera"], UNKNOWN).to_numpy(),
                pc.fill_null(labels["time"], np.nan).to_numpy(),
                Names(labels["person"], labels["name"], self.camera_names),
            )
        return self._columns

    def places(self) -> dict[str, int]:
        """The row of each id."""
        if self._places is None:
            self._places = {id: place for place, id in enumerate(self.labels()["id"].to_pylist())}
        return self._places

    def vectors(self, exit: int) -> Vectors:
        self.labels()
        if exit not in self._exits:
            vectors = Vectors(self._sizes[exit], self.count)
            self._take_in({exit: vectors}, ["sequence"], None)
            self._exits[exit] = vectors
        return self._exits[exit]

    def _catch_up(self, labels: pa.Table) -> pa.Table:
        """Read what was added to the rows that had these labels, drop what was removed."""
        before = len(labels)
        new = f"sequence > {labels['sequence'][-1].as_py()}" if before else None
        added = self._take_in(self._exits, LABELS.names, new)
        if before + len(added) != self.count:
            left = self._take_in({}, ["sequence"], None)["sequence"].to_numpy()
            kept = np.isin(labels["sequence"].to_numpy(), left, assume_unique=True)
            labels = labels.filter(pa.array(kept))
            for vectors in self._exits.values():
                vectors.keep(np.concatenate([kept, np.ones(len(added), bool)]))
        labels = pa.concat_tables([labels, added])
        self._labels = labels.combine_chunks() if labels["id"].num_chunks > MOST_CHUNKS else labels
        self._columns = self._places = None
        assert len(self._labels) == self.count
        return self._labels

    def _take_in(self, exits: Mapping[int, Vectors], columns: list[str], where: str | None) -> pa.Table:
        """Read rows, append the vectors of some exits, and return the columns; all in the order of the sequences."""
        wanted, before = [*columns, *(f"exit_{exit}" for exit in exits)], [len(v.all()) for v in exits.values()]
        if self._kept is not None:
            assert where is None
            batches: Iterable[pa.RecordBatch] = self._kept.select(wanted).to_batches()
        else:
            assert self._table is not None
            batches = read(self._table, wanted, where)
        parts = []
        for batch in batches:
            for exit, vectors in exits.items():
                vectors.append(usable(batch[f"exit_{exit}"], self._sizes[exit], self._gallery))
            parts.append(batch.select(columns))
        rows = pa.Table.from_batches(parts, pa.schema([LABELS.field(name) for name in columns]))
        sequences = rows["sequence"].to_numpy()
        if _increasing(sequences):
            return rows
        order = np.argsort(sequences)
        for start, vectors in zip(before, exits.values(), strict=True):
            vectors.sort(start, order)
        return rows.take(order)


def usable(column: pa.Array, size: int, gallery: Path) -> NDArray[np.float32]:
    """A batch's vectors, (N, size); a GalleryError for one that no gallery stores."""
    vectors: NDArray[np.float32] = column.flatten().to_numpy().reshape(-1, size)
    squares = np.einsum("nd,nd->n", vectors, vectors)
    if not ((squares > 0) & np.isfinite(squares)).all():
        raise GalleryError(
            f"{gallery} has a vector that is zero or not finite, so a file is damaged; restore a backup or index again"
        )
    return vectors


def _increasing(numbers: NDArray[np.int64]) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def open_kept(gallery: Path, table: str, sizes: Mapping[int, int]) -> tuple[list[str], pa.Table] | None:
    """The table's versions and its rows, from their file; None if it is missing, damaged or of another version."""
    try:
        # Listed first, so that what is added meanwhile is noticed later.
        versions, _, digest = _newest(_versions(gallery, table))
        content = pa.memory_map(str(gallery / f"{table}{ROWS}")).read_buffer()
        rows, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:].to_pybytes()
        kept = pa.ipc.open_file(pa.BufferReader(rows)).read_all()
        if kept.schema.equals(_kept_schema(sizes, digest), check_metadata=True) and _checksum(rows) == checksum:
            return versions, kept
    except (OSError, pa.ArrowException, ValueError):
        pass  # reading the table itself will tell what is wrong
    return None


def is_whole(gallery: Path, table: str) -> bool:
    """Whether the file of a table's rows is as it was written, or isn't there."""
    try:
        content = (gallery / f"{table}{ROWS}").read_bytes()
    except FileNotFoundError:
        return True
    return _checksum(pa.py_buffer(content[:-CHECKSUM_BYTES])) == content[-CHECKSUM_BYTES:]


def keep(gallery: Path, table: "Table", sizes: Mapping[int, int]) -> None:
    """Write the file of a table's rows; only for the holder of the lock.

    None is written for a table that is too large, or if the newest version isn't the handle's.
    """
    count = table.count_rows()
    if count * (4 * sum(sizes.values()) + ENTRY_BYTES) > MOST_BYTES or open_kept(gallery, table.name, sizes):
        return
    _, newest, digest = _newest(_versions(gallery, table.name))
    if newest != table.version:
        return
    plain, columns = schema(sizes), _kept_schema(sizes, digest)
    rows = pa.Table.from_batches(read(table, plain.names), plain).sort_by("sequence").combine_chunks()
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, columns) as writer:
        writer.write_table(rows.cast(columns))
    whole = content.getvalue()
    with replacing(gallery / f"{table.name}{ROWS}") as file:
        file.write(whole)
        file.write(_checksum(whole))


def _kept_schema(sizes: Mapping[int, int], digest: str) -> pa.Schema:
    return schema(sizes).with_metadata({"manifest": digest})


def _versions(gallery: Path, table: str) -> Path:
    return gallery / f"{table}.lance" / "_versions"


def _newest(folder: Path) -> tuple[list[str], int, str]:
    """The names of a table's versions; the newest one's number, and its digest.

    A manifest names the data files, and no two of these ever have the same name.
    """
    names = os.listdir(folder)  # noqa: PTH208 - names are enough
    numbers = {_number(name): name for name in names if name.endswith(".manifest")}
    newest = max(numbers)
    return names, newest, hashlib.sha256((folder / numbers[newest]).read_bytes()).hexdigest()


def _number(manifest: str) -> int:
    number = int(manifest.partition(".")[0])
    return 2**64 - 1 - number if number > 2**63 else number  # newer ones count down, so that the newest is listed first


def newest_version(files: Iterable[str], table: str) -> str | None:
    """The path of a table's newest version among paths below the gallery."""
    versions = [file for file in files if file.startswith(f"{table}.lance/_versions/") and file.endswith(".manifest")]
    return max(versions, key=lambda file: _number(file.rpartition("/")[2]), default=None)


def _checksum(content: pa.Buffer) -> bytes:
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "little")
