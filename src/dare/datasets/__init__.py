"""What is measured: labelled pictures and the splits of their protocol."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dare.datasets.cuhk03 import cuhk03 as cuhk03
from dare.datasets.folder import folder as folder
from dare.datasets.layout import layout_of
from dare.datasets.market import dukemtmc as dukemtmc
from dare.datasets.market import market1501 as market1501
from dare.datasets.market import read_synthetic
from dare.datasets.mars import mars as mars
from dare.datasets.msmt17 import msmt17 as msmt17
from dare.datasets.multi_query import multi_query as multi_query
from dare.datasets.sample import DISTRACTOR as DISTRACTOR
from dare.datasets.sample import JUNK as JUNK
from dare.datasets.sample import UNKNOWN as UNKNOWN
from dare.datasets.sample import Benchmark as Benchmark
from dare.datasets.sample import Sample as Sample

BENCHMARKS: dict[str, Callable[[Path], Benchmark]] = {
    "market1501": market1501,
    "cuhk03-detected": partial(cuhk03, boxes="detected"),
    "cuhk03-labeled": partial(cuhk03, boxes="labeled"),
    "dukemtmc": dukemtmc,
    "msmt17": msmt17,
    "mars": mars,
    "synthetic": read_synthetic,
    "folder": folder,
}
"""Name -> reader."""


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
    layout = layout or layout_of(path)
    return folder(path, unlabelled=True) if layout == "folder" and unlabelled else BENCHMARKS[layout](path)
