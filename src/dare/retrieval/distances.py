"""Which vectors compare with which, and how far apart they are; the kind of distance is in the name."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray


def another_model(what: str, model: str, given: str, advice: str) -> str:
    """The message for data of one network that is used with another.

    Args:
        what: subject and verb, such as "the gallery holds vectors".
        model, given: digests of the network that the data belongs to and of the one in use; "" if unknown.
        advice: what to do.
    """
    return f"{what} of model {model[:12] or 'unknown'}, this is model {given[:12] or 'unknown'}; {advice}"


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


LARGEST = 1e18
"""Squares of values up to here, and sums of hundreds of them, have a float32."""


def check_finite(vectors: NDArray[np.floating], what: str, ids: Sequence[str] = ()) -> None:
    """Raise a ValueError that names the first of (N, D) vectors with NaN or infinity by its id, or else by its row."""
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        row = int(finite.argmin())
        raise ValueError(f"{what} {ids[row] if ids else row} contains NaN or infinity; check the embeddings")
    if np.abs(vectors).max(initial=0) > LARGEST:
        row = int(np.abs(vectors).max(1).argmax())
        raise ValueError(
            f"{what} {ids[row] if ids else row} has a value beyond {LARGEST:g}, and its square overflows; scale them"
        )


Space = Literal["own", "shared"]
"""Where a network's vectors lie. `own`: each exit has a space of its own. `shared`: the vectors of all exits lie in the
space of the last one, as the network was trained for."""


def entry_exit(space: Space, exit: int, exits: int) -> int:
    """The exit, counted from 0, whose gallery vectors are compared with a query's vector of `exit`."""
    return exit if space == "own" else exits - 1


def entry_sizes(space: Space, dimensions: Sequence[int]) -> dict[int, int]:
    """Exit -> size of its vectors, for exits that a gallery stores (all, or the last one); checks as `check_space`."""
    check_space(space, dimensions)
    kept = (entry_exit(space, exit, len(dimensions)) for exit in range(len(dimensions)))
    return {exit: dimensions[exit] for exit in kept}


def check_space(space: str, dimensions: Sequence[int] = ()) -> None:
    """Raise ValueError for an unknown space, and for exits of different sizes (E,) that are said to share one."""
    if space not in get_args(Space):
        raise ValueError(f"the space of vectors is {' or '.join(get_args(Space))}, got {space!r}")
    if space == "shared" and len(set(dimensions)) > 1:
        raise ValueError(f"exits share a space only if their vectors have one size, got {tuple(dimensions)} dimensions")
