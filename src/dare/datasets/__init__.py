"""What is measured: labelled pictures and their protocol's splits, read from the layout that a folder has."""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dare.datasets.cuhk03 import PICTURES, PUBLISHED, RAW
from dare.datasets.cuhk03 import SPLITS as CUHK03_SPLITS
from dare.datasets.cuhk03 import cuhk03 as cuhk03
from dare.datasets.folder import folder as folder
from dare.datasets.folder import refuse_mixtures
from dare.datasets.listing import OUTSIDE, SPLITS, within
from dare.datasets.market import GALLERY, NAME, QUERY, TRAIN, read_synthetic
from dare.datasets.market import dukemtmc as dukemtmc
from dare.datasets.market import market1501 as market1501
from dare.datasets.market import multi_query as multi_query
from dare.datasets.mars import BBOX_TEST, BBOX_TRAIN, INFO
from dare.datasets.mars import mars as mars
from dare.datasets.msmt17 import INSIDE, LISTS, VERSIONS
from dare.datasets.msmt17 import msmt17 as msmt17
from dare.datasets.sample import DISTRACTOR as DISTRACTOR
from dare.datasets.sample import JUNK as JUNK
from dare.datasets.sample import UNKNOWN as UNKNOWN
from dare.datasets.sample import Benchmark as Benchmark
from dare.datasets.sample import Sample as Sample
from dare.datasets.splits import is_left_out

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


SYNTHETIC_RECIPE = "synthetic.json"
MSMT17_NAME = re.compile(r"\d{4}_\d{3}_\d{2}_")
FRAME_IN_NAME = re.compile(r"\d{4}_c\d_f\d{7}\.")  # of DukeMTMC-reID; Market-1501 has a sequence there


def open_benchmark(root: str | Path, layout: str | None = None, *, unlabelled: bool = False) -> Benchmark:
    """Read a data set.

    Args:
        root: a folder, or the CSV file of a user's own pictures.
        layout: a name in `BENCHMARKS`, or one with "-outside" behind it, which follows links out of the folder; told
            from the folder's content if not given.
        unlabelled: whether a user's own pictures may lack a person, who then is `UNKNOWN`: for galleries and streams.
    """
    path = Path(root)
    if layout is not None and layout.removesuffix(OUTSIDE) not in BENCHMARKS:
        raise ValueError(f"unknown layout {layout!r}; choose {', '.join(BENCHMARKS)}")
    told, layout = layout is not None, layout or layout_of(path)
    outside, layout = layout.endswith(OUTSIDE), layout.removesuffix(OUTSIDE)
    if layout != "folder":
        found = BENCHMARKS[layout](path)
        if not outside:
            _refuse_links(found, path, layout)
        return found
    found = folder(path, unlabelled=unlabelled, outside=outside)
    if not told and path.is_dir():
        refuse_mixtures(found)
    return found


def _refuse_links(benchmark: Benchmark, root: Path, layout: str) -> None:
    is_within = within(root)
    for sample in (*benchmark.train, *benchmark.query, *benchmark.gallery):
        for image in sample.images:
            if not is_within(image):
                raise ValueError(
                    f"{image} is a link that leads out of {root}; put a copy in its place, or read it with "
                    f"--layout {layout}{OUTSIDE}"
                )


def layout_of(path: Path) -> str:
    """A folder's layout, as a name in `BENCHMARKS`. One part of it is enough; the reader says what is missing.

    Raises:
        ValueError: the folder holds CUHK03 with both kinds of boxes, or is one above published data sets.
    """
    path = path.absolute()  # whose name counts, also where it was given as "."
    found = _published(path)
    if len(found) > 1:
        raise ValueError(
            f"{path} has CUHK03 with detected and with labeled boxes; say which are meant: "
            "--layout cuhk03-detected or --layout cuhk03-labeled"
        )
    below = _data_sets_below(path) if found in ([], ["msmt17"]) else []
    if below and (
        not found or {name.partition("/")[0] for name in below} - set(INSIDE)
    ):  # MSMT17 may lie in a folder of its own
        raise ValueError(
            f"{path} isn't a data set, it holds {' and '.join(f'{name}/' for name in below)}; give {path / below[0]}, "
            "or --layout folder to read all pictures below as a folder per person"
        )
    return found[0] if found else "folder"


def _data_sets_below(path: Path) -> list[str]:
    """Data sets one or two levels down: published ones, and users' own with splits."""
    found = []
    for name in _read_as_people(path):
        inside = [""] if _is_data_set(path / name) else _read_as_people(path / name)
        found += [f"{name}/{part}".rstrip("/") for part in inside if _is_data_set(path / name / part)]
    return found


def _is_data_set(path: Path) -> bool:
    """One split alone may be a folder of a person."""
    return bool(_published(path)) or len(_splits(path)) > 1


def _splits(path: Path) -> list[str]:
    return [entry.name for entry in os.scandir(path) if entry.name.lower() in SPLITS and entry.is_dir()]


def _published(path: Path) -> list[str]:
    """The layouts that a folder itself has: none for a user's own pictures, two for CUHK03 with both kinds of boxes."""
    if (path / SYNTHETIC_RECIPE).is_file():
        return ["synthetic"]
    if any((path / part).is_dir() for part in (BBOX_TRAIN, BBOX_TEST)) or any((path / INFO).glob("tracks_*_info.mat")):
        return ["mars"]
    if any((path / name).exists() for name in (*LISTS.values(), *INSIDE, *VERSIONS["V2"])) or _named_as_msmt17(path):
        return ["msmt17"]
    if any((path / split).is_dir() for split in (TRAIN, GALLERY)):
        return [_in_folders(path)]
    return [f"cuhk03-{boxes}" for boxes in _cuhk03(path)]


def _read_as_people(path: Path) -> list[str]:
    """The folders that would each be taken for a person; none where there are splits, for then only these are read."""
    if not path.is_dir() or _splits(path):
        return []
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not is_left_out(path / entry.name))


def _in_folders(path: Path) -> str:
    """Of the data sets in Market-1501's layout; the archive cuhk03-np has a folder of it for each kind of boxes."""
    if path.name in PUBLISHED and "cuhk03" in path.parent.name.lower():
        return f"cuhk03-{path.name}"
    first = min((file.name for file in (path / QUERY).glob("*") if NAME.match(file.name)), default="")
    return "dukemtmc" if FRAME_IN_NAME.match(first) else "market1501"


def _named_as_msmt17(path: Path) -> bool:
    """Whether the first picture in train/ or test/ has a name of MSMT17; its version 1 is told by nothing else."""
    pictures = (next((path / split).glob("*/*.jpg"), None) for split in VERSIONS["V1"])
    return any(picture is not None and MSMT17_NAME.match(picture.name) for picture in pictures)


def _cuhk03(path: Path) -> list[str]:
    """The kinds of boxes that are there."""

    def has(boxes: str) -> bool:
        names = [name.format(boxes) for name in PICTURES]
        return (path / boxes / TRAIN).is_dir() or path.name in names or any((path / name).is_dir() for name in names)

    if found := [boxes for boxes in PUBLISHED if has(boxes)]:
        return found
    if any((path / part).is_file() for part in (RAW, f"cuhk03_release/{RAW}")):
        return ["detected"]
    return [boxes for boxes in PUBLISHED if (path / CUHK03_SPLITS.format(boxes)).is_file()][:1]
