"""A query's ranked list at an embedding, by the benchmark's protocol: what pictures of results show."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import JUNK
from dare.evaluation.evaluate import Evaluation
from dare.retrieval.distances import normalised
from dare.retrieval.embeddings import Pair
from dare.retrieval.reranking import RerankedDistances, Reranking

Vectors = Pair
"""As `Pair`, scaled to length 1 where the distance is the cosine's."""


def vectors_of(evaluation: Evaluation) -> list[Vectors]:
    """One pair for each of the evaluation's results, in their order."""
    pairs = evaluation.query.against(evaluation.gallery)
    return [(normalised(q), normalised(g)) for q, g in pairs] if evaluation.distance == "cosine" else pairs


def nearest(evaluation: Evaluation, vectors: Vectors, rows: Sequence[int], count: int) -> list[list[int]]:
    """For the queries in these rows, each one's first valid gallery rows, by the protocol of `dare.retrieval.scoring`:
    without junk and the query's own person at its own camera. Equal distances keep the gallery's order."""
    query, gallery = evaluation.query, evaluation.gallery
    no_junk = np.flatnonzero(gallery.people != JUNK)
    distances = _distances(evaluation.rerank, vectors, no_junk)
    lists = []
    for row in rows:
        own = (gallery.people == query.people[row]) & (gallery.cameras == query.cameras[row])
        order = no_junk[np.argsort(distances(row), kind="stable")]
        lists.append([int(entry) for entry in order[~own[order]][:count]])
    return lists


def _distances(
    rerank: Reranking | None, vectors: Vectors, no_junk: NDArray[np.intp]
) -> Callable[[int], NDArray[np.floating]]:
    """What gives a query's distances to all gallery entries but junk."""
    q, g = vectors
    if rerank is None:
        valid = g[no_junk].astype(np.float64)
        return lambda row: np.square(valid - q[row]).sum(1)
    if not rerank.junk:
        among_valid = RerankedDistances(q, g[no_junk], rerank)
        return lambda row: among_valid.block(row, row + 1)[0]
    among_all = RerankedDistances(q, g, rerank)
    return lambda row: among_all.block(row, row + 1)[0, no_junk]
