"""One .mat file of vectors, as the paper's released code writes it: a split's vectors of one stage, without labels.

Source: github.com/mileyan/DARENet at ce037bc: extract_features.py.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dare.datasets.published import read_mat
from dare.retrieval.embeddings import EmbeddingsError

SPLITS = {"train": "train", "query": "query", "gallery": "test"}
"""Split of a benchmark -> what the released code calls it."""

FUSION = "fusion"
ALONE = ""
"""In place of a stage's number: fused vectors that lie in a folder without the stages'."""


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
