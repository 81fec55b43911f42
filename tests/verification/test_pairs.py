"""Pairs are counted, ranked and weighed as a loop over all of them and a sort would do it."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dare.retrieval.labels import Labels
from dare.verification.pairs import Pairs


@dataclass(frozen=True, slots=True)
class Listed:
    """Distances of every pair, and whom it shows."""

    genuine: list[float]
    impostors: list[float]
    couples: list[tuple[object, object]]


def listed(
    query_vectors: NDArray[np.floating], gallery_vectors: NDArray[np.floating], query: Labels, gallery: Labels
) -> Listed:
    found = Listed([], [], [])
    zero_is_somebody = 0 in query.people
    for i, person in enumerate(query.people):
        for j, other in enumerate(gallery.people):
            difference = np.float64(query_vectors[i]) - np.float64(gallery_vectors[j])
            distance = float(np.float32(np.sqrt(np.square(difference).sum())))
            if -1 in (person, other):
                continue
            if person != other:
                found.impostors.append(distance)
                unit = f"distractor {j}" if other == 0 and not zero_is_somebody else int(other)
                found.couples.append((int(person), unit))
            elif query.cameras[i] != gallery.cameras[j]:
                found.genuine.append(distance)
    return found


@st.composite
def problems(draw: st.DrawFn) -> tuple[NDArray[np.floating], NDArray[np.floating], Labels, Labels]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    queries, entries = draw(st.integers(1, 8)), draw(st.integers(1, 40))
    people, cameras, size = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    query = Labels(random.integers(draw(st.integers(-1, 1)), people + 1, queries), random.integers(1, 9, queries))
    gallery = Labels(random.integers(-1, people + 1, entries), random.integers(1, cameras + 1, entries))
    kind = draw(st.sampled_from(["grid", "normal", "all alike", "far from the origin"]))
    q, g = random.normal(size=(queries, size)), random.normal(size=(entries, size))
    if kind == "grid":  # whole numbers: many pairs exactly as far apart
        q, g = q.round(), g.round()
    if kind == "all alike":
        q, g = np.ones_like(q), np.ones_like(g)
    if kind == "far from the origin":
        q, g = q + 1000, g + 1000
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return q.astype(dtype), g.astype(dtype), query, gallery


@settings(max_examples=200, deadline=None)
@given(problems())
def test_pairs_are_those_of_a_loop(problem: tuple[NDArray[np.floating], NDArray[np.floating], Labels, Labels]) -> None:
    expected, pairs = listed(*problem), Pairs(*problem)
    assert pairs.impostors == len(expected.impostors)
    np.testing.assert_allclose(np.sort(pairs.genuine), np.sort(expected.genuine), rtol=1e-6)
    assert pairs.impostor_couples == len({frozenset(couple) for couple in expected.couples})
    counts = pairs.counts
    assert counts.impostors.sum() == len(expected.impostors)
    assert counts.genuine.sum() == len(expected.genuine)
    assert (np.diff(counts.buckets) > 0).all()
    if expected.impostors:
        ranks = np.unique(np.linspace(0, len(expected.impostors) - 1, 12).astype(int)).tolist()
        ranked = pairs.ranked(ranks)
        np.testing.assert_allclose(ranked, np.sort(expected.impostors)[ranks], rtol=1e-6)
        middle = float(np.median(expected.impostors)) + 1e-3
        queries, entries = pairs.nearer(middle)
        assert len(queries) == sum(distance < middle for distance in expected.impostors)
        near = [couple for couple, d in zip(expected.couples, expected.impostors, strict=True) if d < middle]
        assert len(set(zip(queries.tolist(), entries.tolist(), strict=True))) == len(set(near))


def test_ranks_over_many_blocks_are_those_of_a_sort_bit_for_bit() -> None:
    """Whole numbers have exact distances, so nothing but the counting can be off."""
    random = np.random.default_rng(0)
    q, g = random.integers(-9, 10, (700, 3)), random.integers(-9, 10, (900, 3))
    query, gallery = (Labels(random.integers(1, 50, len(v)), random.integers(1, 4, len(v))) for v in (q, g))
    pairs = Pairs(q, g, query, gallery)
    squares = np.square(q[:, None] - g[None]).sum(2)
    strangers = query.people[:, None] != gallery.people[None]
    ordered = np.sort(np.sqrt(squares[strangers]).astype(np.float32))
    ranks = [0, 1, 17, len(ordered) // 1000, len(ordered) // 2, len(ordered) - 1]
    assert pairs.ranked(ranks) == ordered[ranks].tolist()
    friends = (query.people[:, None] == gallery.people[None]) & (query.cameras[:, None] != gallery.cameras[None])
    assert np.sort(pairs.genuine).tolist() == np.sort(np.sqrt(squares[friends]).astype(np.float32)).tolist()


def test_a_bucket_is_narrow_and_holds_its_distances() -> None:
    random = np.random.default_rng(1)
    q, g = random.normal(size=(4, 8)) * 10, random.normal(size=(300, 8))
    labels = Labels(np.arange(1, 5), np.ones(4)), Labels(np.arange(5, 305), np.ones(300))
    pairs = Pairs(q, g, *labels)
    counts = pairs.counts
    starts = 2 * counts.distances - counts.ends
    assert (counts.ends - starts <= counts.ends / 2**11).all()
    ordered = np.asarray(pairs.ranked(range(1200)))
    inside = np.repeat(np.arange(len(counts.buckets)), counts.impostors)
    assert ((ordered < counts.ends[inside]) & (ordered >= starts[inside])).all()


def test_bins_count_all_pairs_but_those_of_thin_tails() -> None:
    random = np.random.default_rng(2)
    q, g = random.normal(3, 1, (80, 6)), random.normal(3, 1, (200, 6))
    labels = (Labels(random.integers(1, 5, len(v)), random.integers(1, 4, len(v))) for v in (q, g))
    pairs = Pairs(q, g, *labels)
    edges, genuine, impostors = pairs.counts.binned(40, tails=0)
    assert np.ptp(np.diff(edges)) < 1e-9
    assert (genuine.sum(), impostors.sum()) == (len(pairs.genuine), pairs.impostors)
    expected, _ = np.histogram(pairs.genuine, edges)
    assert np.abs(np.cumsum(genuine) - np.cumsum(expected)).max() <= 10  # those in buckets that lie across an edge
    cut, _, fewer = pairs.counts.binned(40, tails=0.02)
    assert cut[-1] < edges[-1]
    assert 0.95 * impostors.sum() < fewer.sum() < impostors.sum()


def test_identical_vectors_are_no_distance_apart() -> None:
    vectors = np.full((5, 3), 7.25)
    labels = Labels(np.arange(1, 6), np.ones(5))
    pairs = Pairs(vectors, vectors, labels, labels)
    assert pairs.ranked([0, 19]) == [0.0, 0.0]
    assert pairs.counts.buckets.tolist() == [0]
    labels = Labels(np.array([1, 1, 2]), np.array([1, 2, 1]))
    edges, genuine, impostors = Pairs(vectors[:3], vectors[:3], labels, labels).counts.binned(4)
    assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (genuine.tolist(), impostors.tolist()) == ([2, 0, 0, 0], [4, 0, 0, 0])


def test_vectors_that_are_no_numbers_are_refused() -> None:
    labels = Labels(np.array([1]), np.array([1]))
    with pytest.raises(ValueError, match="NaN or infinity"):
        Pairs(np.array([[np.nan]]), np.array([[0.0]]), labels, labels)
    with pytest.raises(ValueError, match=r"expected \(Q, D\) and \(G, D\)"):
        Pairs(np.zeros((1, 2)), np.zeros((1, 3)), labels, labels)
