"""How sure a ranked list is; higher is surer, always."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import JUNK
from dare.files import compiled
from dare.retrieval.labels import Labelled

Allowed = Literal["paper", "other-cameras", "all"]
"""Which gallery entries a query is compared with: `paper`: all but those of its own person and camera, which needs its
label; `other-cameras`: those of other cameras; `all`. Junk never counts."""

LIST = 128
"""Entries of a list that its agreement is taken from."""

RELATIVE = 0.1
"""Weight of the relative margin in the agreement: chosen on 50 people held out from Market-1501's training set."""

BLOCK_BYTES = 64 * 2**20


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
    """How much farther the nearest other person is than the nearest person.

    Args:
        distances: (..., k), nearest first.
        people: (..., k), who each entry shows.
        complete: (...) or one for all, whether a list holds all entries that could be found. With a single person in it
            the margin is then infinite: no later exit can name anybody else.

    Returns:
        (...), NaN if the list is too short: it is empty, or holds a single person and is not complete. Search deeper
        then.
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


def agreement(distances: NDArray[np.floating], people: NDArray[np.integer]) -> NDArray[np.float64]:
    """How far a list bears out its own first answer: whether that person's other entries follow, and the margin.

    A query that leaves early keeps the list of its exit. The margin says whether the first entry is right, this also
    whether the rest of the list is: the mean precision at the person's further entries if the first one is right, and
    a tenth of the relative margin. Of people with one entry, as all unknown ones are, only the margin speaks.

    Args:
        distances: (..., k), nearest first; the first `LIST` count. Infinity after the last where lists are shorter.
        people: (..., k), who each entry shows.

    Returns:
        (...), from 0 to 1.1; NaN for empty lists. The margin is relative to the distance of the nearest other person,
        or of the last entry if the list holds one person only.
    """
    lists, who = np.asarray(distances, np.float64)[..., :LIST], np.asarray(people)[..., :LIST]
    if lists.shape != who.shape:
        raise ValueError(f"expected a person for each distance, got shapes {who.shape} and {lists.shape}")
    if not lists.shape[-1]:
        return np.full(lists.shape[:-1], np.nan)
    found = np.isfinite(lists)
    same = found & (who == who[..., :1])
    precision = np.cumsum(same, -1) / np.arange(1, lists.shape[-1] + 1)
    further = same & (np.arange(lists.shape[-1]) > 0)
    average = (precision * further).sum(-1) / np.maximum(further.sum(-1), 1)
    others = found & ~same
    next_one = np.where(others.any(-1), others.argmax(-1), np.maximum(found.sum(-1), 1) - 1)[..., None]
    nearest, farther = np.where(found[..., 0], lists[..., 0], 0), np.take_along_axis(lists, next_one, -1)[..., 0]
    relative = np.where(farther > 0, 1 - nearest / np.where(farther > 0, farther, 1), 0)
    return np.where(found[..., 0], average + RELATIVE * relative, np.nan)


@dataclass(frozen=True, slots=True)
class NearestTwo:
    """Euclidean distances of each query, (Q,); infinity if there is no such entry.

    Attributes:
        nearest: to the nearest allowed gallery entry.
        other: to the nearest one of another person than that one's.
    """

    nearest: NDArray[np.float64]
    other: NDArray[np.float64]

    @property
    def nearness(self) -> NDArray[np.float64]:
        """(Q,), as `dare.nearness`; NaN for a query without entries to compare with."""
        return np.where(np.isfinite(self.nearest), -self.nearest, np.nan)

    @property
    def margin(self) -> NDArray[np.float64]:
        """(Q,), as `dare.margin` of complete lists."""
        known = np.isfinite(self.nearest)
        return np.where(known, self.other - np.where(known, self.nearest, 0), np.nan)


def nearest_two(
    query_vectors: NDArray[np.floating],
    gallery_vectors: NDArray[np.floating],
    query: Labelled,
    gallery: Labelled,
    allowed: Allowed = "paper",
) -> NearestTwo:
    """The two distances that confidences of a labelled stream are computed from.

    Args:
        query_vectors, gallery_vectors: (Q, D), (G, D).
        query, gallery: people and cameras of their rows; the queries' people are used for `paper` only.
        allowed: which entries count.
    """
    if allowed not in get_args(Allowed):
        raise ValueError(f"allowed must be one of {', '.join(get_args(Allowed))}, got {allowed!r}")
    kept = np.flatnonzero(np.asarray(gallery.people) != JUNK)
    people, cameras = np.asarray(gallery.people)[kept], np.asarray(gallery.cameras)[kept]
    queries, vectors = np.asarray(query_vectors, np.float64), np.asarray(gallery_vectors, np.float64)[kept]
    columns = np.full((2, len(queries)), -1, np.int64)
    for part, distances in _blocks(queries, vectors):
        _scan(
            distances,
            np.asarray(query.people)[part],
            np.asarray(query.cameras)[part],
            people,
            cameras,
            get_args(Allowed).index(allowed),
            columns[:, part],
        )

    def exact(column: NDArray[np.int64]) -> NDArray[np.float64]:
        if not len(vectors):
            return np.full(len(queries), np.inf)
        return np.where(column < 0, np.inf, np.linalg.norm(queries - vectors[column], axis=1))

    return NearestTwo(exact(columns[0]), exact(columns[1]))


def stream_agreement(
    query_vectors: NDArray[np.floating],
    gallery_vectors: NDArray[np.floating],
    query: Labelled,
    gallery: Labelled,
    allowed: Allowed,
) -> NDArray[np.float64]:
    """(Q,), the `agreement` of each query's list; arguments as of `nearest_two`."""
    kept = np.flatnonzero(np.asarray(gallery.people) != JUNK)
    people, cameras = np.asarray(gallery.people)[kept], np.asarray(gallery.cameras)[kept]
    queries, vectors = np.asarray(query_vectors, np.float64), np.asarray(gallery_vectors, np.float64)[kept]
    depth = min(LIST, len(kept))
    near = 1e-9 * max((np.square(each).sum(1).max(initial=0) for each in (queries, vectors)), default=0)  # rounding
    found = np.full(len(queries), np.nan)
    for part, block in _blocks(queries, vectors):
        for row, distances in enumerate(block if depth else (), part.start):
            left_out = np.full(len(kept), allowed != "all") & (cameras == query.cameras[row])
            if allowed == "paper":
                left_out &= people == query.people[row]
            distances[left_out] = np.inf
            nearest = np.flatnonzero(distances <= np.partition(distances, depth - 1)[depth - 1] + near)
            away = np.where(left_out[nearest], np.inf, np.linalg.norm(vectors[nearest] - queries[row], axis=1))
            order = np.argsort(away, kind="stable")[:depth]
            found[row] = agreement(away[order], people[nearest[order]])
    return found


