"""k-reciprocal re-ranking: entries come nearer to a query if they have the same neighbours.

Source: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, and their code,
https://github.com/zhunzhong07/person-re-ranking (`python-version`). Queries and gallery are one set of rows in which
each looks for its neighbours, so all queries must be there at once: a stream of queries cannot be re-ranked.
"""

import numbers
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import JUNK
from dare.files import compiled
from dare.retrieval.labels import Labelled, Labels
from dare.retrieval.neighbours import encode, find_neighbours
from dare.retrieval.products import CentredProduct, block_rows, checked, in_blocks, rescaled
from dare.retrieval.scoring import Rule, Scores, check_labels, score_blocks

Variant = Literal["zhong", "fourth-power", "fast-reid"]


@dataclass(frozen=True, slots=True)
class Reranking:
    """How distances are re-ranked; the defaults are those of Zhong et al. for Market-1501.

    Attributes:
        k1: nearest neighbours among which reciprocal ones are sought, at least 1.
        k2: neighbours, a row itself included, over which its encoding is averaged, from 1 to k1.
        weight: of the original distance in the final one, from 0 (Jaccard distance alone) to 1; lambda in the paper.
        variant: whose formulas. "zhong": squared distances divided by the row's largest, of k1 + 1 rows, itself
            included. "fourth-power": the same of the fourth powers, as torchreid and layumi compute it by squaring
            twice. "fast-reid": squared distances as they are, of k1 rows, as fast-reid and SpCL compute it; meant for
            vectors of length 1.
        junk: whether junk entries (person -1) take part in the neighbourhoods, as in the authors' code for
            Market-1501; torchreid and fast-reid never read them. They are in no ranking either way.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    variant: Variant = "zhong"
    junk: bool = True

    def __post_init__(self) -> None:
        for name, count in (("k1", self.k1), ("k2", self.k2)):
            if not isinstance(count, int | np.integer):
                raise ValueError(f"{name} must be a whole number, got {count!r}")
        if self.k1 < 1:
            raise ValueError(f"k1 must be at least 1, got {self.k1}")
        if not 1 <= self.k2 <= self.k1:
            raise ValueError(f"k2 must be from 1 to k1, which is {self.k1}, got {self.k2}")
        if not isinstance(self.weight, numbers.Real) or not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be from 0 (Jaccard alone) to 1 (no re-ranking), got {self.weight!r}")
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, got {self.variant!r}")

    def __str__(self) -> str:
        junk = "" if self.junk else ", without junk"
        return f"re-ranked: k1 {self.k1}, k2 {self.k2}, weight {self.weight}, variant {self.variant}{junk}"

    @property
    def neighbours(self) -> int:
        """How many rows a row's reciprocal neighbours are drawn from, itself included."""
        return self.k1 if self.variant == "fast-reid" else self.k1 + 1


ZHONG_2017 = Reranking()


def k_reciprocal(
    query_vectors: NDArray[np.floating],
    gallery_vectors: NDArray[np.floating],
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    variant: Variant = "zhong",
) -> NDArray[np.float32]:
    """Re-ranked distances (Q, G) of vectors (Q, D) and (G, D): (1 - weight) * Jaccard + weight * original distance.

    Neighbours are exact in float64: a row itself first, equally near ones in the order queries, gallery. Distances are
    right to 1e-5; "fast-reid" does not normalise, so there it is 1e-5 of the largest squared distance.
    `score_reranked` scores without holding the matrix. `Reranking` explains the settings.

    Raises:
        ValueError: settings out of range, shapes that don't fit, NaN or infinity, fewer rows than k1 + 1 (k1 for
            "fast-reid"), or vectors that are all equal, or nearly so: neighbourhoods would be chance.
    """
    q, g = checked(query_vectors, gallery_vectors)
    reranked = RerankedDistances(q, g, Reranking(k1, k2, weight, variant))
    distances = np.empty((len(q), len(g)), np.float32)

    def fill(start: int, stop: int) -> None:
        distances[start:stop] = reranked.block(start, stop)

    in_blocks(len(q), reranked.rows, fill)
    return distances


