"""Confidences against a loop, and lists that are too short."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from dare.anytime.confidence import Allowed, agreement, margin, nearest_two, nearness, stream_agreement
from dare.retrieval.labels import Labels


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


def slow_agreement(distances: np.ndarray, people: np.ndarray) -> float:
    distances, people = distances[:128], people[:128]
    others = distances[people != people[0]]
    farther = others[0] if len(others) else distances[-1]
    same = people == people[0]
    precision = average_precision_score(same, -np.arange(len(people)))
    further = (precision * same.sum() - 1) / (same.sum() - 1) if same.sum() > 1 else 0  # the first has precision 1
    return float(further + 0.1 * (1 - distances[0] / farther if farther > 0 else 0))


def test_agreement_is_the_precision_at_further_entries_if_the_first_is_right() -> None:
    random = np.random.default_rng(2)
    distances = np.sort(random.uniform(1, 5, (50, 140)), axis=1)
    people = random.integers(0, 9, (50, 140))
    expected = [slow_agreement(*row) for row in zip(distances, people, strict=True)]
    np.testing.assert_allclose(agreement(distances, people), expected)
    np.testing.assert_allclose(agreement(np.array([1.0, 4.0]), np.array([7, 7])), 1.075)
    np.testing.assert_allclose(agreement(np.array([1.0, 4.0, np.inf]), np.array([7, 7, 8])), 1.075)
    np.testing.assert_allclose(agreement(np.zeros(3), np.array([7, 7, 8])), 1.0)
    np.testing.assert_allclose(agreement(np.array([1.0, 2.0, 3.0]), np.array([-2, 7, 7])), 0.05)
    with np.errstate(all="raise"):
        assert np.isnan(agreement(np.full(3, np.inf), np.array([7, 7, 8])))
    assert np.isnan(agreement(np.zeros((2, 0)), np.zeros((2, 0), int))).all()
    with pytest.raises(ValueError, match="a person for each distance"):
        agreement(np.zeros(3), np.zeros(2, int))


@pytest.mark.parametrize("allowed", ["paper", "other-cameras", "all"])
def test_the_nearest_two_and_agreements_are_those_of_sorted_lists(allowed: Allowed) -> None:
    random = np.random.default_rng(1)
    q, g = random.normal(size=(60, 4)), random.normal(size=(90, 4))
    query = Labels(random.integers(1, 6, 60), random.integers(1, 4, 60))
    gallery = Labels(random.integers(-1, 6, 90), random.integers(1, 4, 90))
    found = nearest_two(q, g, query, gallery, allowed)
    agreements = stream_agreement(q, g, query, gallery, allowed)
    for row in range(60):
        keep = gallery.people != -1
        own_camera = gallery.cameras == query.cameras[row]
        if allowed == "paper":
            keep &= ~(own_camera & (gallery.people == query.people[row]))
        elif allowed == "other-cameras":
            keep &= ~own_camera
        distances = np.linalg.norm(g[keep] - q[row], axis=1)
        order = np.argsort(distances, kind="stable")
        ordered, people = distances[order], gallery.people[keep][order]
        assert found.nearness[row] == pytest.approx(nearness(ordered))
        assert found.margin[row] == pytest.approx(margin(ordered, people, complete=True))
        assert agreements[row] == pytest.approx(slow_agreement(ordered, people))


def test_nobody_to_be_compared_with() -> None:
    query = Labels(np.array([1, 2]), np.array([1, 2]))
    for people, cameras in (([], []), ([-1], [3])):
        gallery = Labels(np.array(people, int), np.array(cameras, int))
        found = nearest_two(np.zeros((2, 3)), np.zeros((len(people), 3)), query, gallery)
        assert np.isnan(found.nearness).all()
        assert np.isnan(found.margin).all()
        assert np.isnan(stream_agreement(np.zeros((2, 3)), np.zeros((len(people), 3)), query, gallery, "paper")).all()
    alone = nearest_two(np.zeros((2, 3)), np.ones((1, 3)), query, Labels(np.array([1]), np.array([1])))
    assert np.isnan(alone.margin[0])
    assert alone.margin[1] == np.inf
    with pytest.raises(ValueError, match="allowed must be one of paper, other-cameras, all"):
        nearest_two(np.zeros((2, 3)), np.ones((1, 3)), query, query, "mine")  # type: ignore[arg-type]


def test_agreements_of_equal_distances_keep_the_galleries_order() -> None:
    random = np.random.default_rng(4)
    q, g = random.integers(0, 3, (40, 3)).astype(float), random.integers(0, 3, (400, 3)).astype(float)
    query = Labels(random.integers(1, 6, 40), random.integers(1, 4, 40))
    gallery = Labels(random.integers(0, 6, 400), random.integers(1, 4, 400))
    for row, found in enumerate(stream_agreement(q, g, query, gallery, "all")):
        distances = np.linalg.norm(g - q[row], axis=1)
        order = np.argsort(distances, kind="stable")
        assert found == pytest.approx(slow_agreement(distances[order], gallery.people[order]))
