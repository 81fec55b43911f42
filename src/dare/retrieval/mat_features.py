"""A folder of .mat files as the paper's released code writes them for Matlab, to embeddings and back.

The extraction leaves `query_features_1.mat` to `query_features_4.mat` and `query_features_fusion.mat` in a folder, or
`query_features.mat` with the fused vectors alone; likewise `test_features...` of the gallery, `train_features...`.
Whose vector a column is follows from the data set alone: pictures in order of their names.

Source: github.com/mileyan/DARENet at ce037bc: extract_features.py, Datasets.py, budgeted_stream/main.py.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets.published import read_mat
from dare.datasets.sample import Benchmark, Sample
from dare.files import replacing_folder
from dare.retrieval.embeddings import Embeddings, EmbeddingsError

SPLITS = {"train": "train", "query": "query", "gallery": "test"}
"""Split of a benchmark -> what the released code calls it."""

FUSION = "fusion"
ALONE = ""
"""In place of a stage's number: fused vectors that lie in a folder without the stages'."""


def write_mat_features(
    folder: str | Path, embeddings: Embeddings, benchmark: Benchmark, splits: Sequence[str] = ("query", "gallery")
) -> None:
    """Write the vectors of a benchmark's pictures into a new folder, in the benchmark's order.

    Args:
        folder: to make; nothing is left of it if this fails.
        embeddings: of at least these splits' pictures, found by id.
        splits: "train", "query", "gallery".

    Raises:
        EmbeddingsError: a picture has no vector, or a vector has NaN.
        FileExistsError: the folder is there and not empty.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already; give a folder that is new or empty")
    samples = _samples(benchmark, splits)
    parts = {split: embeddings.find(benchmark.identify(part)) for split, part in samples.items()}
    with replacing_folder(folder) as aside:
        for split, part in parts.items():
            for name, vectors in _named(part).items():
                write_vectors(aside, split, name, vectors, part.ids)


def read_mat_features(
    folder: str | Path, benchmark: Benchmark, splits: Sequence[str] = ("query", "gallery"), *, stages: int = 4
) -> Embeddings:
    """Read what the released code or `write_mat_features` wrote; ids and labels are the benchmark's, in its order.

    Args:
        folder: that holds the files.
        benchmark: whose pictures the columns are.
        splits: "train", "query", "gallery".
        stages: of a network with fusion, at least 1. The released simulation does without the last stage's file; where
            it is missing, the fused vectors are an exit behind the others.

    Raises:
        EmbeddingsError: a file or variable is missing, not as expected, or has another number of columns than the
            split has pictures.
        ValueError: no such split, no pictures in one, tracklets, or no stages.
    """
    folder = Path(folder)
    if stages < 1:
        raise ValueError(f"a network has at least 1 stage, got stages {stages}")
    samples = _samples(benchmark, splits)
    kinds = {split: embeddings_in(folder, split, stages) for split in samples}
    first, names = next(iter(kinds.items()))
    for split, others in kinds.items():
        if others != names:
            here, there = (
                ", ".join(file_name(of, name) for name in found) for of, found in ((first, names), (split, others))
            )
            raise EmbeddingsError(f"{folder} has {here}, but {there}; extract both alike")
    vectors = {name: _joined(folder, name, benchmark, samples) for name in names}
    everyone = [sample for part in samples.values() for sample in part]
    ids = benchmark.identify(everyone)
    rows = _first_rows(folder, ids, list(vectors.values()))
    numbered = [name for name in names if name.isdecimal()]
    replaces_last = FUSION in names and 0 < len(numbered) < stages
    exits = [*numbered, FUSION] if replaces_last else numbered
    fused = None if replaces_last else vectors.get(FUSION, vectors.get(ALONE))
    return Embeddings(
        tuple(vectors[name][rows] for name in exits),
        None if fused is None else fused[rows],
        tuple(ids[row] for row in rows),
        np.asarray([everyone[row].person for row in rows]),
        np.asarray([everyone[row].camera for row in rows]),
        names=tuple(name if name == FUSION else f"stage {name}" for name in exits),
        pooling="",
    )


def _samples(benchmark: Benchmark, splits: Sequence[str]) -> dict[str, Sequence[Sample]]:
    """The samples of these splits, none of them empty or of tracklets."""
    if not splits or {*splits} - SPLITS.keys():
        raise ValueError(f"splits are {', '.join(SPLITS)}, got {', '.join(splits) or 'none'}")
    samples: dict[str, Sequence[Sample]] = {split: getattr(benchmark, split) for split in splits}
    for split, part in samples.items():
        if not part:
            raise ValueError(f"there are no {split} pictures in {benchmark.name}; leave this split out")
        if any(len(sample.images) > 1 for sample in part):
            raise ValueError(
                f"{benchmark.name} has tracklets, and .mat files are of pictures (of MARS the released code writes a "
                "column per frame, in other files); keep its embeddings as .npz"
            )
    return samples


def _named(embeddings: Embeddings) -> dict[str, NDArray[np.floating]]:
    """Vectors by how their files are called."""
    if not embeddings.stages and embeddings.fused is not None:
        return {ALONE: embeddings.fused}
    named = enumerate(zip(embeddings.names, embeddings.stages, strict=True), start=1)
    vectors = {FUSION if name == FUSION else str(number): stage for number, (name, stage) in named}
    return vectors if embeddings.fused is None else {**vectors, FUSION: embeddings.fused}


