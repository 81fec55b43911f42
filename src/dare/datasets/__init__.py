"""What is measured: labelled pictures and the splits of their protocol."""

from collections.abc import Callable
from pathlib import Path

from dare.datasets.folder import folder as folder
from dare.datasets.market import GALLERY, TRAIN, read_synthetic
from dare.datasets.market import market1501 as market1501
from dare.datasets.sample import DISTRACTOR as DISTRACTOR
from dare.datasets.sample import JUNK as JUNK
from dare.datasets.sample import UNKNOWN as UNKNOWN
from dare.datasets.sample import Benchmark as Benchmark
from dare.datasets.sample import Sample as Sample

BENCHMARKS: dict[str, Callable[[Path], Benchmark]] = {
    "market1501": market1501,
    "synthetic": read_synthetic,
    "folder": folder,
}
"""Name -> reader."""

SYNTHETIC_RECIPE = "synthetic.json"


def open_benchmark(root: str | Path, layout: str | None = None, *, unlabelled: bool = False) -> Benchmark:
    """Read a data set, by the layout its folder has unless one is named.

    Args:
        root: a folder, or the CSV file of a user's own pictures.
        layout: a name in `BENCHMARKS`.
        unlabelled: whether pictures of a user need no person, for galleries and streams; without one it is `UNKNOWN`.
    """
    path = Path(root)
    if layout is not None and layout not in BENCHMARKS:
        raise ValueError(f"unknown layout {layout!r}; choose {', '.join(BENCHMARKS)}")
    layout = layout or _layout(path)
    return folder(path, unlabelled=True) if layout == "folder" and unlabelled else BENCHMARKS[layout](path)


def _layout(path: Path) -> str:
    if (path / SYNTHETIC_RECIPE).is_file():
        return "synthetic"
    # One of the three folders is enough: the reader then names those that are missing.
    if any((path / split).is_dir() for split in (TRAIN, GALLERY)):
        return "market1501"
    return "folder"
