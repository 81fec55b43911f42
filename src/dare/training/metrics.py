"""What a training reports while it runs: to a CSV file, and to TensorBoard where wanted."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dare.files import replacing

METRICS_FILE = "metrics.csv"


class MetricsLog:
    """Appends rows to `metrics.csv` in a folder; rows from the given iteration on are dropped first, so that a
    resumed run leaves one line for each iteration.

    Args:
        columns: names; the first is the iteration.
        tensorboard: also write TensorBoard events (needs `dare-reid[tensorboard]`).
    """

    def __init__(self, folder: Path, columns: Sequence[str], start: int, *, tensorboard: bool = False) -> None:
        self._writer: Any = summary_writer_class()(str(folder), purge_step=start + 1) if tensorboard else None
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

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._writer:
            self._writer.close()


def summary_writer_class() -> Any:
    """TensorBoard's writer.

    Raises:
        ImportError: TensorBoard is not installed; says how to get it.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoard is not installed; run: pip install 'dare-reid[tensorboard]', or leave it off"
        ) from error
    return SummaryWriter
