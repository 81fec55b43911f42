"""Learnt distances against loops over pairs, the papers' formulas, and data whose noise is known."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from dare.retrieval.distances import squared_euclidean
from dare.retrieval.labels import Labels
from dare.retrieval.metrics import Metric, kissme, xqda
from dare.retrieval.scoring import score, score_vectors

Learner = Callable[..., Metric]
RANDOM = np.random.default_rng(0)
TWELVE = np.arange(72) % 12
DO_NOT_DIFFER = "the vectors of similar pairs do not differ"
LEARNERS = pytest.mark.parametrize("learn", [kissme, xqda])


def covariances_by_loop(
    vectors: NDArray[np.float64], people: NDArray[np.int64], cameras: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean outer products of differences over similar and over dissimilar pairs, pair by pair."""
    kinds: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            difference = vectors[i] - vectors[j]
            if people[i] != people[j]:
                kinds[1].append(np.outer(difference, difference))
            elif cameras[i] != cameras[j]:
                kinds[0].append(np.outer(difference, difference))
    inside, outside = (np.mean(kind, axis=0) for kind in kinds)
    return inside, outside


def with_ridge(covariance: NDArray[np.float64], share: float = 0.001) -> NDArray[np.float64]:
    return covariance + share * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


def drawn(
    seed: int = 0, people: int = 12, each: int = 6, size: int = 5, offset: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Vectors of people seen by three cameras, as often as it happens, in no order."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(1, people + 1), each))
    cameras = random.integers(1, 4, len(labels))
    noise = random.normal(size=(size, size))
    vectors = random.normal(size=(people + 1, size))[labels] + 0.5 * random.normal(size=(len(labels), size)) @ noise
    return vectors + offset, labels, cameras


def within(metric: Metric) -> NDArray[np.float64]:
    """The matrix between vectors as they came, (D, D)."""
    return (metric.projection * metric.weights) @ metric.projection.T


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_kissme_is_the_papers_formula_over_all_pairs(offset: float) -> None:
    vectors, people, cameras = drawn(offset=offset)
    inside, outside = map(with_ridge, covariances_by_loop(vectors, people, cameras))
    values, directions = np.linalg.eigh(np.linalg.inv(inside) - np.linalg.inv(outside))
    expected = (directions * np.maximum(values, 0)) @ directions.T
    found = within(kissme(vectors, people, cameras))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_xqda_is_the_papers_formula_over_all_pairs() -> None:
    vectors, people, cameras = drawn(size=7)
    inside, outside = covariances_by_loop(vectors, people, cameras)
    inside = with_ridge(inside)
    values, w = np.linalg.eig(np.linalg.inv(inside) @ outside)
    w = w[:, values > 1].real
    assert 0 < w.shape[1] < 7
    kernel = np.linalg.inv(w.T @ inside @ w) - np.linalg.inv(w.T @ outside @ w)
    found = xqda(vectors, people, cameras)
    assert found.projection.shape == w.shape
    np.testing.assert_allclose(within(found), w @ kernel @ w.T, atol=1e-6 * np.abs(within(found)).max())


def test_pca_comes_before_kissme_and_keeps_the_directions_of_most_variance() -> None:
    vectors, people, cameras = drawn(size=8)
    _, _, axes = np.linalg.svd(vectors - vectors.mean(0))
    reduced = vectors @ axes[:3].T
    expected = kissme(reduced, people, cameras).distances(reduced, reduced)
    found = kissme(vectors, people, cameras, dimensions=3).distances(vectors, vectors)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_fewer_dimensions_of_xqda_are_those_of_the_largest_eigenvalues() -> None:
    vectors, people, cameras = drawn(size=7)
    whole, part = xqda(vectors, people, cameras), xqda(vectors, people, cameras, dimensions=2)
    np.testing.assert_allclose(part.projection, whole.projection[:, :2])
    assert np.all(np.diff(whole.weights) <= 0)
    assert xqda(vectors, people, cameras, dimensions=100).projection.shape == whole.projection.shape


@LEARNERS
def test_mapped_vectors_have_the_learnt_distance(learn: Learner) -> None:
    vectors, people, cameras = drawn(size=6, offset=50)
    metric = learn(vectors, people, cameras)
    matrix = within(metric)
    expected = [[(x - y) @ matrix @ (x - y) for y in vectors[5:]] for x in vectors[:5]]
    np.testing.assert_allclose(metric.distances(vectors[:5], vectors[5:]), expected, rtol=1e-4, atol=1e-4)
    assert metric.distances(vectors[:5], vectors[5:]).dtype == metric.map(vectors).dtype == np.float32
    mapped = metric.map(vectors)
    np.testing.assert_allclose(squared_euclidean(mapped[:5], mapped[5:]), expected, rtol=1e-4, atol=1e-4)


@LEARNERS
def test_known_noise_is_learnt_away(learn: Learner) -> None:
    """People differ in 4 of 20 directions; pictures of one differ in the others, five times as much."""
    random = np.random.default_rng(1)
    turn, _ = np.linalg.qr(random.normal(size=(20, 20)))

    def pictures(people: int) -> tuple[NDArray[np.float64], Labels]:
        labels = np.repeat(np.arange(people), 6)
        vectors = 5.0 * random.normal(size=(len(labels), 20))
        vectors[:, :4] = random.normal(size=(people, 4))[labels] + 0.2 * random.normal(size=(len(labels), 4))
        return vectors @ turn, Labels(labels, np.tile(np.arange(6), people))

    vectors, known = pictures(200)
    metric = learn(vectors, known.people, known.cameras)
    tested, labels = pictures(60)
    plain = score_vectors(tested, tested, labels, labels)
    learnt = score_vectors(metric.map(tested), metric.map(tested), labels, labels)
    assert plain.mean_average_precision < 0.2
    assert learnt.mean_average_precision > 0.8
    whole = score(metric.distances(tested, tested), labels, labels)
    assert whole.mean_average_precision == pytest.approx(learnt.mean_average_precision, abs=1e-3)


@LEARNERS
def test_turned_scaled_and_moved_vectors_are_the_same_distances_apart(learn: Learner) -> None:
    vectors, people, cameras = drawn()
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))
    expected = learn(vectors, people, cameras).distances(vectors, vectors)
    other = 1e4 * vectors @ turn + 3
    np.testing.assert_allclose(learn(other, people, cameras).distances(other, other), expected, rtol=1e-3, atol=1e-3)