def _blocks(queries: NDArray[np.float64], vectors: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Squared distances of some queries at a time, without the queries' own squares."""
    squares = np.einsum("gd,gd->g", vectors, vectors)
    rows = max(1, BLOCK_BYTES // (8 * max(1, len(vectors))))
    for start in range(0, len(queries), rows):
        part = slice(start, min(start + rows, len(queries)))
        yield part, squares - 2 * queries[part] @ vectors.T  # in the same order as the distances of one query


@compiled()
def _scan(
    distances: Any, query_people: Any, query_cameras: Any, people: Any, cameras: Any, allowed: int, columns: Any
) -> None:
    """Per row the columns of the smallest distance and of the smallest one of another person; -1 without."""
    for row in range(distances.shape[0]):
        nearest, other = np.inf, np.inf
        first, second = -1, -1
        for column in range(distances.shape[1]):
            distance = distances[row, column]
            if distance >= other:
                continue
            if cameras[column] == query_cameras[row] and (
                allowed == 1 or (allowed == 0 and people[column] == query_people[row])
            ):
                continue
            if distance < nearest:
                if first >= 0 and people[column] != people[first]:
                    other, second = nearest, first
                nearest, first = distance, column
            elif people[column] != people[first]:
                other, second = distance, column
        columns[0, row], columns[1, row] = first, second