def _joined(
    folder: Path, name: str, benchmark: Benchmark, samples: dict[str, Sequence[Sample]]
) -> NDArray[np.floating]:
    """(N, D) of all splits, one below the other."""
    parts = [read_vectors(folder, split, name, benchmark.identify(part)) for split, part in samples.items()]
    widths = {file_name(split, name): part.shape[1] for split, part in zip(samples, parts, strict=True)}
    if len({*widths.values()}) > 1:
        sizes = ", ".join(f"{width} in {file}" for file, width in widths.items())
        raise EmbeddingsError(f"{folder}: expected vectors of one size, got {sizes}; extract both with one network")
    return np.concatenate(parts)


def _first_rows(folder: Path, ids: Sequence[str], vectors: Sequence[NDArray[np.floating]]) -> list[int]:
    """One row of each picture: a picture may be query and gallery entry, with one vector."""
    first: dict[str, int] = {}
    for row, id in enumerate(ids):
        twin = first.setdefault(id, row)
        if twin != row and any((stage[row] != stage[twin]).any() for stage in vectors):
            raise EmbeddingsError(f"{folder} has two different vectors of {id}, which is in two splits")
    return list(first.values())


def file_name(split: str, embedding: str) -> str:
    """Of the vectors of an embedding: "1", "2", ..., `FUSION` or `ALONE`."""
    return f"{SPLITS[split]}_features{'_' * bool(embedding)}{embedding}.mat"


def embeddings_in(folder: Path, split: str, stages: int) -> list[str]:
    """The embeddings of a split that have a file in a folder, in order of depth.

    Args:
        stages: of a network with fusion; the last stage's file may be missing.

    Raises:
        EmbeddingsError: there are none, a stage is missing, or it is unclear which of two are meant.
    """
    pattern = re.compile(rf"{SPLITS[split]}_features_([1-9]\d*|{FUSION})\.mat")
    found = {match[1] for path in folder.glob("*.mat") if (match := pattern.fullmatch(path.name))}
    alone, fused = file_name(split, ALONE), FUSION in found
    if (folder / alone).is_file():
        if found:
            raise EmbeddingsError(
                f"{folder} holds {alone} and also {file_name(split, min(found))}; move one kind elsewhere"
            )
        return [ALONE]
    if not found:
        raise EmbeddingsError(f"no {file_name(split, '1')} and no {alone} in {folder}")
    numbers = sorted(int(name) for name in found - {FUSION})
    counts = (stages, stages - 1) if fused and numbers else (len(numbers),)
    if numbers not in [[*range(1, count + 1)] for count in counts]:
        expected = f"1 to {stages}, or all but the last, beside the fusion" if fused else "without a gap from 1"
        raise EmbeddingsError(
            f"{folder} has {SPLITS[split]}_features of stages {', '.join(map(str, numbers))}, expected {expected}; "
            "add what is missing, or say how many stages the network has"
        )
    return [*map(str, numbers), *([FUSION] if fused else [])]


def write_vectors(folder: Path, split: str, embedding: str, vectors: NDArray[np.floating], ids: Sequence[str]) -> None:
    """Write (N, D) vectors as (D, N) to their file in a folder."""
    from scipy.io import savemat  # slow to import, and everything else does without

    path = folder / file_name(split, embedding)
    _refuse_nan(path.name, vectors, ids)
    savemat(path, {_variable(split): vectors.T})


def read_vectors(folder: Path, split: str, embedding: str, ids: Sequence[str]) -> NDArray[np.floating]:
    """(N, D) vectors of these N pictures from their file in a folder.

    Raises:
        EmbeddingsError: it is damaged, or has no variable (D, N) of finite numbers.
    """
    path, variable = folder / file_name(split, embedding), _variable(split)
    try:
        matrix = read_mat(path, variable, advice=f"write {variable} (D, N) again")[variable]
    except (FileNotFoundError, ValueError) as error:
        raise EmbeddingsError(str(error)) from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise EmbeddingsError(
            f"{path}: expected {variable} to be a matrix of real numbers (D, N), "
            f"got {matrix.dtype} of shape {matrix.shape}"
        )
    if matrix.shape[1] != len(ids):
        if matrix.shape[0] == len(ids):
            advice = "it is transposed; save its transpose"
        else:
            advice = "give the data set that the vectors are of, with the same pictures"
        raise EmbeddingsError(
            f"{path}: expected {len(ids)} columns of {variable}, one per {split} picture of the data set, "
            f"got shape {matrix.shape}; {advice}"
        )
    vectors = np.ascontiguousarray(matrix.T)
    _refuse_nan(str(path), vectors, ids)
    return vectors


def _refuse_nan(origin: str, vectors: NDArray[np.floating], ids: Sequence[str]) -> None:
    bad = ~np.isfinite(vectors).all(1)
    if bad.any():
        raise EmbeddingsError(f"{origin}: the vector of {ids[int(bad.argmax())]} contains NaN or infinity")


def _variable(split: str) -> str:
    return f"feature_{SPLITS[split]}_new"
