"""A second file of a small table's rows, which is read without LanceDB: to import that takes longer than to answer.

The writer makes it when it has finished, and removes it before it changes anything. It counts only for the very version
of the table that it was made from, which the digest of that version's manifest tells, and if its checksum is right.
Whoever forgets entries removes it with the table.
"""

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from dare.files import replacing
from dare.gallery.folder import ROWS
from dare.gallery.table import schema

MOST_BYTES = 128 * 2**20
"""Of a larger table reading takes longer than importing LanceDB."""
PICTURE_BYTES = 300
"""Room for an entry's labels, roughly."""
DIGEST = b"manifest"
CHECKSUM_BYTES = 4


class KeptRows:
    """The file of one table at one version.

    Attributes:
        versions: names in the table's folder of versions when it was opened.
        count: of rows.
    """

    def __init__(self, versions: list[str], reader: pa.ipc.RecordBatchFileReader) -> None:
        self.versions, self._reader = versions, reader
        self.count = sum(reader.get_batch(number).num_rows for number in range(reader.num_record_batches))

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns of all rows, in the order they were added."""
        for number in range(self._reader.num_record_batches):
            yield self._reader.get_batch(number).select(list(columns))


def open_kept(gallery: Path, table: str, sizes: Mapping[int, int]) -> KeptRows | None:
    """The rows of the table as it is now; None if they were not kept, or are of another version or damaged."""
    try:
        # Listed first: what is added meanwhile is then noticed later.
        versions = os.listdir(gallery / f"{table}.lance" / "_versions")  # noqa: PTH208 - names are enough
        content = pa.memory_map(str(gallery / f"{table}{ROWS}")).read_buffer()
        rows, checksum = content[:-CHECKSUM_BYTES], content[-CHECKSUM_BYTES:].to_pybytes()
        reader = pa.ipc.open_file(pa.BufferReader(rows))
        columns, wanted = reader.schema, {DIGEST: _digest(gallery, table, versions)}
        if columns.metadata != wanted or not columns.remove_metadata().equals(schema(sizes)):
            return None
        return KeptRows(versions, reader) if _checksum(rows) == checksum else None
    except (OSError, pa.ArrowException, ValueError):
        return None  # whoever reads the table itself will say what is wrong with it


def keep(
    gallery: Path,
    table: str,
    sizes: Mapping[int, int],
    batches: Iterator[pa.RecordBatch],
    count: int,
    version: int,
) -> None:
    """Write the rows of the table, of its newest version: for the one who holds the lock, when nothing else changes.

    A table that is too large has none, and none is written where the newest version is another than was read.

    Args:
        sizes: as of `schema`.
        batches: all columns of all rows, in any order; not read where none is written.
        count: of rows.
        version: of the table, which the batches are of.
    """
    path = gallery / f"{table}{ROWS}"
    if count * (4 * sum(sizes.values()) + PICTURE_BYTES) > MOST_BYTES or open_kept(gallery, table, sizes):
        return
    versions = os.listdir(gallery / f"{table}.lance" / "_versions")  # noqa: PTH208 - names are enough
    if max(map(_number, _manifests(versions))) != version:
        return
    columns = schema(sizes).with_metadata({DIGEST: _digest(gallery, table, versions)})
    rows = pa.Table.from_batches(batches, schema(sizes)).sort_by("sequence").combine_chunks()
    content = pa.BufferOutputStream()
    with pa.ipc.new_file(content, columns) as writer:
        writer.write_table(rows.cast(columns))
    whole = content.getvalue()
    with replacing(path) as file:
        file.write(whole)
        file.write(_checksum(whole))


def discard(gallery: Path, table: str) -> None:
    """Remove the file, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        (gallery / f"{table}{ROWS}").unlink()


def _checksum(content: pa.Buffer) -> bytes:
    return zlib.crc32(content).to_bytes(CHECKSUM_BYTES, "little")


def _digest(gallery: Path, table: str, versions: Sequence[str]) -> bytes:
    """Of the newest manifest. It names the data files, of which no two have the same name."""
    newest = max(_manifests(versions), key=_number)
    return hashlib.sha256((gallery / f"{table}.lance" / "_versions" / newest).read_bytes()).hexdigest().encode()


def _manifests(versions: Sequence[str]) -> list[str]:
    return [name for name in versions if name.endswith(".manifest")]


def _number(name: str) -> int:
    """The version in a manifest's name; newer ones count down from 2^64, so that the newest is listed first."""
    number = int(name.partition(".")[0])
    return 2**64 - 1 - number if number > 2**63 else number
