"""Re-ranked distances against the paper's formulas on whole matrices, and against what the code of others gives."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_neighbours import made, slow_neighbours

from dare.retrieval.labels import Labels
from dare.retrieval.reranking import Reranking, Variant, k_reciprocal, score_reranked
from dare.retrieval.scoring import Scores, score

VARIANTS: list[Variant] = ["zhong", "fourth-power", "fast-reid"]


def dense(
    q: NDArray[np.floating], g: NDArray[np.floating], k1: int, k2: int, weight: float, variant: Variant
) -> NDArray[np.float64]:
    """Sections 3.2 to 3.4 of Zhong et al., with sets and (N, N) matrices in float64."""
    squared, rank = slow_neighbours(np.concatenate([q, g]))
    if variant == "fourth-power":
        squared = squared**2
    original = squared if variant == "fast-reid" else squared / squared.max(1, keepdims=True)
    count = k1 if variant == "fast-reid" else k1 + 1
    half = min(int(np.around(k1 / 2)) + 1, count)

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in rank[i, :k].tolist() if i in rank[j, :k]}

    encoded = np.zeros_like(original)
    for i in range(len(rank)):
        own = reciprocal(i, count)
        members = set(own)
        for j in own:
            others = reciprocal(j, half)
            if len(own & others) > 2 / 3 * len(others):
                members |= others
        chosen = sorted(members)
        encoded[i, chosen] = np.exp(-original[i, chosen])
        encoded[i] /= encoded[i].sum()
    encoded = np.array([encoded[rank[i, :k2]].mean(0) for i in range(len(rank))])
    jaccard = np.array(
        [[1 - np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in encoded[len(q) :]] for a in encoded[: len(q)]]
    )
    return (1 - weight) * jaccard.reshape(len(q), len(g)) + weight * original[: len(q), len(q) :]


def clustered(queries: int, entries: int, dim: int = 16, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(12, dim))
    rows = centres[random.integers(0, 12, queries + entries)] + 0.7 * random.normal(size=(queries + entries, dim))
    return rows[:queries].astype(np.float32), rows[queries:].astype(np.float32)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("k1", "k2", "weight"), [(20, 6, 0.3), (20, 1, 0.3), (7, 3, 0.0), (5, 5, 0.5), (1, 1, 0.1), (40, 9, 1.0)]
)
def test_distances_are_the_papers(variant: Variant, k1: int, k2: int, weight: float) -> None:
    q, g = clustered(30, 150)
    expected = dense(q, g, k1, k2, weight, variant)
    found = k_reciprocal(q, g, k1=k1, k2=k2, weight=weight, variant=variant)
    assert found.dtype == np.float32
    assert found.shape == (30, 150)
    largest = slow_neighbours(np.concatenate([q, g]))[0].max() if variant == "fast-reid" else 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * largest)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(0, 12),
    st.integers(1, 60),
    st.integers(1, 12),
    st.sampled_from(["grid", "normal", "far from the origin", "twins", "a few far out"]),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["zhong", "fourth-power"]),
    st.data(),
)
def test_ties_and_unkind_vectors_change_nothing(
    seed: int, queries: int, entries: int, dim: int, kind: str, dtype: type, variant: Variant, data: st.DataObject
) -> None:
    vectors = made(kind, queries + entries, dim, np.random.default_rng(seed)).astype(dtype)
    if len(vectors) < 2 or not (vectors != vectors[0]).any():
        return
    k1 = data.draw(st.integers(1, len(vectors) - 1))
    k2 = data.draw(st.integers(1, k1))
    q, g = vectors[:queries], vectors[queries:]
    found = k_reciprocal(q, g, k1=k1, k2=k2, variant=variant)
    np.testing.assert_allclose(found, dense(q, g, k1, k2, 0.3, variant), rtol=0, atol=1e-5)


# What the code of others gives for these twelve vectors, k1 4, k2 2, weight 0.3: `re_ranking_ranklist.py` of
# zhunzhong07/person-re-ranking with Euclidean distances; `rerank.py` of torchreid 0.2.5 with its engine's squared
# ones; `compute_jaccard_distance(search_option=3)` of fast-reid 1.4.0, blended with its squared Euclidean distances.
PEERS = {
    "zhong": [
        [1.000000, 0.929336, 0.151374, 0.588012, 0.630460],
        [1.000000, 0.921854, 0.158611, 0.553939, 0.637937],
        [0.247787, 0.034929, 1.000000, 0.711885, 0.863834],
    ],
    "fourth-power": [
        [1.000000, 0.893719, 0.127916, 0.507367, 0.555359],
        [1.000000, 0.880816, 0.129126, 0.489026, 0.559577],
        [0.189868, 0.004067, 1.000000, 0.637299, 0.789472],
    ],
    "fast-reid": [
        [2.519701, 2.291763, 0.312536, 1.227685, 1.140241],
        [2.457270, 2.193326, 0.350463, 1.007756, 1.167207],
        [0.732839, 0.139105, 1.894754, 1.044282, 1.352472],
    ],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_distances_are_those_of_the_peers_code(variant: Variant) -> None:
    n = np.arange(12)
    rows = np.stack([np.cos(n * n), np.sin(3 * n), np.cos(5 * n + 1)], 1).round(3)
    found = k_reciprocal(rows[:3], rows[3:], k1=4, k2=2, weight=0.3, variant=variant)
    np.testing.assert_allclose(found[:, :5], PEERS[variant], rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e15])
def test_scale_does_not_matter_where_distances_are_normalised(scale: float) -> None:
    q, g = clustered(10, 60)
    for variant in ("zhong", "fourth-power"):
        found = k_reciprocal(q.astype(float) * scale, g.astype(float) * scale, variant=variant)
        np.testing.assert_allclose(found, k_reciprocal(q, g, variant=variant), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="too large or too small for float32; scale them to length 1"):
        k_reciprocal(q.astype(float) * scale, g.astype(float) * scale, variant="fast-reid")


def labelled(queries: int, entries: int) -> tuple[Labels, Labels]:
    random = np.random.default_rng(1)
    query = Labels(random.integers(1, 12, queries), random.integers(1, 4, queries))
    return query, Labels(random.integers(-1, 12, entries), random.integers(1, 4, entries))


def assert_same(found: Scores, expected: Scores) -> None:
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)
    np.testing.assert_array_equal(found.first_match, expected.first_match)
    np.testing.assert_array_equal(found.inverse_negative_penalty, expected.inverse_negative_penalty)
    np.testing.assert_array_equal(found.tied, expected.tied)
    assert found.rule == expected.rule


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", ["official", "step"])
@pytest.mark.parametrize("block", [7, 192])
def test_scores_are_those_of_the_matrix(variant: Variant, rule: Any, block: int, monkeypatch: Any) -> None:
    from dare.retrieval import products

    monkeypatch.setattr(products, "BLOCK_ROWS", block)
    (q, g), (query, gallery) = clustered(40, 200), labelled(40, 200)
    found = score_reranked(q, g, query, gallery, rerank=Reranking(k1=9, k2=3, variant=variant), rule=rule)
    assert_same(found, score(k_reciprocal(q, g, k1=9, k2=3, variant=variant), query, gallery, rule=rule))


def test_blocks_change_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    from dare.retrieval import neighbours, products

    q, g = clustered(40, 700)
    whole = k_reciprocal(q, g)
    monkeypatch.setattr(products, "BLOCK_ROWS", 7)
    monkeypatch.setattr(neighbours, "ROWS", 11)
    np.testing.assert_allclose(k_reciprocal(q, g), whole, rtol=0, atol=1e-6)


def test_junk_takes_part_in_neighbourhoods_unless_it_is_left_out_and_is_never_ranked() -> None:
    (q, g), (query, gallery) = clustered(40, 200), labelled(40, 200)
    kept = gallery.people != -1
    assert not kept.all()
    assert_same(score_reranked(q, g, query, gallery), score(k_reciprocal(q, g), query, gallery))
    rest = Labels(gallery.people[kept], gallery.cameras[kept])
    without = score_reranked(q, g, query, gallery, rerank=Reranking(junk=False))
    assert_same(without, score(k_reciprocal(q, g[kept]), query, rest))
    assert (without.average_precision != score_reranked(q, g, query, gallery).average_precision).any()


def test_weight_1_keeps_the_order_and_weight_0_forgets_the_distance() -> None:
    q, g = clustered(10, 60)
    squared = np.square(q[:, None].astype(float) - g).sum(2)
    order = np.argsort(k_reciprocal(q, g, weight=1.0), axis=1)
    np.testing.assert_array_equal(order, np.argsort(squared, axis=1))
    strangers = k_reciprocal(q, g, k1=3, k2=1, weight=0.0).max(1)
    np.testing.assert_array_equal(strangers, 1)


def test_pictures_that_are_there_twice_give_distances_from_0_to_1() -> None:
    q, g = clustered(4, 40)
    found = k_reciprocal(np.concatenate([q, q]), np.concatenate([g, g]))
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_no_queries_and_no_gallery_give_empty_distances() -> None:
    q, g = clustered(0, 40)
    assert k_reciprocal(q, g).shape == (0, 40)
    assert k_reciprocal(g, q).shape == (40, 0)
    query, gallery = labelled(40, 0)
    assert math.isnan(score_reranked(g, q, query, gallery).mean_average_precision)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k1": 20.0}, "k1 must be a whole number, got 20.0"),
        ({"k1": 0}, "k1 must be at least 1, got 0"),
        ({"k2": 0}, "k2 must be from 1 to k1, which is 20, got 0"),
        ({"k1": 5, "k2": 6}, "k2 must be from 1 to k1, which is 5, got 6"),
        ({"weight": -0.1}, "weight must be from 0"),
        ({"weight": "0.3"}, "weight must be from 0"),
        ({"weight": 1.5}, "weight must be from 0"),
        ({"weight": math.nan}, "weight must be from 0"),
        ({"variant": "mine"}, "variant must be one of zhong, fourth-power, fast-reid, got 'mine'"),
        (
            {"k1": 30},
            "expected at least 31 queries and gallery entries together for k1 = 30, got 30; take a smaller k1",
        ),
        ({"k1": 31, "variant": "fast-reid"}, "expected at least 31 queries and gallery entries"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    q, g = clustered(5, 25)
    with pytest.raises(ValueError, match=message):
        k_reciprocal(q, g, **settings)


def test_as_many_rows_as_neighbours_are_enough() -> None:
    q, g = clustered(5, 25)
    np.testing.assert_allclose(k_reciprocal(q, g, k1=29), dense(q, g, 29, 6, 0.3, "zhong"), rtol=0, atol=1e-5)
    assert np.isfinite(k_reciprocal(q, g, k1=30, variant="fast-reid")).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_vectors_that_are_no_numbers_are_refused(bad: float) -> None:
    q, g = clustered(5, 25)
    q[3, 1] = bad
    with pytest.raises(ValueError, match="query vector 3 contains NaN or infinity"):
        k_reciprocal(q, g)
    with pytest.raises(ValueError, match="gallery vector 3 contains NaN or infinity"):
        k_reciprocal(g, q)
    with pytest.raises(ValueError, match="vectors are complex"):
        k_reciprocal(g.astype(complex), g)


def test_wrong_shapes_are_refused() -> None:
    q, g = clustered(5, 25)
    with pytest.raises(ValueError, match="one dimension D"):
        k_reciprocal(q[:, :4], g)
    with pytest.raises(ValueError, match="one dimension D"):
        k_reciprocal(q[0], g)
    with pytest.raises(ValueError, match="5 query and 25 gallery vectors don't fit 4 and 25 labels"):
        score_reranked(q, g, *labelled(4, 25))
    with pytest.raises(ValueError, match="rule must be"):
        score_reranked(q, g, *labelled(5, 25), rule="mine")  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("apart", [0.0, 1e-170, 1e-160, 1e-25])
def test_vectors_that_are_all_equal_or_nearly_so_are_refused(variant: Variant, apart: float) -> None:
    q, g = np.zeros((5, 4)), np.zeros((25, 4))
    q[:, 0] = g[:, 0] = 1
    g[:, 1] = apart * np.arange(25)
    with pytest.raises(ValueError, match="all 30 vectors are equal, or too nearly so"):
        k_reciprocal(q, g, variant=variant)
