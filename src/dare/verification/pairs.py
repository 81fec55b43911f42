"""Distances of genuine and impostor pairs, counted and ranked block by block: the matrix of them is never held.

A genuine pair is a query and a gallery entry of one person, seen by two cameras. An impostor pair is a query and an
entry of two people. As in scoring, junk and pairs of one person and one camera are left out, and distractors are
impostors.

Distances are Euclidean, computed in float64 and rounded to float32. The bits of a float32 that is not negative, read as
a whole number, order as the values do. So a histogram over the upper bits and one over the lower bits, of those buckets
that matter, find any rank exactly in two passes, whatever the distances are.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dare.datasets.sample import DISTRACTOR, JUNK
from dare.retrieval.distances import check_finite
from dare.retrieval.labels import DenseLabels, Labelled, Labels, whole_labels
from dare.retrieval.products import block_rows, checked
from dare.retrieval.scoring import check_labels

LOWER_BITS = 12
BUCKETS = 0x7F800000 >> LOWER_BITS  # those of finite float32 values
CHUNK = 4096  # pairs whose differences are looked at together
CLOSE = 1e-6  # squared distances below this share of a squared length lose digits in a product; float32 would show it


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pairs lie in each bucket of distances, for buckets that aren't empty.

    Attributes:
        buckets: (B,), numbers of buckets, increasing.
        genuine, impostors: (B,), pairs in each.
    """

    buckets: NDArray[np.int64]
    genuine: NDArray[np.int64]
    impostors: NDArray[np.int64]

    @property
    def distances(self) -> NDArray[np.float64]:
        """(B,), the middle of each bucket, which is at most 1/2048 of that wide."""
        return (value_at(self.buckets) + value_at(self.buckets + 1)) / 2

    @property
    def ends(self) -> NDArray[np.float64]:
        """(B,), the first distance beyond each bucket."""
        return value_at(self.buckets + 1)

    def binned(
        self, bins: int, tails: float = 0.0005
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Edges (bins + 1,) of equally wide bins, and the genuine and impostor pairs (bins,) in each, for a drawing.

        The bins leave out less than a share of `tails` of either kind at each end. A bucket counts in the bin of its
        middle. Needs pairs of both kinds.
        """
        reached = [np.cumsum(kind) / kind.sum() for kind in (self.genuine, self.impostors)]
        first = min(int(np.searchsorted(share, tails, side="right")) for share in reached)
        last = max(int(np.searchsorted(share, 1 - tails)) for share in reached)
        nothing = self.buckets[last] == 0  # all vectors are equal; a drawing wants some width
        edges = np.linspace(value_at(self.buckets[first]), 1.0 if nothing else self.ends[last], bins + 1)
        genuine, impostors = (
            np.histogram(self.distances, edges, weights=kind)[0].astype(np.int64)
            for kind in (self.genuine, self.impostors)
        )
        return edges, genuine, impostors


class Pairs:
    """All pairs of some queries and gallery entries.

    Attributes:
        genuine: (n,), distances of the genuine pairs.
        genuine_units: (n,), the unit of each one's person.
        impostors: how many impostor pairs there are.
        units: number of units that a bootstrap draws: people, and each distractor, whose identity is unknown.
        query_counts, gallery_counts: (units,), pictures of each on both sides.
    """

    def __init__(
        self,
        query_vectors: NDArray[np.floating],
        gallery_vectors: NDArray[np.floating],
        query: Labelled,
        gallery: Labelled,
    ) -> None:
        """(Q, D), (G, D) with their labels; junk is left out. Raises a ValueError for NaN, infinity or wrong shapes."""
        q, g = checked(query_vectors, gallery_vectors)
        check_labels(q, g, query, gallery)
        check_finite(q, "query vector")
        check_finite(g, "gallery vector")
        asked = whole_labels("query", query.people, query.cameras)
        listed = whole_labels("gallery", gallery.people, gallery.cameras)
        shown = asked.people != JUNK
        asked, people = Labels(asked.people[shown], asked.cameras[shown]), listed.people
        if DISTRACTOR not in asked.people:
            nobody = people == DISTRACTOR
            people = np.where(nobody, max(asked.people.max(initial=0), people.max(initial=0)) + nobody.cumsum(), people)
        labels = DenseLabels(asked, Labels(people, listed.cameras))
        self.query_units, self.gallery_units = labels.query_people, labels.gallery_people
        self.units = len(labels.offsets) - 1
        self.query_counts = np.bincount(self.query_units, minlength=self.units)
        self.gallery_counts = np.bincount(self.gallery_units, minlength=self.units)
        q, g = q[shown], g[labels.kept]
        centre = g.mean(0, dtype=np.float64) if len(g) else np.zeros(q.shape[1])
        self._query, self._gallery = q - centre, g - centre
        self._squares = np.einsum("gd,gd->g", self._gallery, self._gallery)
        self._close = CLOSE * np.maximum(self._squares, np.finfo(np.float64).tiny)
        # Every pair of one person, in the order of the queries.
        first, end = (labels.offsets[labels.query_people + step] for step in (0, 1))
        self._ends = np.cumsum(end - first)
        self._rows = np.repeat(np.arange(len(q)), end - first)
        within = np.arange(len(self._rows)) - np.repeat(self._ends - (end - first), end - first)
        self._columns = labels.rows[np.repeat(first, end - first) + within]
        crossing = labels.query_cameras[self._rows] != labels.gallery_cameras[self._columns]
        self.genuine = np.sqrt(self._squared(self._rows[crossing], self._columns[crossing])).astype(np.float32)
        self.genuine_units = self.query_units[self._rows[crossing]]
        self.impostors = len(q) * len(g) - len(self._rows)

    @property
    def genuine_people(self) -> int:
        """Of how many people there are genuine pairs."""
        return len(np.unique(self.genuine_units))

    @property
    def impostor_couples(self) -> int:
        """Of how many couples of different people (units) there are impostor pairs."""
        asked, listed = self.query_counts > 0, self.gallery_counts > 0
        both = int((asked & listed).sum())
        return int(asked.sum()) * int(listed.sum()) - both - both * (both - 1) // 2

    @functools.cached_property
    def counts(self) -> Counts:
        """Both histograms over the upper bits; one pass."""
        impostors = np.zeros(BUCKETS + 1, np.int64)
        for _, block in self._blocks():
            impostors += np.bincount(_upper(block).ravel(), minlength=len(impostors))
        impostors[BUCKETS] = 0  # infinite: not impostors
        genuine = np.bincount(_upper(self.genuine), minlength=len(impostors))
        used = np.flatnonzero(genuine + impostors)
        return Counts(used, genuine[used], impostors[used])

    def lower(self, buckets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The impostors of some buckets by their lower bits, (len(buckets), 4096); one pass."""
        found = np.zeros((len(buckets), 1 << LOWER_BITS), np.int64)
        for _, block in self._blocks():
            upper = _upper(block)
            for row, bucket in enumerate(buckets.tolist()):
                found[row] += lower_bits(block[upper == bucket])
        return found

    def ranked(self, ranks: Sequence[int]) -> list[float]:
        """The impostor distances of some ranks, counted from 0, equal ones included; one pass."""
        counts, total = self.counts, np.cumsum(self.counts.impostors)
        places = np.searchsorted(total, ranks, side="right")
        lower = self.lower(counts.buckets[places])
        found = []
        for rank, place, low in zip(ranks, places, lower, strict=True):
            before = int(total[place] - counts.impostors[place])
            offset = int(np.searchsorted(np.cumsum(low), rank - before, side="right"))
            found.append(float(value_at(counts.buckets[place], offset)))
        return found

    def nearer(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The units on both sides of each impostor pair with a distance below this; one pass."""
        queries, entries = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start, block in self._blocks():
            rows, columns = np.nonzero(block < threshold)
            queries.append(self.query_units[start + rows])
            entries.append(self.gallery_units[columns])
        return np.concatenate(queries), np.concatenate(entries)

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The number of a block's first query, and its distances (b, G), infinite where the pair isn't an impostor."""
        step = block_rows(len(self._gallery), 8)
        for start in range(0, len(self._query), step):
            stop = min(start + step, len(self._query))
            rows = self._query[start:stop]
            squares = rows @ self._gallery.T
            squares *= -2
            squares += self._squares
            squares += np.einsum("qd,qd->q", rows, rows)[:, None]
            near = np.nonzero(squares < self._close)
            squares[near] = self._squared(near[0] + start, near[1])
            block = np.sqrt(squares, out=squares).astype(np.float32)
            known = slice(self._ends[start - 1] if start else 0, self._ends[stop - 1])
            block[self._rows[known] - start, self._columns[known]] = np.inf
            yield start, block

    def _squared(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Squared distances of some pairs, from their differences."""
        found = np.empty(len(rows), np.float64)
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            found[part] = np.square(self._query[rows[part]] - self._gallery[columns[part]]).sum(1)
        return found


def lower_bits(distances: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many distances have each value of the lower bits, (4096,)."""
    return np.bincount(distances.view(np.uint32) & ((1 << LOWER_BITS) - 1), minlength=1 << LOWER_BITS)


def value_at(bucket: NDArray[np.int64], offset: int = 0) -> NDArray[np.float64]:
    """The distances with these upper and lower bits; by default the least of each bucket."""
    return ((bucket << LOWER_BITS) + offset).astype(np.uint32).view(np.float32).astype(np.float64)


def _upper(distances: NDArray[np.float32]) -> NDArray[np.uint32]:
    return np.right_shift(distances.view(np.uint32), np.uint32(LOWER_BITS))
