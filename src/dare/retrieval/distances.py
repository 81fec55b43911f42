"""Distances between every query vector and every gallery vector; the kind is in the name."""

import numpy as np
from numpy.typing import NDArray


def squared_euclidean(query: NDArray[np.floating], gallery: NDArray[np.floating]) -> NDArray[np.float32]:
    """(Q, D), (G, D) -> (Q, G). Never negative; computed by a matrix product, so rounded to float32."""
    q, g = np.asarray(query, np.float32), np.asarray(gallery, np.float32)
    distances: NDArray[np.float32] = -2 * (q @ g.T)
    distances += np.einsum("gd,gd->g", g, g)
    distances += np.einsum("qd,qd->q", q, q)[:, None]
    np.maximum(distances, 0, out=distances)
    return distances


def euclidean(query: NDArray[np.floating], gallery: NDArray[np.floating]) -> NDArray[np.float32]:
    """(Q, D), (G, D) -> (Q, G); the distance that DaRe is trained for."""
    distances = squared_euclidean(query, gallery)
    return np.sqrt(distances, out=distances)


def cosine(query: NDArray[np.floating], gallery: NDArray[np.floating]) -> NDArray[np.float32]:
    """One minus the cosine of the angle: (Q, D), (G, D) -> (Q, G), from 0 to 2."""
    distances: NDArray[np.float32] = 1 - normalised(query) @ normalised(gallery).T
    return np.clip(distances, 0, 2, out=distances)


def normalised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors scaled to length 1, (N, D); Euclidean distances between them order as cosine distances do.

    Raises:
        ValueError: a vector is zero and so has no direction.
    """
    array = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if not lengths.all():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise ValueError(f"vector {row} is zero, cosine distance needs a direction; use euclidean, or remove it")
    scaled: NDArray[np.float32] = (array / lengths).astype(np.float32)
    return scaled
