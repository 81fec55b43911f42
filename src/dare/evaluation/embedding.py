"""From samples to embeddings: read, prepare, run, in batches, resumable."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import Sample
from dare.files import replacing
from dare.images.preparation import prepare, ten_crops
from dare.images.reading import UnreadableImageError, read_resized
from dare.retrieval.embeddings import Embeddings, EmbeddingsError, Pooling, pool, read_arrays, refuse_unknown
from dare.runners.runner import Runner

CHUNK = 2048  # pictures, or a few more, between two saves of an embedding that can be resumed
READING_THREADS = 4


_Vectors = list[NDArray[np.float32]]
"""One row per image or sample: (N, D) per stage, then the fused ones where there are any."""


def embed(
    runner: Runner,
    samples: Sequence[Sample],
    *,
    root: Path | None = None,
    crops: int = 1,
    pooling: Pooling = "mean",
    batch_size: int = 64,
    workers: int = 1,
    resume: Path | None = None,
    skipped: list[UnreadableImageError] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Embeddings:
    """Vectors of samples at every stage.

    Args:
        runner: the network.
        samples: what to embed; repeated ones are embedded once.
        root: folder that the ids are relative to; by default ids are bare file names.
        crops: 1 resizes each picture to the input; 10 takes the mean vector of five crops and their mirror
            images, at ten times the cost.
        pooling: how the vectors of a tracklet's images become one: "mean", or "max" of each dimension; they are not
            scaled before or after.
        batch_size: pictures that are run together.
        workers: batches that are run at the same time; open the runner with as many.
        resume: folder for finished chunks, which a later call of the same work picks up; remove it when the
            embeddings are saved. Needs a network with a digest, so that chunks of another are never used.
        skipped: samples with an unreadable picture are left out and reported here; without it they are errors.
        on_progress: called with images done and in all.

    Raises:
        UnreadableImageError: a picture cannot be used.
        ValueError: two samples with one id, a setting out of range, or a network whose vectors are NaN or infinite.
    """
    _refuse_settings(crops, pooling, batch_size, workers)
    samples = list(dict.fromkeys(samples))
    if resume and not runner.digest:
        raise ValueError("resume= needs a network with a digest; save it as a checkpoint first")
    ids = _ids(samples, root)
    frames = runner.preparation.frames
    batch_size = max(1, batch_size // frames) * frames
    total, done = sum(len(clips(sample.images, frames)) for sample in samples), 0
    problems: list[UnreadableImageError] = []
    chunks = []
    for part in _parts(samples):
        shown = [clips(sample.images, frames) for sample in part]
        paths = [path for images in shown for path in images]
        counts = [len(images) // frames for images in shown]
        file = resume / f"{_fingerprint(runner, paths, crops, counts, pooling)}.npz" if resume else None
        before = len(problems)
        vectors = _saved(file)
        if vectors is None:
            of_clips = _chunk(runner, paths, crops, batch_size, workers, problems, done, total, on_progress)
            vectors = [pool(rows, counts, pooling) for rows in of_clips]
        chunks.append(vectors)
        if problems and skipped is None:
            raise UnreadableImageError.several(problems)
        _refuse_nan(vectors, part)
        if file and not file.exists() and len(problems) == before:
            _save(file, vectors)
        done += len(paths)
        on_progress(done, total)
    vectors, stages = _joined(chunks), len(runner.stage_names)
    found = Embeddings(
        tuple(vectors[:stages]),
        vectors[stages] if len(vectors) > stages else None,
        tuple(ids),
        np.asarray([sample.person for sample in samples]),
        np.asarray([sample.camera for sample in samples]),
        runner.digest,
        runner.stage_names,
        crops,
        pooling,
        runner.space,
        runner.seen,
    )
    if not problems or skipped is None:
        return found
    skipped += problems
    return _readable(found, samples, problems)


def _readable(found: Embeddings, samples: Sequence[Sample], problems: Sequence[UnreadableImageError]) -> Embeddings:
    """The rows of samples without an unreadable picture."""
    bad = {problem.path for problem in problems}
    rows = [row for row, sample in enumerate(samples) if not bad.intersection(sample.images)]
    if not rows:
        raise UnreadableImageError(problems[0].path, f"{problems[0].reason}; and no other picture can be read either")
    return found.rows(rows)


def _refuse_settings(crops: int, pooling: Pooling, batch_size: int, workers: int) -> None:
    refuse_unknown(pooling)
    if crops not in (1, 10):
        raise ValueError(f"crops must be 1 or 10, got {crops}")
    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def clips(images: Sequence[Path], frames: int) -> list[Path]:
    """A tracklet's images as clips of `frames` images each, in a row; each clip spans the whole tracklet.

    As few clips as show every image; where images run out the last one is repeated.
    """
    count = -(-len(images) // frames)
    return [images[min(place * count + clip, len(images) - 1)] for clip in range(count) for place in range(frames)]


def _ids(samples: Sequence[Sample], root: Path | None) -> list[str]:
    """One per sample, of its first picture; no samples, or two with one id, are refused."""
    if not samples:
        raise ValueError("nothing to embed: no samples")
    first: dict[str, Sample] = {}
    for sample in samples:
        path = sample.images[0]
        id = path.relative_to(root).as_posix() if root else path.name
        if id in first:
            raise ValueError(
                f"two pictures have one id, {id}: {first[id].images[0]} and {path}; "
                "give root=, the folder that holds all of them, or rename one"
            )
        first[id] = sample
    return list(first)


def _parts(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Samples in order, until there are enough pictures; none is cut, so a part's tracklets can be pooled at once."""
    part: list[Sample] = []
    pictures = 0
    for sample in samples:
        part.append(sample)
        pictures += len(sample.images)
        if pictures >= CHUNK:
            yield part
            part, pictures = [], 0
    if part:
        yield part


