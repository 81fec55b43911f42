"""Training pictures, decoded once: uint8 in memory, or in a file that is mapped into it."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dare.images.reading import UnreadableImageError, read_resized

DECODING_THREADS = 4
BLOCK = 4096  # pictures waiting to be decoded at a time: of hundreds of thousands, each would cost a kilobyte


def load_pictures(
    paths: Sequence[Path],
    height: int,
    width: int,
    *,
    folder: Path | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> tuple[NDArray[np.uint8], list[UnreadableImageError]]:
    """Decode and resize pictures.

    Args:
        paths: N files.
        folder: where to keep the pixels in a file instead of in memory; an earlier run's file of the same
            pictures is used again.
        on_progress: called with the number of pictures done.

    Returns:
        (N, height, width, 3), black where a picture is unreadable, and what is wrong with those.
    """
    shape = (len(paths), height, width, 3)
    if folder is None:
        pictures = np.empty(shape, np.uint8)
        return pictures, _fill(pictures, paths, on_progress)
    names = json.dumps([shape, [[str(path), *_stamp(path)] for path in paths]])
    file = folder / f"pictures-{hashlib.sha256(names.encode()).hexdigest()[:16]}.npy"
    if file.exists():
        on_progress(len(paths))
        return np.load(file, mmap_mode="r"), []
    folder.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    try:
        mapped = _map(aside, shape)
        problems = _fill(mapped, paths, on_progress)
        mapped.flush()
        if not problems:  # a file is only kept when nothing needs to be said about it next time
            aside.replace(file)
    finally:
        # Where files can be unlinked while mapped the pictures stay readable.
        aside.unlink(missing_ok=True)
    return mapped, problems


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # unreadable, which decoding will say
    return status.st_size, status.st_mtime_ns


def _map(file: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """A mapped file with all its space taken: a disk that fills up later would kill the process without a word."""
    try:
        mapped: Any = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as opened:
                os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} for the decoded pictures", str(file)) from error
    whole: np.memmap[Any, np.dtype[np.uint8]] = mapped
    return whole


def _fill(
    pictures: NDArray[np.uint8], paths: Sequence[Path], on_progress: Callable[[int], None]
) -> list[UnreadableImageError]:
    height, width = pictures.shape[1:3]

    def decode(position: int) -> UnreadableImageError | None:
        try:
            pictures[position] = read_resized(paths[position], height, width)
        except UnreadableImageError as problem:
            pictures[position] = 0
            return problem
        return None

    problems = []
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        for start in range(0, len(paths), BLOCK):
            block = range(start, min(start + BLOCK, len(paths)))
            for done, problem in enumerate(pool.map(decode, block), start=start + 1):
                if problem:
                    problems.append(problem)
                on_progress(done)
    return problems
