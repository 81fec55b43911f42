"""A LanceDB table of entries: its columns, how it is read, and its errors in plain words."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dare.gallery.entry import Entry
from dare.gallery.errors import GalleryError

if TYPE_CHECKING:
    from lancedb.table import Table

LABELS = ("id", "person", "camera", "time", "picture", "name", "sequence")
BATCH_ROWS = 4096
NOISE = r"lance error: |LanceError\(\w+\): |Generic \S+ error: |Wrapped error: "
PANICS = ("RustPanic", "PanicException")
"""What LanceDB raises where it trips over a damaged file; the classes have no public place."""


def schema(sizes: Mapping[int, int]) -> pa.Schema:
    """Columns of a table. Sequences tell in which order entries were added; none is used a second time.

    Args:
        sizes: exit -> size of its vectors, of those exits whose vectors the table has.
    """
    labels = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("person", pa.int64()),
        pa.field("camera", pa.int64()),
        pa.field("time", pa.float64()),
        pa.field("picture", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
    ]
    exits = [pa.field(f"exit_{number}", pa.list_(pa.float32(), size), nullable=False) for number, size in sizes.items()]
    return pa.schema(labels + exits)


def read(table: "Table", columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
    """Columns of all rows, in no order that means anything."""
    query = table.search().select(list(columns))
    if where is not None:
        query = query.where(where)
    yield from query.to_batches(BATCH_ROWS)


def batch_of(entries: Sequence[Entry], vectors: Mapping[int, NDArray[np.float32]], first: int) -> pa.RecordBatch:
    """Rows for a table, numbered from `first` on, with the vectors (N, D) of some exits."""
    columns = schema({exit: rows.shape[1] for exit, rows in vectors.items()})
    values = {name: [getattr(entry, name) for entry in entries] for name in LABELS if name != "sequence"}
    values["sequence"] = list(range(first, first + len(entries)))
    labels = [pa.array(values[name], columns.field(name).type) for name in LABELS]
    exits = [pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1]) for rows in vectors.values()]
    return pa.record_batch(labels + exits, schema=columns)


@contextlib.contextmanager
def plain_errors(path: Path, verb: str) -> Iterator[None]:
    """LanceDB reports whatever went wrong as one of a few errors with pages of text: tell what it was."""
    try:
        yield
    except GalleryError:
        raise
    except BaseException as error:
        if not isinstance(error, (RuntimeError, ValueError, pa.ArrowException)) and type(error).__name__ not in PANICS:
            raise
        if number := re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error)):
            code = int(number[1] or number[2])
            raise OSError(code, f"{os.strerror(code)}, the gallery could not be {verb}", str(path)) from error
        lines = str(error).splitlines() or [type(error).__name__]
        reason = re.sub(NOISE, "", lines[0].split(", /")[0])
        raise GalleryError(
            f"{path} could not be {verb}: {reason}; if it stays so, put a backup in its place or index again"
        ) from error