def score_reranked(
    query_vectors: NDArray[np.floating],
    gallery_vectors: NDArray[np.floating],
    query: Labelled,
    gallery: Labelled,
    *,
    rerank: Reranking = ZHONG_2017,
    rule: Rule = "official",
) -> Scores:
    """Score vectors by re-ranked distances, without ever holding the whole matrix of them.

    The result is that of `score(k_reciprocal(...), query, gallery)`: re-ranked distances are taken as they are.

    Args:
        query_vectors, gallery_vectors: (Q, D), (G, D).
        query, gallery: people and cameras of their rows.
        rerank: the settings.
        rule: as in `score`.

    Raises:
        ValueError: as in `k_reciprocal` and `score`.
    """
    q, g = checked(query_vectors, gallery_vectors)
    check_labels(q, g, query, gallery)
    if not rerank.junk:
        kept = np.asarray(gallery.people) != JUNK
        g, gallery = g[kept], Labels(np.asarray(gallery.people)[kept], np.asarray(gallery.cameras)[kept])
    reranked = RerankedDistances(q, g, rerank)
    return score_blocks(reranked.block, reranked.rows, query, gallery, rule)


class Sparse(NamedTuple):
    """A matrix with few entries: line i has `weights[offsets[i]:offsets[i + 1]]` at places `places[...]` alike."""

    offsets: Any
    places: Any
    weights: Any

    @classmethod
    def of(cls, matrix: Any) -> "Sparse":
        """The rows of a `csr_array`, or the columns of a `csc_array`; compiled code takes neither."""
        return cls(matrix.indptr, matrix.indices, matrix.data)


class RerankedDistances:
    """Re-ranked distances between query and gallery, made in blocks of at most `rows` queries."""

    def __init__(self, query: NDArray[np.floating], gallery: NDArray[np.floating], rerank: Reranking) -> None:
        """Find the neighbourhoods of all (Q, D) and (G, D) vectors; raises as `k_reciprocal` does."""
        query, gallery, power = rescaled(query, gallery)
        if power and rerank.variant == "fast-reid":
            raise ValueError(
                "variant fast-reid takes squared distances as they are, and these vectors are too large or too small "
                "for float32; scale them to length 1"
            )
        size = len(query) + len(gallery)
        if size < rerank.neighbours:
            raise ValueError(
                f"expected at least {rerank.neighbours} queries and gallery entries together for k1 = {rerank.k1}, "
                f"got {size}; take a smaller k1"
            )
        vectors = np.concatenate([query, gallery])
        found = find_neighbours(vectors, rerank.neighbours)
        if not (found.farthest > np.finfo(np.float32).tiny).all():
            raise ValueError(
                f"all {size} vectors are equal, or too nearly so for neighbourhoods to mean anything; "
                "check the embeddings"
            )
        scale = np.ones(size) if rerank.variant == "fast-reid" else 1 / found.farthest
        self._rerank = rerank
        encoded = encode(
            found,
            vectors,
            half=min(round(rerank.k1 / 2) + 1, rerank.neighbours),
            expansion=rerank.k2,
            scale=scale,
            squared=rerank.variant == "fourth-power",
        )
        self._queries = Sparse.of(encoded[: len(query)])
        self._inverted = Sparse.of(encoded[len(query) :].tocsc())
        self._scale = scale[: len(query)]
        self._product = CentredProduct(query, gallery)
        self.rows = block_rows(len(gallery), 4)

    def block(self, start: int, stop: int) -> NDArray[np.floating]:
        """The distances of queries start..stop, (b, G), in a buffer of the calling thread."""
        values = self._product.block(start, stop)
        squared, weight = self._rerank.variant == "fourth-power", np.float32(self._rerank.weight)
        _blend(values, start, self._product.squares, self._scale, squared, weight, self._queries, self._inverted)
        return values


@compiled()
def _blend(
    values: Any, start: int, squares: Any, scale: Any, squared: bool, weight: Any, queries: Sparse, inverted: Sparse
) -> None:
    """Turn values of a product, (b, G), into re-ranked distances, in place."""
    one, two = np.float32(1), np.float32(2)
    shared = np.empty(values.shape[1], np.float32)
    for local in range(values.shape[0]):
        row, query = values[local], start + local
        shared[:] = 0  # the sums of minima over all rows that stand for both
        for own in range(queries.offsets[query], queries.offsets[query + 1]):
            column, own_weight = queries.places[own], queries.weights[own]
            for entry in range(inverted.offsets[column], inverted.offsets[column + 1]):
                shared[inverted.places[entry]] += min(own_weight, inverted.weights[entry])
        square, factor = np.float32(squares[query]), np.float32(scale[query])
        for j in range(len(row)):
            distance = max(np.float32(0), row[j] + square) * factor
            if squared:
                distance *= distance
            # Rows sum to 1, so sums of maxima are 2 less the sums of minima.
            minima = min(one, shared[j])
            row[j] = (one - minima / (two - minima)) * (one - weight) + distance * weight