def _chunk(
    runner: Runner,
    paths: Sequence[Path],
    crops: int,
    batch_size: int,
    workers: int,
    problems: list[UnreadableImageError],
    before: int,
    total: int,
    on_progress: Callable[[int, int], None],
) -> _Vectors:
    def run(pictures: NDArray[np.uint8]) -> _Vectors:
        size = runner.preparation
        cropped = [pictures] if crops == 1 else ten_crops(pictures, size.height, size.width)
        vectors = [_in_row(*runner.embed(prepare(crop, size))) for crop in cropped]
        return [np.stack(each).mean(0, dtype=np.float32) for each in zip(*vectors, strict=True)]

    batches: list[_Vectors] = []
    ahead: deque[tuple[int, Future[_Vectors]]] = deque()

    def finish() -> None:
        done, future = ahead.popleft()
        batches.append(future.result())
        on_progress(before + done, total)

    with ThreadPoolExecutor(READING_THREADS) as reading, ThreadPoolExecutor(workers) as running:
        for done, pictures in _batches(reading, runner, paths, crops, batch_size, problems):
            ahead.append((done, running.submit(run, pictures)))
            if len(ahead) > workers:
                finish()
        while ahead:
            finish()
    return _joined(batches)


def _batches(
    pool: ThreadPoolExecutor,
    runner: Runner,
    paths: Sequence[Path],
    crops: int,
    batch_size: int,
    problems: list[UnreadableImageError],
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Pictures of a batch (B, H, W, 3), black where unreadable, read while the batch before runs."""
    preparation = runner.preparation
    height, width = (preparation.height, preparation.width) if crops == 1 else preparation.uncropped

    def read(path: Path) -> NDArray[np.uint8] | UnreadableImageError:
        try:
            return read_resized(path, height, width)
        except UnreadableImageError as problem:
            return problem

    starts = range(0, len(paths), batch_size)
    ahead = [pool.submit(read, path) for path in paths[:batch_size]]
    for start in starts:
        now, following = ahead, paths[start + batch_size : start + 2 * batch_size]
        ahead = [pool.submit(read, path) for path in following]
        pictures = np.zeros((len(now), height, width, 3), np.uint8)
        for row, future in enumerate(now):
            picture = future.result()
            if isinstance(picture, UnreadableImageError):
                problems.append(picture)
            else:
                pictures[row] = picture
        yield start + len(now), pictures


def _in_row(stages: list[NDArray[np.float32]], fused: NDArray[np.float32] | None) -> _Vectors:
    return stages if fused is None else [*stages, fused]


def _joined(parts: Sequence[_Vectors]) -> _Vectors:
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def _refuse_nan(vectors: _Vectors, samples: Sequence[Sample]) -> None:
    for rows in vectors:
        finite = np.isfinite(rows).all(1)
        if not finite.all():
            raise ValueError(
                f"the network makes NaN or infinity of {samples[int(finite.argmin())].images[0]} ({(~finite).sum()} of "
                f"{len(rows)} vectors): its training has diverged, its precision is too low, or images are prepared "
                "otherwise; take a checkpoint from before, fp32, or the right preparation"
            )


def _fingerprint(runner: Runner, paths: Sequence[Path], crops: int, counts: Sequence[int], pooling: Pooling) -> str:
    """Names a chunk by the model and the files it was made from, so that a stale one is never picked up."""
    files = [[str(path), path.stat().st_mtime_ns, path.stat().st_size] for path in paths if path.exists()]
    work = [runner.digest, runner.precision, asdict(runner.preparation), crops, counts, pooling, files]
    return hashlib.sha256(json.dumps(work).encode()).hexdigest()[:32]


def _save(file: Path, vectors: _Vectors) -> None:
    with replacing(file) as target:
        np.savez(target, *vectors)


def _saved(file: Path | None) -> _Vectors | None:
    """A chunk from an earlier call; None, so that it is made again, where there is none or it is damaged."""
    if file is None or not file.exists():
        return None
    try:
        return list(read_arrays(file).values())
    except EmbeddingsError:
        file.unlink()
        return None
