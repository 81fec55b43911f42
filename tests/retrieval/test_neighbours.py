"""Nearest and farthest rows against sorted float64 distances, on vectors that float32 cannot tell apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dare.retrieval.neighbours import find_neighbours


def slow_neighbours(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(N, N) squared distances, and all rows by them: itself first, then nearest first, equal ones by number."""
    exact = vectors.astype(np.float64)
    squared = np.zeros((len(exact), len(exact)))
    for column in exact.T:  # the order in which the compiled loop adds
        squared += np.square(column[:, None] - column[None, :])
    itself_first = squared.copy()
    np.fill_diagonal(itself_first, -1)
    return squared, np.argsort(itself_first, axis=1, kind="stable")


def made(kind: str, rows: int, dim: int, random: np.random.Generator) -> NDArray[np.float64]:
    vectors = random.normal(size=(rows, dim))
    if kind == "grid":  # whole numbers: many exact ties
        return random.integers(-2, 3, (rows, dim)).astype(np.float64)
    if kind == "far from the origin":  # float32 products lose nearly all digits here
        return vectors + 3000
    if kind == "twins":
        return vectors[random.integers(0, rows, rows)]
    if kind == "a few far out":
        vectors[::7] *= 1000
    if kind == "all alike but one":
        vectors[1:] = vectors[-1]
    return vectors


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 200),
    st.integers(1, 30),
    st.sampled_from(["grid", "normal", "far from the origin", "twins", "a few far out", "all alike but one"]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 40),
)
def test_neighbours_are_those_of_float64(seed: int, rows: int, dim: int, kind: str, dtype: type, count: int) -> None:
    vectors = made(kind, rows, dim, np.random.default_rng(seed)).astype(dtype)
    count = min(count, rows)
    found = find_neighbours(vectors, count)
    squared, order = slow_neighbours(vectors)
    np.testing.assert_array_equal(found.rows, order[:, :count])
    np.testing.assert_array_equal(found.distances, np.take_along_axis(squared, order[:, :count], 1))
    np.testing.assert_array_equal(found.farthest, squared.max(1))


@pytest.mark.parametrize("kind", ["normal", "twins", "grid"])
def test_neighbours_are_found_across_many_pieces_and_blocks(kind: str) -> None:
    vectors = made(kind, 1300, 8, np.random.default_rng(0)).astype(np.float32)
    vectors = vectors[np.argsort(vectors[:, 0])]  # neighbours stand close together, as pictures of one person do
    found = find_neighbours(vectors, 21)
    squared, order = slow_neighbours(vectors)
    np.testing.assert_array_equal(found.rows, order[:, :21])
    np.testing.assert_array_equal(found.farthest, squared.max(1))


def test_a_row_is_its_own_first_neighbour_among_its_equals() -> None:
    found = find_neighbours(np.array([[1.0], [1.0], [3.0], [1.0]], np.float32), 3)
    assert found.rows.tolist() == [[0, 1, 3], [1, 0, 3], [2, 0, 1], [3, 0, 1]]
    assert found.distances.tolist() == [[0, 0, 0], [0, 0, 0], [0, 4, 4], [0, 0, 0]]
    assert found.farthest.tolist() == [4, 4, 4, 4]
