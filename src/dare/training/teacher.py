"""A frozen network whose vectors a training follows: computed once, kept beside the training."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.files import replacing
from dare.images.preparation import prepare
from dare.images.reading import read_resized
from dare.retrieval.embeddings import read_arrays
from dare.runners.runner import Runner

TEACHER_FILE = "teacher.npz"
BATCH = 32
READING_THREADS = 2

VIEWS = ((0, 0, False), (1, 1, True))
"""How a picture is shown to the teacher: 32nds of its sides that it is shifted down and right, and whether it is
mirrored. Its vector is the mean over these, which is steadier than that of a single view."""


def teach(
    runner: Runner,
    paths: Sequence[Path],
    dimensions: int,
    labelled: int,
    folder: Path,
    on_progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float32]:
    """The teacher's vectors of pictures, from the folder if it holds them already.

    Args:
        runner: the teacher; its last exit is followed.
        paths: N readable pictures.
        dimensions: D, of the network that is trained. Longer vectors of the teacher are projected on the directions
            that hold most of those of the labelled pictures (an uncentred principal component analysis).
        labelled: number of labelled pictures, which come first.
        on_progress: called with the number of pictures done.

    Returns:
        (N, D), of length 1.

    Raises:
        ValueError: the teacher's vectors are shorter than D, or not finite.
    """
    file, source = folder / TEACHER_FILE, _fingerprint(runner, paths, dimensions, labelled)
    if file.exists():
        kept = read_arrays(file)
        if str(kept["source"]) == source:
            on_progress(len(paths))
            return np.asarray(kept["vectors"], np.float32)
    found = _vectors(runner, paths, on_progress)
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found).all(1)))
        raise ValueError(f"the teacher gives NaN or infinity for {paths[row]}; use another one, or another precision")
    if found.shape[1] < dimensions:
        raise ValueError(
            f"the teacher's vectors have {found.shape[1]} dimensions, the network's {dimensions}; "
            f"train with an embedding_dim of at most {found.shape[1]}"
        )
    if found.shape[1] > dimensions:
        _, _, directions = np.linalg.svd(found[:labelled], full_matrices=labelled < dimensions)
        found = _unit(found @ directions[:dimensions].T)
    vectors = found.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(file) as target:
        np.savez(target, vectors=vectors, source=np.asarray(source))
    return vectors


def _vectors(runner: Runner, paths: Sequence[Path], on_progress: Callable[[int], None]) -> NDArray[np.float64]:
    """The mean over all views of each picture, of length 1."""
    height, width = runner.preparation.height, runner.preparation.width
    batches = []
    with ThreadPoolExecutor(READING_THREADS) as pool:
        for start in range(0, len(paths), BATCH):
            part = paths[start : start + BATCH]
            pictures = np.stack(list(pool.map(lambda path: read_resized(path, height, width), part)))
            each = []
            for down, right, mirrored in VIEWS:
                shown = _shifted(pictures, down * height // 32, right * width // 32)
                stages, fused = runner.embed(
                    prepare(np.ascontiguousarray(shown[:, :, ::-1] if mirrored else shown), runner.preparation)
                )
                each.append(_unit((stages[-1] if fused is None else fused).astype(np.float64)))
            batches.append(_unit(np.mean(each, axis=0)))
            on_progress(start + len(part))
    return np.concatenate(batches)


def _shifted(pictures: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    """(B, H, W, 3), with edges repeated where nothing was."""
    rows = np.clip(np.arange(pictures.shape[1]) - down, 0, pictures.shape[1] - 1)
    columns = np.clip(np.arange(pictures.shape[2]) - right, 0, pictures.shape[2] - 1)
    return pictures[:, rows][:, :, columns]


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def _fingerprint(runner: Runner, paths: Sequence[Path], dimensions: int, labelled: int) -> str:
    files = [[str(path), path.stat().st_mtime_ns, path.stat().st_size] for path in paths]
    work = [runner.digest, runner.precision, VIEWS, dimensions, labelled, files]
    return hashlib.sha256(json.dumps(work).encode()).hexdigest()
