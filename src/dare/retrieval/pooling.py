"""Several vectors become one: those of a tracklet's images, or of queries that ask together."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["mean", "max"]


def pool(vectors: NDArray[Any], counts: Sequence[int] | NDArray[np.integer], how: Pooling = "mean") -> NDArray[Any]:
    """One row for each run of rows, of the same type: (N, D) -> (M, D).

    Args:
        vectors: (N, D), as they are; nothing is scaled before or after.
        counts: (M,), how many rows each run has, in order; N in all.
        how: the mean, summed in float64, or the greatest value of each dimension.

    Raises:
        ValueError: another kind of pooling, or counts that do not fit.
    """
    refuse_unknown(how)
    lengths = np.asarray(counts, np.int64)
    if (len(lengths) and lengths.min() < 1) or lengths.sum() != len(vectors):
        raise ValueError(f"expected runs of at least 1 row, {len(vectors)} in all, got {lengths.tolist()}")
    if len(lengths) == len(vectors):
        return vectors
    starts = np.cumsum(lengths) - lengths
    if how == "max":
        return np.asarray(np.maximum.reduceat(vectors, starts))
    sums = np.add.reduceat(vectors, starts, dtype=np.float64)
    return np.asarray(sums / lengths[:, None], vectors.dtype)


def refuse_unknown(how: str) -> None:
    """Raise a ValueError unless this is a kind of pooling."""
    if how not in get_args(Pooling):
        raise ValueError(f"pooling must be 'mean' or 'max', got {how!r}")
