"""A folder of .mat files as the paper's released code writes them for Matlab, to embeddings and back.

The extraction leaves `query_features_1.mat` to `query_features_4.mat` and `query_features_fusion.mat` in a folder, or
`query_features.mat` with the fused vectors alone; likewise `test_features...` of the gallery, `train_features...`.
Columns are the data set's pictures in order of their names; the files name none.

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
from dare.retrieval.distances import check_finite
from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.retrieval.labels import Labels

SPLITS = {"train": "train", "query": "query", "gallery": "test"}
"""Split of a benchmark -> what the released code calls it."""

FUSION = "fusion"
ALONE = ""
"""Stands for a stage's number where fused vectors lie in a folder without those of stages."""


def write_mat_features(
    folder: str | Path, embeddings: Embeddings, benchmark: Benchmark, splits: Sequence[str] = ("query", "gallery")
) -> None:
    """Write the vectors of a benchmark's pictures into a new folder, in the benchmark's order.

    Args:
        folder: to make; nothing is left of it if this fails.
        embeddings: of at least these splits' pictures, found by id.
        splits: "train", "query", "gallery".

    Raises:
        EmbeddingsError: a picture has no vector.
        ValueError: a vector has NaN, there is no such split or no pictures in one, or there are tracklets.
        FileExistsError: the folder is there and not empty.
    """
    from scipy.io import savemat  # slow to import, and everything else does without

    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already; give a folder that is new or empty")
    samples = _samples(benchmark, splits)
    parts = {split: embeddings.find(benchmark.identify(part)) for split, part in samples.items()}
    for part in parts.values():
        part.refuse_nan()
    with replacing_folder(folder) as aside:
        for split, part in parts.items():
            for stage, vectors in _by_stage(part).items():
                savemat(aside / file_name(split, stage), {_variable(split): vectors.T})


def read_mat_features(
    folder: str | Path, benchmark: Benchmark, splits: Sequence[str] = ("query", "gallery"), *, stages: int = 4
) -> Embeddings:
    """Read what the released code or `write_mat_features` wrote; ids and labels are the benchmark's, in its order.

    Args:
        folder: that holds the files.
        benchmark: whose pictures the columns are.
        splits: "train", "query", "gallery".
        stages: of a network with fusion, at least 1. The released simulation needs no file of the last stage; where it
            is missing, the fused vectors are one more exit.

    Raises:
        EmbeddingsError: a file or variable is missing, not as expected, or has another number of columns than the
            split has pictures.
        ValueError: no such split, no pictures in one, tracklets, or no stages.
    """
    folder = Path(folder)
    if stages < 1:
        raise ValueError(f"a network has at least 1 stage, got stages {stages}")
    samples = _samples(benchmark, splits)
    stages_of = {split: _stages_in(folder, split, stages) for split in samples}
    first, names = next(iter(stages_of.items()))
    for split, others in stages_of.items():
        if others != names:
            here, there = (
                ", ".join(file_name(of, name) for name in found) for of, found in ((first, names), (split, others))
            )
            raise EmbeddingsError(f"{folder} has {here}, but {there}; extract both alike")
    vectors = {name: _read(folder, name, benchmark, samples) for name in names}
    everyone = [sample for part in samples.values() for sample in part]
    labels = Labels.of(everyone)
    exits = [name for name in names if name.isdecimal()]
    fused = vectors.get(FUSION, vectors.get(ALONE))
    if FUSION in names and 0 < len(exits) < stages:  # it takes the place of the last stage
        exits, fused = [*exits, FUSION], None
    read = Embeddings(
        tuple(vectors[name] for name in exits),
        fused,
        benchmark.identify(everyone),
        labels.people,
        labels.cameras,
        names=tuple(name if name == FUSION else f"stage {name}" for name in exits),
        pooling="",
    )
    rows: dict[str, int] = {}  # a picture may be query and gallery entry, with one vector
    for row, id in enumerate(read.ids):
        twin = rows.setdefault(id, row)
        if twin != row and any((stage[row] != stage[twin]).any() for stage in read.vectors()):
            raise EmbeddingsError(f"{folder} has two different vectors of {id}, which is in two splits")
    return read.rows(list(rows.values()))


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


def _by_stage(embeddings: Embeddings) -> dict[str, NDArray[np.floating]]:
    """Vectors by stage: "1", "2", ..., `FUSION` or `ALONE`."""
    if not embeddings.stages and embeddings.fused is not None:
        return {ALONE: embeddings.fused}
    named = enumerate(zip(embeddings.names, embeddings.stages, strict=True), start=1)
    vectors = {FUSION if name == FUSION else str(number): stage for number, (name, stage) in named}
    return vectors if embeddings.fused is None else {**vectors, FUSION: embeddings.fused}


def _stages_in(folder: Path, split: str, stages: int) -> list[str]:
    """The stages of a split that have a file, in order of depth; with a fusion the last one's may be missing."""
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


def _read(folder: Path, stage: str, benchmark: Benchmark, samples: dict[str, Sequence[Sample]]) -> NDArray[np.floating]:
    """(N, D) vectors of a stage, of all splits."""
    parts = {}
    for split, part in samples.items():
        name = file_name(split, stage)
        try:
            parts[name] = _read_file(folder / name, split, benchmark.identify(part))
        except (FileNotFoundError, ValueError) as error:
            raise EmbeddingsError(str(error)) from error
    widths = {name: vectors.shape[1] for name, vectors in parts.items()}
    if len({*widths.values()}) > 1:
        sizes = ", ".join(f"{width} in {name}" for name, width in widths.items())
        raise EmbeddingsError(f"{folder}: expected vectors of one size, got {sizes}; extract both with one network")
    return np.concatenate(list(parts.values()))


def _read_file(path: Path, split: str, ids: Sequence[str]) -> NDArray[np.floating]:
    """(N, D) vectors of these N pictures."""
    variable = _variable(split)
    matrix = read_mat(path, variable, advice=f"write {variable} (D, N) again")[variable]
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected {variable} to be a matrix of real numbers (D, N), "
            f"got {matrix.dtype} of shape {matrix.shape}"
        )
    if matrix.shape[1] != len(ids):
        if matrix.shape[0] == len(ids):
            advice = "it is transposed; save its transpose"
        else:
            advice = "give the data set that the vectors are of, with the same pictures"
        raise ValueError(
            f"{path}: expected {len(ids)} columns of {variable}, one per {split} picture of the data set, "
            f"got shape {matrix.shape}; {advice}"
        )
    vectors = np.ascontiguousarray(matrix.T)
    check_finite(vectors, f"{path}: the vector of", ids)
    return vectors


def file_name(split: str, stage: str) -> str:
    """Of the vectors of a stage: "1", "2", ..., `FUSION` or `ALONE`."""
    return f"{SPLITS[split]}_features{'_' * bool(stage)}{stage}.mat"


def _variable(split: str) -> str:
    return f"feature_{SPLITS[split]}_new"
