"""CUHK03 with the new protocol: 767 people to train on, 700 others to test, two cameras each.

Sources: Li et al., "DeepReID", CVPR 2014; Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
Encoding", CVPR 2017, whose repository has the splits (zhunzhong07/person-re-ranking, evaluation/data/CUHK03) and the
counts (CUHK03-NP/README.md).
"""

import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dare.datasets.market import TRAIN, in_folders
from dare.datasets.published import Published, positions, read_mat, stills, texts, whole_numbers
from dare.datasets.sample import Benchmark

Boxes = Literal["detected", "labeled"]

PUBLISHED = {
    "detected": Published("CUHK03", (7_365, 1_400, 5_332), (767, 700)),
    "labeled": Published("CUHK03", (7_368, 1_400, 5_328), (767, 700)),
}

RAW = "cuhk-03.mat"  # a gigabyte of HDF5, which would take another library
VIEW = re.compile(r"\d+_\d+_(\d)_\d+\.\w+")
OFFICIAL = "take the official file, in zhunzhong07/person-re-ranking"
SPLITS = "cuhk03_new_protocol_config_{}.mat"
PICTURES = ("images_{}", "cuhk03_{}")  # as torchreid and as Zhong et al. extract them


def cuhk03(root: str | Path, boxes: Boxes = "detected") -> Benchmark:
    """Read CUHK03-NP, in one of two forms.

    Either the archive that has Market-1501's layout, `detected/bounding_box_train/` and so on, or the pictures taken
    out of `cuhk-03.mat` in `images_detected/` (or `cuhk03_detected/`) beside `cuhk03_new_protocol_config_detected.mat`.
    With hand-drawn boxes it is `labeled` in place of `detected`. `cuhk-03.mat` itself is not read.

    Args:
        root: of either form; of the first, `detected/` or `labeled/` will do too.
        boxes: made by a detector, or drawn by hand.

    Raises:
        FileNotFoundError: neither form is there, or pictures are missing.
        ValueError: the splits contradict each other.
    """
    if boxes not in get_args(Boxes):
        raise ValueError(f"boxes must be 'detected' or 'labeled', got {boxes!r}")
    root = Path(root).absolute()
    if root.name in get_args(Boxes) and root.name != boxes:
        raise ValueError(f"{root} holds {root.name} boxes, expected {boxes} ones; give the other folder")
    for folder in (root / boxes, root):
        if (folder / TRAIN).is_dir():
            return in_folders(f"cuhk03-{boxes}", folder, PUBLISHED[boxes])
    source = root / SPLITS.format(boxes)
    folders = [root / name.format(boxes) for name in PICTURES]
    pictures = next((folder for folder in folders if folder.is_dir()), None)
    if pictures is None or not source.is_file():
        missing = [*([] if source.is_file() else [source.name]), *([] if pictures else [f"{folders[0].name}/"])]
        raise FileNotFoundError(
            f"expected {boxes}/{TRAIN}/, or {source.name} and {folders[0].name}/, in {root}, found no "
            f"{' and no '.join(missing)}; {RAW} isn't read: take its pictures out, or get the archive cuhk03-np"
        )
    names, people, cameras, places = _splits(source)
    splits = {
        split: stills(pictures, ((names[row], int(people[row]), int(cameras[row])) for row in rows), source)
        for split, rows in places.items()
    }
    notes = tuple(PUBLISHED[boxes].differences(splits))
    return Benchmark(f"cuhk03-{boxes}", splits["train"], splits["query"], splits["gallery"], root, notes=notes)


def _splits(source: Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Name, person and camera of every picture, and the indices of train, query and gallery."""
    indices = {"train": "train_idx", "query": "query_idx", "gallery": "gallery_idx"}
    found = read_mat(source, "filelist", "labels", "camId", *indices.values(), advice=OFFICIAL)
    names = texts(source, "filelist", found["filelist"])
    people, cameras = (whole_numbers(source, name, found[name]).ravel() for name in ("labels", "camId"))
    if not len(names) == len(people) == len(cameras):
        raise ValueError(
            f"{source}: expected a person and a camera for each of {len(names)} names in filelist, "
            f"got {len(people)} labels and {len(cameras)} camId; take the official file"
        )
    for row, name in enumerate(names):
        view = VIEW.fullmatch(name)
        if min(people[row], cameras[row]) < 0 or (view and int(view[1]) != cameras[row]):
            raise ValueError(
                f"{source}: {name} is of person {people[row]} at camera {cameras[row]}, expected the camera in third "
                "place of its name; take the official file"
            )
    places = {split: positions(source, name, found[name], len(names)) for split, name in indices.items()}
    if len(np.unique(np.concatenate(list(places.values())))) < sum(len(rows) for rows in places.values()):
        raise ValueError(f"{source}: a picture is in two of {', '.join(indices.values())}; take the official file")
    tested = np.concatenate([people[places["query"]], people[places["gallery"]]])
    if len(both := np.intersect1d(people[places["train"]], tested)):
        raise ValueError(f"{source}: person {both[0]} is both trained on and tested; take the official file")
    return names, people, cameras, places
