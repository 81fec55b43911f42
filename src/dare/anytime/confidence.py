"""How sure a ranked list is; higher is surer, always."""

import numpy as np
from numpy.typing import NDArray


def nearness(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Minus the distance of the nearest entry.

    Args:
        distances: (..., k), nearest first.

    Returns:
        (...), NaN for empty lists.
    """
    lists = np.asarray(distances, np.float64)
    return -lists[..., 0] if lists.shape[-1] else np.full(lists.shape[:-1], np.nan)


def margin(
    distances: NDArray[np.floating], people: NDArray[np.integer], *, complete: bool | NDArray[np.bool_] = False
) -> NDArray[np.float64]:
    """By how much the nearest other person is farther away than the nearest person.

    Args:
        distances: (..., k), nearest first.
        people: (..., k), who each entry shows.
        complete: (...) or one for all, whether a list holds everybody there is. One with a single person is then
            infinitely sure: a later exit could name nobody else.

    Returns:
        (...), NaN where the list is too short to tell: it is empty, or holds a single person and is not complete.
        Search deeper then.
    """
    lists, who = np.asarray(distances, np.float64), np.asarray(people)
    if lists.shape != who.shape:
        raise ValueError(f"expected a person for each distance, got shapes {who.shape} and {lists.shape}")
    if not lists.shape[-1]:
        return np.full(lists.shape[:-1], np.nan)
    others = who != who[..., :1]
    first = others.argmax(-1)[..., None]
    gap = np.take_along_axis(lists, first, -1)[..., 0] - lists[..., 0]
    return np.where(others.any(-1), gap, np.inf if complete else np.nan)