@LEARNERS
def test_fewer_vectors_than_dimensions_are_enough(learn: Learner) -> None:
    """Directions in which nothing varies are left out: what lies in them changes no distance."""
    vectors, people, cameras = drawn(people=6, each=3, size=4)
    wide = np.concatenate([vectors, np.zeros((len(vectors), 96))], axis=1)
    expected = learn(vectors, people, cameras).distances(vectors, vectors)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(100, 100)))
    np.testing.assert_allclose(
        learn(wide @ turn, people, cameras).distances(wide @ turn, wide @ turn), expected, rtol=1e-3, atol=1e-3
    )
    full = np.random.default_rng(4).normal(size=(18, 100)).astype(np.float32)
    assert np.isfinite(learn(full, people, cameras).map(full)).all()


@LEARNERS
def test_labels_may_be_any_numbers_in_any_order(learn: Learner) -> None:
    vectors, people, cameras = drawn()
    order = np.random.default_rng(5).permutation(len(people))
    expected = learn(vectors, people, cameras)
    found = learn(vectors[order], 10**12 + 7 * people[order], 100 - cameras[order])
    np.testing.assert_allclose(within(found), within(expected), rtol=1e-6, atol=1e-9)
    assert "72 vectors of 12 people" in found.source


@LEARNERS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": np.ones(72)}, "expected training vectors of at least two people, got 72 of 1"),
        ({"cameras": np.ones(72)}, "no similar pair to learn from: none of 12 people is seen by two cameras"),
        ({"people": np.full(72, -1)}, "72 training vectors are junk"),
        ({"people": np.ones(3)}, "expected a person and a camera per training row"),
        ({"vectors": np.ones((3, 5))}, "with a person and a camera each"),
        ({"vectors": np.ones((72, 5))}, "all training vectors are the same"),
        ({"vectors": np.full((72, 5), np.nan)}, "training vector 0 contains NaN or infinity"),
        ({"people": np.full(72, np.nan)}, "training people must be whole numbers"),
        ({"regularisation": -1.0}, "regularisation is a share of the mean variance"),
        ({"vectors": np.ones((72, 0))}, r"expected training vectors \(N, D\)"),
        ({"vectors": 1e200 * RANDOM.normal(size=(72, 5))}, "and its square overflows; scale them"),
        ({"vectors": RANDOM.normal(size=(12, 5))[TWELVE], "people": TWELVE}, DO_NOT_DIFFER),
        ({"vectors": np.float32(RANDOM.normal(size=(12, 5)))[TWELVE] + 9, "people": TWELVE}, DO_NOT_DIFFER),
        ({"dimensions": 0}, "dimensions must be a whole number of at least 1"),
        ({"dimensions": 2.5}, "dimensions must be a whole number of at least 1, got 2.5"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(learn: Learner, change: dict[str, object], message: str) -> None:
    vectors, people, cameras = drawn()
    given = {"vectors": vectors, "people": people, "cameras": cameras, **change}
    with pytest.raises(ValueError, match=message):
        learn(**given)


@LEARNERS
def test_people_who_do_not_differ_teach_nothing(learn: Learner) -> None:
    """Each person has the same two vectors, far apart: strangers are never farther than that."""
    vectors = np.array([[0.0], [1.0]] * 4)
    with pytest.raises(ValueError, match="in no direction do different people differ more"):
        learn(vectors, np.repeat(np.arange(4), 2), np.array([1, 2] * 4))


def test_a_covariance_without_regularisation_must_be_invertible() -> None:
    """One similar pair says nothing of directions that it does not differ in."""
    vectors, people, cameras = np.eye(4), np.array([1, 1, 2, 3]), np.array([1, 2, 1, 1])
    for learn in (kissme, xqda):
        with pytest.raises(ValueError, match="cannot be inverted"):
            learn(vectors, people, cameras, regularisation=0.0)
        assert np.isfinite(learn(vectors, people, cameras).map(vectors)).all()


def test_more_dimensions_than_vary_are_refused_before_kissme() -> None:
    with pytest.raises(ValueError, match="vary in 5 directions only, so 6 can't be kept"):
        partial(kissme, dimensions=6)(*drawn())


def test_vectors_of_another_size_are_not_mapped() -> None:
    with pytest.raises(ValueError, match=r"expected vectors \(N, 5\)"):
        kissme(*drawn()).map(np.zeros((1, 3)))
