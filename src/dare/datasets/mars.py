"""MARS: tracklets instead of pictures, listed by the files of its official evaluation.

Source: Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016, and
liangzheng06/MARS-evaluation: `0065C1T0002F016.jpg` is person 65, camera 1, tracklet 2, frame 16, in the folder `0065`;
`00-1C1T0001F001.jpg` is junk.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets.published import Published, check_folders, not_there, positions, read_mat, trained_on, whole_numbers
from dare.datasets.sample import DISTRACTOR, JUNK, Benchmark, Sample

OFFICIAL = "take the official file, in liangzheng06/MARS-evaluation"
INFO, BBOX_TRAIN, BBOX_TEST = "info", "bbox_train", "bbox_test"

PUBLISHED = Published("MARS", (8_298, 1_980, 12_180), (625, 626), "tracklets")
"""The gallery shows 634 people; 870 of its tracklets are junk, and 3,248 show distractors."""


def mars(root: str | Path) -> Benchmark:
    """Read MARS from the folder that holds info/, bbox_train/ and bbox_test/.

    A sample is a tracklet. As in the official evaluation all test tracklets are the gallery: junk, distractors and
    the queries' own tracklets too. Scoring removes a query's own with all others of its person and camera, and they
    are matches of queries at other cameras.

    Raises:
        FileNotFoundError: a folder, a file or a frame is missing.
        ValueError: the lists contradict each other.
    """
    root = Path(root)
    advice = "info/ is in the repository liangzheng06/MARS-evaluation, the others come with the data set"
    check_folders(root, (INFO, BBOX_TRAIN, BBOX_TEST), advice)
    train, test = _tracklets(root, "train"), _tracklets(root, "test")
    source = root / INFO / "query_IDX.mat"
    found = read_mat(source, "query_IDX", advice=OFFICIAL)["query_IDX"]
    query = [test[row] for row in positions(source, "query_IDX", found, len(test))]
    if nobody := sum(tracklet.person in (JUNK, DISTRACTOR) for tracklet in query):
        raise ValueError(f"{source}: {nobody} of {len(query)} queries are junk or distractors; {OFFICIAL}")
    notes = PUBLISHED.differences({BBOX_TRAIN: train, source.name: query, BBOX_TEST: test})
    kept = trained_on(train, BBOX_TRAIN, notes, "tracklets")
    return Benchmark("mars", _in_order(kept), _in_order(query), _in_order(test), root, notes=tuple(notes))


def _in_order(tracklets: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(tracklets, key=lambda tracklet: tracklet.images[0]))


def _tracklets(root: Path, split: str) -> list[Sample]:
    """The tracklets of train or test, in the order of the file that lists them."""
    info, folder = root / INFO, root / f"bbox_{split}"
    tracks, names = _read_tracks(info / f"tracks_{split}_info.mat", f"track_{split}_info", info / f"{split}_name.txt")
    frames = [f"{name[:4]}/{name}" for name in names]
    runs = [(frames[first - 1 : last], person, camera) for first, last, person, camera in tracks.tolist()]
    missing = set(not_there(folder, frames))
    if gaps := [own for own, _, _ in runs if not missing.isdisjoint(own)]:
        raise FileNotFoundError(
            f"{len(missing.intersection(gaps[0]))} of the {len(gaps[0])} frames of the tracklet that begins with "
            f"{gaps[0][0]} are not in {folder}, and {len(gaps)} of {len(runs)} tracklets have gaps; "
            f"unpack {folder.name} again"
        )
    return [Sample(tuple(folder / frame for frame in own), person, camera) for own, person, camera in runs]


def _read_tracks(source: Path, variable: str, names_file: Path) -> tuple[NDArray[np.int64], list[str]]:
    """First frame, last frame (included, from 1), person and camera of each tracklet, (T, 4), and all frames' names."""
    tracks = whole_numbers(source, variable, read_mat(source, variable, advice=OFFICIAL)[variable])
    if tracks.ndim != 2 or tracks.shape[1] != 4 or not len(tracks):
        raise ValueError(
            f"{source}: expected {variable} of shape (tracklets, 4): first and last frame, person, camera; "
            f"got {tracks.shape}; {OFFICIAL}"
        )
    if not names_file.is_file():
        raise FileNotFoundError(f"no {names_file.name} in {names_file.parent}; {OFFICIAL}")
    # The official file's lines end in \r\n; bytes that aren't text make a name that doesn't match.
    names = names_file.read_text(encoding="utf-8-sig", errors="replace").split()
    if wrong := _misfit(tracks, names):
        raise ValueError(f"{source}: {wrong}; {names_file.name} is of another version, take both from one place")
    return tracks, names


def _misfit(tracks: NDArray[np.int64], names: Sequence[str]) -> str:
    """Why tracklets and names don't belong together, or ""."""
    count = 0
    for number, (first, last, person, camera) in enumerate(tracks.tolist(), start=1):
        if not 1 <= first <= last <= len(names):
            return f"tracklet {number} has the frames {first} to {last} of {len(names)} that are listed"
        # Of junk only the person matters.
        label = "00-1C" if person == JUNK else f"{person:04d}C{camera}T"
        for name in names[first - 1 : last]:
            if not name.startswith(label):
                return f"tracklet {number} is of person {person} at camera {camera}, and {name} is listed as its frame"
        count += last - first + 1
    if count != len(names) or len(np.unique(tracks[:, 0])) < len(tracks):
        return f"the tracklets have {count} frames, and {len(names)} are listed"
    return ""
