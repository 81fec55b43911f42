"""Which data set a folder holds, by what lies in it."""

import re
from pathlib import Path

from dare.datasets.cuhk03 import PICTURES, PUBLISHED, RAW, SPLITS
from dare.datasets.market import GALLERY, QUERY, TRAIN
from dare.datasets.mars import BBOX_TEST, BBOX_TRAIN, INFO
from dare.datasets.msmt17 import INSIDE, LISTS, VERSIONS

SYNTHETIC_RECIPE = "synthetic.json"
MSMT17_NAME = re.compile(r"\d{4}_\d{3}_\d{2}_")
FRAME_IN_NAME = re.compile(r"\d{4}_c\d_f\d{7}\.")  # of DukeMTMC-reID; Market-1501 has a sequence there


def layout_of(path: Path) -> str:
    """A name in `BENCHMARKS`; one part of a layout is enough, its reader then says which others are missing.

    Raises:
        ValueError: the folder holds CUHK03 with both kinds of boxes.
    """
    path = path.absolute()  # whose name counts, also where it was given as "."
    if (path / SYNTHETIC_RECIPE).is_file():
        return "synthetic"
    if any((path / part).is_dir() for part in (BBOX_TRAIN, BBOX_TEST)) or any((path / INFO).glob("tracks_*_info.mat")):
        return "mars"
    if any((path / name).exists() for name in (*LISTS.values(), *INSIDE, *VERSIONS["V2"])) or _named_as_msmt17(path):
        return "msmt17"
    if any((path / split).is_dir() for split in (TRAIN, GALLERY)):
        return _in_folders(path)
    return _cuhk03(path) or "folder"


def _in_folders(path: Path) -> str:
    """Of the data sets in Market-1501's layout; the archive cuhk03-np has a folder of it for each kind of boxes."""
    if path.name in PUBLISHED and "cuhk03" in path.parent.name.lower():
        return f"cuhk03-{path.name}"
    first = min((file.name for file in (path / QUERY).glob("*.jpg")), default="")
    return "dukemtmc" if FRAME_IN_NAME.match(first) else "market1501"


def _named_as_msmt17(path: Path) -> bool:
    """Whether the first picture in train/ or test/ has a name of MSMT17; its version 1 is told by nothing else."""
    pictures = (next((path / split).glob("*/*.jpg"), None) for split in VERSIONS["V1"])
    return any(picture is not None and MSMT17_NAME.match(picture.name) for picture in pictures)


def _cuhk03(path: Path) -> str | None:
    def has(boxes: str) -> bool:
        names = [name.format(boxes) for name in PICTURES]
        return (path / boxes / TRAIN).is_dir() or path.name in names or any((path / name).is_dir() for name in names)

    found = [boxes for boxes in PUBLISHED if has(boxes)]
    if len(found) > 1:
        raise ValueError(
            f"{path} has CUHK03 with detected and with labeled boxes; say which are meant: "
            "--layout cuhk03-detected or --layout cuhk03-labeled"
        )
    if found:
        return f"cuhk03-{found[0]}"
    if any((path / part).is_file() for part in (RAW, f"cuhk03_release/{RAW}")):
        return "cuhk03-detected"
    return next((f"cuhk03-{boxes}" for boxes in PUBLISHED if (path / SPLITS.format(boxes)).is_file()), None)
