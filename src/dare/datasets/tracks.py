"""The tracklets that two files of MARS list: who is seen where, and in which frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets.matlab import read_mat, whole_numbers
from dare.datasets.sample import JUNK

OFFICIAL = "take the official file, in liangzheng06/MARS-evaluation"


def read_tracks(source: Path, variable: str, names_file: Path) -> tuple[NDArray[np.int64], list[str]]:
    """First and last frame, person and camera of each tracklet, (T, 4), and the names of all frames.

    Args:
        source: a .mat file; `variable` in it counts frames from 1, the last one included.
        names_file: a name per line.

    Raises:
        FileNotFoundError: one of them is missing.
        ValueError: they do not fit each other.
    """
    tracks = whole_numbers(source, variable, read_mat(source, variable, advice=OFFICIAL)[variable])
    if tracks.ndim != 2 or tracks.shape[1] != 4 or not len(tracks):
        raise ValueError(
            f"{source}: expected {variable} of shape (tracklets, 4): first and last frame, person, camera; "
            f"got {tracks.shape}; {OFFICIAL}"
        )
    if not names_file.is_file():
        raise FileNotFoundError(f"no {names_file.name} in {names_file.parent}; {OFFICIAL}")
    # The official file's lines end in \r\n; bytes that cannot be read make a name that does not fit.
    names = names_file.read_text(encoding="utf-8-sig", errors="replace").split()
    if wrong := _misfit(tracks, names):
        raise ValueError(f"{source}: {wrong}; {names_file.name} is of another version, take both from one place")
    return tracks, names


def _misfit(tracks: NDArray[np.int64], names: Sequence[str]) -> str:
    """Why tracklets and names cannot belong together, or ""."""
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
