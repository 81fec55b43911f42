"""A table's rows in memory, in the order they were added: read when asked for, then kept up with the table."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dare.gallery.columns import UNKNOWN, Columns
from dare.gallery.kept import KeptRows
from dare.gallery.table import LABELS, read, schema
from dare.gallery.vectors import Vectors

if TYPE_CHECKING:
    from lancedb.table import Table

MOST_CHUNKS = 64
"""Taking a row out of an arrow column gets slower with the number of its chunks."""


class Rows:
    """The rows of one table at one version. An error while it reads leaves it unusable.

    What it hands out never changes: later versions are read into other memory.

    Args:
        open_table: gives a handle that nobody else uses; asked only if the table itself is to be read.
        versions: the folder in which the table's versions are.
        sizes: exit -> size of its vectors, of those exits whose vectors the table has.
        kept: the rows of the table as it is now, if there is a file of them.
    """

    def __init__(
        self, open_table: "Callable[[], Table]", versions: Path, sizes: Mapping[int, int], kept: KeptRows | None
    ) -> None:
        self._open_table, self._versions, self._sizes = open_table, versions, dict(sizes)
        self._kept = kept
        self._table: Table | None = None
        self._names: list[str] = [] if kept is None else kept.versions
        self._version = -1
        self.count = 0 if kept is None else kept.count
        self._labels: pa.Table | None = None
        self._sequences = np.zeros(0, np.int64)
        self._columns: Columns | None = None
        self._places: dict[str, int] | None = None
        self._exits: dict[int, Vectors] = {}

    def refresh(self) -> None:
        """Become what the table is now."""
        if self._table is None and self._kept is None:
            self._table = self._open_table()
        # Each version is a file with a name of its own. To list them takes a tenth of the time that LanceDB takes.
        if (names := os.listdir(self._versions)) == self._names:  # noqa: PTH208 - names are enough
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
            self._labels = schema({}).empty_table()
            self._catch_up()
        return self._labels

    def columns(self) -> Columns:
        """People, cameras and times as a search takes them."""
        labels = self.labels()
        if self._columns is None:
            self._columns = Columns.of(
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
        wanted = [*LABELS, *(f"exit_{exit}" for exit in self._exits)]
        batches = []
        for batch in self._read(wanted, None if last < 0 else f"sequence > {last}"):
            for exit, vectors in self._exits.items():
                self._append(vectors, exit, batch)
            batches.append(batch.select(LABELS))
        added = pa.Table.from_batches(batches, schema({}))
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

    def _read(self, columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
        if self._kept is not None:
            assert where is None
            return self._kept.read(columns)
        assert self._table is not None
        return read(self._table, columns, where)

    def _append(self, vectors: Vectors, exit: int, batch: pa.RecordBatch) -> None:
        rows = batch[f"exit_{exit}"].flatten().to_numpy().reshape(-1, self._sizes[exit])
        squares = np.einsum("nd,nd->n", rows, rows)
        if not ((squares > 0) & np.isfinite(squares)).all():
            raise ValueError("a vector is zero or not finite, so a file is damaged")
        vectors.append(rows)


def _sort(vectors: Vectors, start: int, sequences: NDArray[np.int64]) -> None:
    """Put the vectors from `start` on in order; nobody has seen them yet."""
    if not _increasing(sequences):
        vectors.sort(start, np.argsort(sequences))


def _increasing(numbers: NDArray[np.int64]) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())
