"""Tiny data sets in the layouts that were published, with real pictures and real .mat files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_market, save_picture
from scipy.io import savemat


def make_dukemtmc(root: Path) -> Path:
    """Four people to train on, three to test, two cameras."""
    frames = iter(range(46182, 10**7, 7))

    def save(folder: str, person: int, camera: int) -> None:
        frame = next(frames)
        save_picture(root / folder / f"{person:04d}_c{camera}_f{frame:07d}.jpg", frame)

    for camera in (2, 5):
        for person in (1, 5, 7, 10):
            save("bounding_box_train", person, camera)
        for person in (2, 3, 4):
            save("query", person, camera)
            save("bounding_box_test", person, camera)
    save("bounding_box_test", 9, 2)  # seen by one camera only
    return root


def cuhk03_splits(**changes: Any) -> dict[str, Any]:
    """Variables of the splits' file: five people, two at each of two cameras with two pictures; three to train on."""
    names = [f"1_{person:03d}_{camera}_{n:02d}.png" for person in range(1, 6) for camera in (1, 2) for n in (1, 2)]
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    parts = [name.split("_") for name in names]
    splits = {
        "filelist": cells,
        "labels": np.array([[int(part[1])] for part in parts], np.uint16),
        "camId": np.array([[int(part[2])] for part in parts], np.uint8),
        "train_idx": np.arange(1, 13, dtype=np.uint16)[:, None],
        "query_idx": np.arange(13, 21, 2, dtype=np.uint16)[:, None],
        "gallery_idx": np.arange(14, 21, 2, dtype=np.uint16)[:, None],
    }
    return splits | changes


def make_cuhk03(root: Path, boxes: str = "detected", **changes: Any) -> Path:
    """Pictures taken out of cuhk-03.mat, beside the official splits."""
    for seed, cell in enumerate(cuhk03_splits()["filelist"].ravel()):
        save_picture(root / f"images_{boxes}" / str(cell), seed)
    savemat(root / f"cuhk03_new_protocol_config_{boxes}.mat", cuhk03_splits(**changes))
    return root


def make_cuhk03_np(root: Path) -> Path:
    """The archive in Market-1501's layout, with both kinds of boxes."""
    for boxes in ("detected", "labeled"):
        make_market(root / boxes)
    return root


MSMT17 = {
    "list_train.txt": ["0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_000_02_0303morning_0017_2.jpg 1"],
    "list_val.txt": ["0000/0000_013_04_0303noon_0020_2_ex.jpg 0", "0001/0001_003_14_0303noon_0020_2.jpg 1"],
    "list_query.txt": ["0001/0001_007_15_0303noon_0104_0.jpg 1", "0000/0000_002_01_0303morning_0016_2.jpg 0"],
    "list_gallery.txt": [
        "0000/0000_003_09_0303morning_0016_1.jpg 0",
        "0000/0000_004_01_0303noon_0016_1_ex.jpg 0",
        "0001/0001_000_07_0303morning_0017_2.jpg 1",
    ],
}


def make_msmt17(root: Path, folders: tuple[str, str] = ("train", "test")) -> Path:
    """Two people to train on and two others, numbered from 0 again."""
    for name, lines in MSMT17.items():
        folder = folders[0] if name in ("list_train.txt", "list_val.txt") else folders[1]
        for seed, line in enumerate(lines):
            save_picture(root / folder / line.split()[0], seed)
        (root / name).write_text("".join(f"{line}\n" for line in lines))
    return root


MARS_TRAIN = [(1, 1, 3), (1, 2, 2), (3, 1, 4), (3, 5, 2), (5, 1, 2), (5, 6, 3)]
MARS_TEST = [(-1, 3, 2), (0, 1, 3), (2, 1, 4), (2, 1, 2), (2, 4, 3), (4, 2, 2), (4, 5, 2)]
MARS_QUERIES = [3, 5, 6, 7]
"""Person, camera and length of each tracklet; queries are counted from 1 along the test tracklets."""


def make_mars(
    root: Path,
    train: Sequence[tuple[int, int, int]] = MARS_TRAIN,
    test: Sequence[tuple[int, int, int]] = MARS_TEST,
    queries: Sequence[int] = MARS_QUERIES,
) -> Path:
    """Tracklets of tiny frames, and the files of the official evaluation: lines end in \\r\\n, indices begin at 1."""
    for split, tracklets in (("train", train), ("test", test)):
        names: list[str] = []
        tracks = []
        for number, (person, camera, length) in enumerate(tracklets, start=1):
            label = "00-1" if person == -1 else f"{person:04d}"
            own = [f"{label}C{camera}T{number:04d}F{frame:03d}.jpg" for frame in range(1, length + 1)]
            tracks.append((len(names) + 1, len(names) + length, person, camera))
            names += own
            for frame, name in enumerate(own):
                save_picture(
                    root / f"bbox_{split}" / label / name, 1000 * max(person, 0) + 100 * camera + frame, (16, 32)
                )
        (root / "info").mkdir(exist_ok=True)
        (root / "info" / f"{split}_name.txt").write_bytes("".join(f"{name}\r\n" for name in names).encode())
        savemat(root / "info" / f"tracks_{split}_info.mat", {f"track_{split}_info": np.array(tracks, np.int32)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([queries], np.uint16)})
    return root
