"""Exact nearest neighbours of a few queries: candidates by a float32 product, their order in float64."""

import numpy as np
from numpy.typing import NDArray

FLOAT32_ROUNDING = 2.0**-24


def nearest(
    queries: NDArray[np.float32], rows: NDArray[np.float32], squares: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest rows of each query and their Euclidean distances, nearest first; ties in order of the rows.

    Args:
        queries: (Q, D).
        rows: (N, D).
        squares: (N,), the rows' squared lengths, float32.
        count: k, cut to N.

    Returns:
        (Q, k), (Q, k).
    """
    k = min(count, len(rows))
    places, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
    if not k:
        return places, distances
    products = squares - 2 * (queries @ rows.T)  # orders as the distances of one query do
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    longest = float(np.sqrt(squares.max()))
    # Each sum of D products is off by at most D roundings of the terms' total size (Higham 2002, 3.1).
    slack = 2 * (queries.shape[1] + 8) * FLOAT32_ROUNDING * (2 * lengths * longest + longest**2)
    for number, (query, row) in enumerate(zip(queries, products, strict=True)):
        bound = np.partition(row, k - 1)[k - 1] + 2 * slack[number]
        candidates = np.flatnonzero(row <= bound)
        exact = np.linalg.norm(rows[candidates].astype(np.float64) - query, axis=1)
        order = np.argsort(exact, kind="stable")[:k]
        places[number], distances[number] = candidates[order], exact[order]
    return places, distances
