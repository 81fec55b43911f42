"""What is watched while a network trains: progress, metrics, and the scale of embeddings. Needs no torch."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.files import replacing

METRICS_FILE = "metrics.csv"
COLLAPSED_SHARE = 0.05
PATIENCE = 200


class TrainingStoppedError(RuntimeError):
    """Training cannot go on usefully; says why, at which iteration, and on which pictures."""


@dataclass(slots=True)
class ScaleAlarm:
    """Watches the median distance within batches, of every exit.

    The loss alone says nothing: a healthy run from random weights can sit near ln 2 for hundreds of
    iterations while its ranking improves; a collapsed one sits there too.

    Attributes:
        start: (E,), the scales of the first batch; empty before it.
        low: (E,), for how many iterations in a row each scale has been under 5 % of its start.
    """

    start: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    low: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def collapsed(self, scales: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Take in a batch's scales; True for exits that have been low for 200 iterations."""
        if not len(self.start):
            self.start, self.low = scales.copy(), np.zeros(len(scales), np.int64)
        self.low = np.where(scales < COLLAPSED_SHARE * self.start, self.low + 1, 0)
        collapsed: NDArray[np.bool_] = self.low >= PATIENCE
        return collapsed


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands.

    Attributes:
        phase: "pictures" while they are decoded, "teacher" while it is asked, then "training".
        done, total: pictures or iterations.
        losses: name -> loss; empty before the training.
        loss: what the training minimises; None before it.
    """

    phase: str
    done: int
    total: int
    losses: dict[str, float]
    loss: float | None = None

    @property
    def remark(self) -> str:
        """What there is to say beside the numbers, for people."""
        return "" if self.loss is None else f"loss {self.loss:.3f}"


class MetricsLog:
    """Appends rows to `metrics.csv` in a folder; rows from the given iteration on are dropped first, so that a
    resumed run leaves one line for each iteration.

    Args:
        columns: names; the first is the iteration.
        events: a TensorBoard writer that gets the same values.
    """

    def __init__(self, folder: Path, columns: Sequence[str], start: int, events: Any = None) -> None:
        self._writer = events
        file = folder / METRICS_FILE
        kept = []
        if start and file.exists():
            with file.open(newline="", errors="replace") as old:
                rows = csv.reader(line.replace("\0", "") for line in old)
                kept = [row for row in rows if len(row) == len(columns) and row[0].isdecimal() and int(row[0]) <= start]
        self._columns = tuple(columns)
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([self._columns, *kept])
        with replacing(file) as new:
            new.write(lines.getvalue().encode())
        self._file = file.open("a", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")

    def write(self, iteration: int, *values: float) -> None:
        """One row; values in the order of the columns behind the iteration."""
        try:
            self._csv.writerow([iteration, *(f"{value:.6g}" for value in values)])
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from error
        if self._writer:
            for name, value in zip(self._columns[1:], values, strict=True):
                self._writer.add_scalar(name.replace(" ", "_"), value, iteration)

    def close(self) -> None:
        """No more rows."""
        self._file.close()
        if self._writer:
            self._writer.close()
