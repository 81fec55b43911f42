"""Pairs are counted as the protocol lets them be compared, and thresholds hold what they promise."""

import math

import numpy as np
import pytest

from dare.retrieval.distances import cosine, euclidean
from dare.retrieval.labels import Labels
from dare.retrieval.pair_distances import PairDistances, pair_distances


def drawn(seed: int = 0, queries: int = 23, entries: int = 61) -> tuple[np.ndarray, np.ndarray, Labels, Labels]:
    """Vectors with junk and distractors among the labels."""
    random = np.random.default_rng(seed)
    labels = [
        Labels(random.integers(low, 5, count), random.integers(1, 4, count))
        for low, count in ((1, queries), (-1, entries))
    ]
    q, g = (random.normal(3, 1, (count, 6)).astype(np.float32) for count in (queries, entries))
    return q, g, *labels


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_every_allowed_pair_is_counted_once_in_its_bin(distance: str) -> None:
    q, g, query, gallery = drawn()
    found = pair_distances(q, g, query, gallery, distance=distance, bins=200)
    matrix = (euclidean if distance == "euclidean" else cosine)(q, g)
    same, other = np.zeros(200, int), np.zeros(200, int)
    for i in range(len(q)):
        for j in range(len(g)):
            alike = query.people[i] == gallery.people[j]
            if gallery.people[j] == -1 or (alike and query.cameras[i] == gallery.cameras[j]):
                continue
            bin = min(199, int(matrix[i, j] / found.edges[-1] * 200))
            (same if alike else other)[bin] += 1
    assert found.edges[0] == 0
    assert matrix.max() <= found.edges[-1]
    for counted, expected in ((found.same, same), (found.other, other)):
        assert counted.sum() == expected.sum() > 0
        # Rounding may put a pair beside an edge into the neighbouring bin.
        assert np.abs(np.cumsum(counted) - np.cumsum(expected)).max() <= 1


def test_blocks_give_what_the_whole_matrix_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    q, g, query, gallery = drawn(queries=50)
    whole = pair_distances(q, g, query, gallery)
    monkeypatch.setattr("dare.retrieval.pair_distances.block_rows", lambda *_: 7)
    blocks = pair_distances(q, g, query, gallery)
    assert np.abs(np.cumsum(blocks.other) - np.cumsum(whole.other)).max() <= 1
    assert blocks.same.sum() == whole.same.sum()


def test_a_threshold_keeps_the_false_match_rate_and_is_the_largest_edge_that_does() -> None:
    q, g, query, gallery = drawn(1, 80, 200)
    found = pair_distances(q, g, query, gallery)
    matrix = euclidean(q, g)
    others = matrix[(query.people[:, None] != gallery.people) & (gallery.people != -1)]
    for rate in (0.001, 0.01, 0.3):
        threshold = found.threshold(rate)
        assert threshold is not None
        assert (others < threshold).mean() <= rate
        assert (others < threshold + found.edges[1]).mean() > rate
    alike = (query.people[:, None] == gallery.people) & (query.cameras[:, None] != gallery.cameras)
    assert found.share_below(threshold) == pytest.approx((matrix[alike] < threshold).mean(), abs=0.002)


def test_too_few_pairs_give_no_threshold() -> None:
    pairs = PairDistances(np.array([0.0, 1, 2]), np.array([0, 0]), np.array([400, 500]))
    assert pairs.threshold(0.001) is None
    assert pairs.threshold(1 / 900) == 0
    assert pairs.threshold(0.5) == 1
    assert pairs.threshold(1.0) == 2
    assert math.isnan(pairs.share_below(1))


def test_coarse_bins_keep_the_counts_but_for_thin_tails() -> None:
    q, g, query, gallery = drawn(2, 80, 200)
    found = pair_distances(q, g, query, gallery)
    whole, cut = found.coarse(40, tails=0), found.coarse(40, tails=0.02)
    assert len(whole.same) <= 40
    assert (whole.same.sum(), whole.other.sum()) == (found.same.sum(), found.other.sum())
    assert np.ptp(np.diff(whole.edges)[:-1]) < 1e-9
    assert cut.edges[-1] < whole.edges[-1]
    assert 0.95 * found.other.sum() < cut.other.sum() < found.other.sum()


def test_nothing_to_compare_gives_empty_bins() -> None:
    q, g, query, gallery = drawn()
    nobody = Labels(np.full(len(g), -1), gallery.cameras)
    found = pair_distances(q, g, query, nobody)
    assert not found.same.any()
    assert not found.other.any()
    assert found.coarse(10) is found
    assert found.threshold(0.5) is None
