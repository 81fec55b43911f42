"""Confidences against a loop, and lists that are too short."""

import numpy as np
import pytest

from dare.anytime.confidence import margin, nearness


def slow_margin(distances: np.ndarray, people: np.ndarray) -> float:
    for distance, person in zip(distances, people, strict=True):
        if person != people[0]:
            return float(distance - distances[0])
    return float("nan")


def test_margin_is_that_of_a_loop() -> None:
    random = np.random.default_rng(0)
    distances = np.sort(random.normal(5, 1, (200, 6)), axis=1)
    people = random.integers(0, 3, (200, 6))
    expected = [slow_margin(*row) for row in zip(distances, people, strict=True)]
    np.testing.assert_array_equal(margin(distances, people), expected)
    np.testing.assert_array_equal(margin(distances.reshape(10, 20, 6), people.reshape(10, 20, 6)).ravel(), expected)
    np.testing.assert_array_equal(nearness(distances), -distances[:, 0])


def test_lists_too_short_to_tell_are_said_to_be() -> None:
    one_person = np.array([0.1, 0.2]), np.array([7, 7])
    assert np.isnan(margin(*one_person))
    assert margin(*one_person, complete=True) == np.inf
    assert np.isnan(margin(np.zeros((2, 0)), np.zeros((2, 0), int), complete=True)).all()
    assert np.isnan(nearness(np.zeros((2, 0)))).all()
    with pytest.raises(ValueError, match="a person for each distance"):
        margin(np.zeros(3), np.zeros(2, int))
