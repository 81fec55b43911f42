"""Scores against the obvious slow protocol, with junk, distractors, ties and queries without a match."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dare.retrieval.labels import Labels
from dare.retrieval.scoring import Scores, score, score_vectors


def slow_scores(
    distances: NDArray[np.float64], query: Labels, gallery: Labels
) -> list[tuple[float, float, int, float, bool]]:
    """Per query: trapezoid AP, step AP, first match, inverse negative penalty, tie; as the official code does it."""
    results = []
    for i in range(len(distances)):
        junk = (gallery.people == -1) | ((gallery.people == query.people[i]) & (gallery.cameras == query.cameras[i]))
        valid = np.flatnonzero(~junk)
        ranked = valid[np.argsort(distances[i, valid], kind="stable")]
        right = gallery.people[ranked] == query.people[i]
        places = np.flatnonzero(right)
        if not len(places):
            results.append((math.nan, math.nan, -1, math.nan, False))
            continue
        trapezoid = step = 0.0
        old_recall, old_precision, found = 0.0, 1.0, 0
        for place, is_right in enumerate(right):  # Market-1501's compute_AP, entry by entry
            found += is_right
            recall, precision = found / len(places), found / (place + 1)
            trapezoid += (recall - old_recall) * (old_precision + precision) / 2
            step += precision / len(places) if is_right else 0.0
            old_recall, old_precision = recall, precision
        first = distances[i, ranked[places[0]]]
        tied = bool((distances[i, ranked[~right]] == first).any())
        results.append((trapezoid, step, int(places[0]), len(places) / (places[-1] + 1), tied))
    return results


def assert_equal(scores: Scores, expected: list[tuple[float, float, int, float, bool]]) -> None:
    column = 0 if scores.rule == "official" else 1
    np.testing.assert_allclose(scores.average_precision, [row[column] for row in expected], atol=1e-12)
    np.testing.assert_array_equal(scores.first_match, [row[2] for row in expected])
    np.testing.assert_allclose(scores.inverse_negative_penalty, [row[3] for row in expected], atol=1e-12)
    np.testing.assert_array_equal(scores.tied, [row[4] for row in expected])


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Labels, Labels, np.random.Generator]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    queries, entries = draw(st.integers(1, 12)), draw(st.integers(1, 600))
    people, cameras = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    query = Labels(random.integers(-1, people + 1, queries), random.integers(1, cameras + 1, queries))
    gallery = Labels(random.integers(-1, people + 1, entries), random.integers(1, cameras + 1, entries))
    return query, gallery, random


@settings(max_examples=150, deadline=None)
@given(labelled(), st.sampled_from(["official", "step"]), st.sampled_from([2, 10, 10**6]), st.booleans())
def test_a_matrix_scores_as_the_slow_protocol_does(
    case: tuple[Labels, Labels, np.random.Generator], rule: str, values: int, single: bool
) -> None:
    query, gallery, random = case
    distances = random.integers(0, values, (len(query.people), len(gallery.people))).astype(np.float64) / 7
    if single:
        distances = distances.astype(np.float32)
    before = distances.copy()
    assert_equal(score(distances, query, gallery, rule=rule), slow_scores(distances, query, gallery))
    np.testing.assert_array_equal(distances, before)


@settings(max_examples=400, deadline=None)
@given(
    labelled(),
    st.sampled_from(["official", "step"]),
    st.integers(1, 40),
    st.sampled_from(["grid", "normal", "far from the origin", "twins", "all alike", "a few far out"]),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([1e-12, 1.0, 1e15]),
)
def test_vectors_score_as_their_float64_distances_do(
    case: tuple[Labels, Labels, np.random.Generator], rule: str, dim: int, kind: str, dtype: type, scale: float
) -> None:
    query, gallery, random = case
    shape = len(query.people), len(gallery.people)
    if kind == "grid":  # whole numbers: many exact ties
        q, g = (random.integers(-2, 3, (count, dim)) for count in shape)
    else:
        q, g = (random.normal(size=(count, dim)) for count in shape)
    if kind == "far from the origin":  # float32 products lose nearly all digits here
        q, g = q + 3000, g + 3000
    if kind == "a few far out":
        q[::5], g[::7] = q[::5] * 1000, g[::7] * 1000
    if kind == "twins":
        g = g[random.integers(0, len(g), len(g))]
    if kind == "all alike":
        q, g = np.ones_like(q), np.ones_like(g)
    q, g = (q * scale).astype(dtype), (g * scale).astype(dtype)
    distances = np.zeros(shape)
    for d in range(dim):  # the order in which the compiled loop adds
        distances += np.square(q[:, d, None].astype(np.float64) - g[None, :, d].astype(np.float64))
    assert_equal(score_vectors(q, g, query, gallery, rule=rule), slow_scores(distances, query, gallery))


def test_a_worked_example_by_hand() -> None:
    query = Labels(np.array([5]), np.array([1]))
    #  nearest first: own camera (passed over), wrong, right, junk (passed over), distractor, right
    gallery = Labels(np.array([5, 7, 5, -1, 0, 5]), np.array([1, 2, 2, 2, 3, 3]))
    scores = score(np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]), query, gallery, rule="step")
    assert scores.first_match.tolist() == [1]
    assert scores.mean_average_precision == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert scores.mean_inverse_negative_penalty == pytest.approx(2 / 4)
    assert (scores.cmc(1), scores.cmc(2)) == (0.0, 1.0)
    official = score(np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]), query, gallery)
    assert official.mean_average_precision == pytest.approx(((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)


def test_queries_without_a_match_are_in_no_mean() -> None:
    query = Labels(np.array([1, 2]), np.array([1, 1]))
    gallery = Labels(np.array([1, 3]), np.array([2, 2]))
    scores = score(np.array([[0.0, 1.0], [0.0, 1.0]]), query, gallery)
    assert scores.first_match.tolist() == [0, -1]
    assert math.isnan(scores.average_precision[1])
    assert scores.mean_average_precision == scores.cmc(1) == 1.0


@pytest.mark.parametrize("entries", [0, 3])
def test_with_no_match_at_all_the_means_are_nan(entries: int) -> None:
    query = Labels(np.array([1, 2]), np.array([1, 1]))
    gallery = Labels(np.full(entries, 9), np.full(entries, 2))
    for scores in (
        score(np.zeros((2, entries)), query, gallery),
        score_vectors(np.zeros((2, 4)), np.zeros((entries, 4)), query, gallery),
    ):
        assert math.isnan(scores.mean_average_precision)
        assert math.isnan(scores.cmc(1))
        assert math.isnan(scores.mean_inverse_negative_penalty)
        assert scores.ties == 0


def test_equal_distances_keep_gallery_order_and_are_counted() -> None:
    query = Labels(np.array([1]), np.array([1]))
    for people, first in (([1, 2], 0), ([2, 1], 1)):
        scores = score(np.zeros((1, 2)), query, Labels(np.array(people), np.array([2, 2])))
        assert scores.first_match.tolist() == [first]
        assert scores.ties == 1


def test_pick_takes_each_query_from_its_own_exit() -> None:
    query, gallery = Labels(np.array([1, 2]), np.array([1, 1])), Labels(np.array([1, 2]), np.array([2, 2]))
    early = score(np.array([[0.0, 1.0], [0.0, 1.0]]), query, gallery)
    late = score(np.array([[1.0, 0.0], [1.0, 0.0]]), query, gallery)
    assert Scores.pick([early, late], [0, 1]).cmc(1) == 1.0
    assert Scores.pick([early, late], [1, 0]).cmc(1) == 0.0


def test_labels_may_be_any_object_with_people_and_cameras() -> None:
    side = SimpleNamespace(people=[1, 2], cameras=[1, 2])
    other = SimpleNamespace(people=[1, 2], cameras=[3, 3])
    assert score(np.eye(2)[::-1], side, other).cmc(1) == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_vectors_that_are_no_numbers_are_refused(bad: float) -> None:
    labels = Labels(np.array([1, 2]), np.array([1, 2]))
    vectors = np.ones((2, 3), np.float32)
    vectors[1, 2] = bad
    with pytest.raises(ValueError, match="query vector 1 contains NaN or infinity"):
        score_vectors(vectors, np.ones((2, 3)), labels, labels)
    with pytest.raises(ValueError, match="gallery vector 1 contains NaN or infinity"):
        score_vectors(np.ones((2, 3)), vectors, labels, labels)


def test_nan_distances_wrong_shapes_and_unknown_rules_are_refused() -> None:
    labels = Labels(np.array([1, 2]), np.array([1, 2]))
    with pytest.raises(ValueError, match="distances of query 1 contain NaN"):
        score(np.array([[0, 1], [math.nan, 1]]), labels, labels)
    with pytest.raises(ValueError, match="expected distances of 2 queries x 2"):
        score(np.zeros((2, 3)), labels, labels)
    with pytest.raises(ValueError, match="one dimension D"):
        score_vectors(np.zeros((2, 3)), np.zeros((2, 4)), labels, labels)
    with pytest.raises(ValueError, match="don't fit"):
        score_vectors(np.zeros((3, 3)), np.zeros((2, 3)), labels, labels)
    with pytest.raises(ValueError, match="rule must be"):
        score(np.zeros((2, 2)), labels, labels, rule="mine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="counted from 1"):
        score(np.zeros((2, 2)), labels, labels).cmc(0)


def test_a_matrix_of_several_blocks_is_scored_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import dare.retrieval.products as module

    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    random = np.random.default_rng(0)
    query = Labels(random.integers(0, 9, 50), random.integers(1, 3, 50))
    gallery = Labels(random.integers(-1, 9, 300), random.integers(1, 3, 300))
    distances = random.random((50, 300))
    assert_equal(score(distances, query, gallery), slow_scores(distances, query, gallery))


def in_float64(q: np.ndarray, g: np.ndarray, query: Labels, gallery: Labels) -> Scores:
    """Squared distances by differences, one dimension after the other as the compiled loop adds them."""
    squared = sum(np.square(q[:, d, None].astype(float) - g[None, :, d]) for d in range(q.shape[1]))
    return score(np.asarray(squared), query, gallery)


@pytest.mark.parametrize("kind", ["most alike", "most alike, float64", "on a far sphere", "all alike", "tiny"])
def test_vectors_laid_out_unkindly_are_scored_as_in_float64(kind: str) -> None:
    random = np.random.default_rng(0)
    base = random.normal(size=16)
    g = np.tile(base, (400, 1))
    q = random.normal(size=(50, 16))
    if kind.startswith("most alike"):
        g[:190] = base + random.normal(size=16) + 1e-7 * random.normal(size=(190, 16))
    elif kind == "on a far sphere":
        directions = random.normal(size=(400, 16))
        g = random.normal(size=(400, 16))
        q[:] = 1000 * q / np.linalg.norm(q, axis=1, keepdims=True)
        far = 1000 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        g[::7] = q[0] + far[::7]
    elif kind == "tiny":
        g, q = 5e-324 * random.integers(0, 9, (400, 16)), 5e-324 * random.integers(0, 9, (50, 16))
    if kind not in ("most alike, float64", "tiny"):
        q, g = q.astype(np.float32), g.astype(np.float32)
    query = Labels(random.integers(1, 6, 50), np.ones(50, int))
    gallery = Labels(random.integers(1, 6, 400), np.full(400, 2))
    found = score_vectors(q, g, query, gallery)
    power = 1000 if kind == "tiny" else 0  # squares of the tiny ones would vanish
    expected = in_float64(np.ldexp(q, power), np.ldexp(g, power), query, gallery)
    np.testing.assert_allclose(found.average_precision, expected.average_precision, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.first_match, expected.first_match)


def test_nan_is_refused_in_junk_too_and_named_by_its_own_row() -> None:
    query, gallery = Labels(np.array([1]), np.array([1])), Labels(np.array([-1, 1, 2]), np.array([2, 2, 2]))
    for row in range(3):
        vectors = np.zeros((3, 2))
        vectors[row] = np.nan
        with pytest.raises(ValueError, match=f"gallery vector {row} contains NaN"):
            score_vectors(np.zeros((1, 2)), vectors, query, gallery)
        with pytest.raises(ValueError, match="query 0 contain NaN"):
            score(vectors[None, :, 0], query, gallery)


def test_labels_that_do_not_fit_are_refused() -> None:
    good = Labels(np.array([1, 2]), np.array([2, 3]))
    for people, cameras in (([1, 1], [2]), ([1, 1], []), ([[1, 1]], [[2, 2]])):
        with pytest.raises(ValueError, match="a person and a camera per query row"):
            score(np.zeros((len(people), 2)), Labels(np.array(people), np.array(cameras)), good)
    with pytest.raises(ValueError, match="query cameras must be whole numbers"):
        score(np.zeros((2, 2)), Labels(np.array([1, 2]), np.array([1.5, 1.6])), good)
    nothing = Labels(np.zeros(0, int), np.zeros(0, int))
    assert Scores.pick([score(np.zeros((0, 2)), nothing, good)], []).ties == 0


@pytest.mark.parametrize("dim", [17, 128])
def test_entries_as_far_as_most_of_the_gallery_tie_with_it(dim: int) -> None:
    random = np.random.default_rng(1)
    q = np.repeat(random.normal(size=(1, dim)).astype(np.float32), 40, 0)
    g = np.zeros((600, dim), np.float32)
    on = random.random(600) > 0.6
    g[on] = 2 * q[0] * (random.random((on.sum(), dim)) < 0.5)  # each exactly as far from the query as the zeros
    query = Labels(random.integers(0, 12, 40), random.integers(1, 4, 40))
    gallery = Labels(random.integers(0, 12, 600), random.integers(1, 4, 600))
    found, expected = score_vectors(q, g, query, gallery), in_float64(q, g, query, gallery)
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)
    np.testing.assert_array_equal(found.first_match, expected.first_match)
