"""How far apart pairs of one person and pairs of two are, counted in bins of distance."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import JUNK
from dare.retrieval.distances import cosine, euclidean
from dare.retrieval.labels import Labelled
from dare.retrieval.products import block_rows

BINS = 8192
FARTHEST_COSINE = 2.0


@dataclass(frozen=True, slots=True)
class PairDistances:
    """Every query with every gallery entry that the benchmark's protocol lets it be compared with.

    Attributes:
        edges: (B + 1,), of equally wide bins; the first begins at 0. A bin holds its lower edge, the last one both.
        same: (B,), pairs of one person.
        other: (B,), pairs of two, distractors included.
    """

    edges: NDArray[np.float64]
    same: NDArray[np.int64]
    other: NDArray[np.int64]

    def threshold(self, false_match_rate: float) -> float | None:
        """The largest edge below which at most this share of the pairs of two people lies.

        None where there are too few pairs to tell, which is where the share would be less than one of them.
        """
        allowed = false_match_rate * int(self.other.sum())
        if allowed < 1:
            return None
        return float(self.edges[np.searchsorted(np.cumsum(self.other), allowed, side="right")])

    def share_below(self, threshold: float) -> float:
        """The share of one person's pairs in the bins that end at a threshold or before; NaN without such pairs."""
        below = self.same[self.edges[1:] <= threshold].sum()
        return float(below / self.same.sum()) if self.same.any() else float("nan")

    def coarse(self, bins: int, tails: float = 0.0005) -> "PairDistances":
        """At most so many bins over the range outside which a share of either kind smaller than `tails` lies."""
        shares = [counts / counts.sum() for counts in (self.same, self.other) if counts.any()]
        if not shares:
            return self
        reached = [np.cumsum(share) for share in shares]
        first = min(int(np.searchsorted(share, tails, side="right")) for share in reached)
        last = max(int(np.searchsorted(share, 1 - tails)) for share in reached)
        width = -(-(last + 1 - first) // bins)
        starts = np.arange(first, min(last + 1, len(self.same)), width)
        stop = min(int(starts[-1]) + width, len(self.same))
        edges = self.edges[np.append(starts, stop)]
        same, other = (np.add.reduceat(counts[:stop], starts) for counts in (self.same, self.other))
        return PairDistances(edges, same, other)


def pair_distances(
    query_vectors: NDArray[np.floating],
    gallery_vectors: NDArray[np.floating],
    query: Labelled,
    gallery: Labelled,
    *,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    bins: int = BINS,
) -> PairDistances:
    """Count the distances of all pairs, block by block.

    Args:
        query_vectors, gallery_vectors: (Q, D), (G, D).
        query, gallery: people and cameras of their rows. Junk is passed over, and so are pairs of one person seen by
            one camera.
        distance: "euclidean" or "cosine", as the functions of `dare.retrieval.distances`: float32, so that a pair may
            be counted in a neighbouring bin.
        bins: how many, from 0 to a distance that no pair exceeds.
    """
    measure = euclidean if distance == "euclidean" else cosine
    people, cameras = np.asarray(gallery.people), np.asarray(gallery.cameras)
    kept = np.flatnonzero(people != JUNK)
    people, cameras = people[kept], cameras[kept]
    q, g = np.asarray(query_vectors), np.asarray(gallery_vectors)[kept]
    farthest = FARTHEST_COSINE if distance == "cosine" else _farthest(q, g)
    edges = np.linspace(0, farthest or 1.0, bins + 1)
    same, other = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    rows = block_rows(len(g), 4)
    for start in range(0, len(q) if len(g) else 0, rows):
        part = slice(start, start + rows)
        columns = (measure(q[part], g) * np.float32(bins / edges[-1])).astype(np.intp)
        np.minimum(columns, bins - 1, out=columns)
        alike = np.asarray(query.people)[part, None] == people
        everyone = np.bincount(columns.ravel(), minlength=bins)
        other += everyone - np.bincount(columns[alike], minlength=bins)
        alike &= np.asarray(query.cameras)[part, None] != cameras
        same += np.bincount(columns[alike], minlength=bins)
    return PairDistances(edges, same, other)


def _farthest(q: NDArray[np.floating], g: NDArray[np.floating]) -> float:
    """A distance that none between the two exceeds: through the gallery's mean."""
    if not len(q) or not len(g):
        return 0.0
    centre = g.mean(0, dtype=np.float64)
    return float(sum(np.sqrt(np.square(vectors - centre).sum(1).max()) for vectors in (q, g)))
