"""Distances against their definitions."""

import numpy as np
import pytest

from dare.retrieval.distances import cosine, euclidean, normalised, squared_euclidean
from dare.retrieval.labels import Labels
from dare.retrieval.scoring import score, score_vectors

RANDOM = np.random.default_rng(0)
QUERY, GALLERY = RANDOM.normal(size=(5, 8)), RANDOM.normal(size=(7, 8))


def test_each_is_its_definition() -> None:
    differences = QUERY[:, None] - GALLERY[None]
    lengths = np.linalg.norm(QUERY, axis=1)[:, None] * np.linalg.norm(GALLERY, axis=1)
    np.testing.assert_allclose(squared_euclidean(QUERY, GALLERY), (differences**2).sum(2), rtol=1e-5)
    np.testing.assert_allclose(euclidean(QUERY, GALLERY), np.linalg.norm(differences, axis=2), rtol=1e-5)
    np.testing.assert_allclose(cosine(QUERY, GALLERY), 1 - QUERY @ GALLERY.T / lengths, atol=1e-6)


def test_a_vector_is_at_no_negative_distance_from_itself() -> None:
    far = np.full((3, 8), 1e4, np.float32) + RANDOM.normal(size=(3, 8)).astype(np.float32)
    assert (squared_euclidean(far, far) >= 0).all()
    assert np.isfinite(euclidean(far, far)).all()


def test_euclidean_distance_of_normalised_vectors_ranks_as_cosine_does() -> None:
    query, gallery = (Labels(RANDOM.integers(0, 3, n), RANDOM.integers(0, 3, n)) for n in (5, 7))
    by_matrix = score(cosine(QUERY, GALLERY), query, gallery)
    by_vectors = score_vectors(normalised(QUERY), normalised(GALLERY), query, gallery)
    np.testing.assert_allclose(by_matrix.average_precision, by_vectors.average_precision)


def test_a_zero_vector_has_no_direction() -> None:
    with pytest.raises(ValueError, match="vector 1 is zero"):
        normalised(np.array([[1.0, 0.0], [0.0, 0.0]]))
