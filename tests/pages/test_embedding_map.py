"""A few people's vectors come to lie where their neighbours do."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare.pages.embedding_map import lay_out, neighbours_agree, shown_rows

RANDOM = np.random.default_rng(0)
PEOPLE = np.repeat(np.arange(6), 8)
VECTORS = 6 * np.eye(6)[PEOPLE] + RANDOM.normal(size=(48, 6))
CAMERAS = np.tile([1, 2], 24)


def test_groups_that_are_far_apart_stay_together() -> None:
    places = lay_out(VECTORS)
    assert places.shape == (48, 2)
    assert neighbours_agree(places, PEOPLE, CAMERAS) == 1
    assert neighbours_agree(places, RANDOM.permutation(PEOPLE), CAMERAS) < 0.6


def test_the_same_seed_gives_the_same_places() -> None:
    np.testing.assert_array_equal(lay_out(VECTORS, 3), lay_out(VECTORS, 3))
    assert lay_out(VECTORS[:5, :1]).shape == (5, 2)
    assert np.isfinite(lay_out(1e-30 * VECTORS[:12])).all()


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 5 vectors to lay out, got 4"):
        lay_out(VECTORS[:4])
    with pytest.raises(ValueError, match="all vectors are equal"):
        lay_out(np.full((9, 3), 0.1))


def test_only_other_cameras_count_as_neighbours() -> None:
    places = np.array([[0.0, 0], [0.1, 0], [5, 0], [5.1, 0]])
    people = np.array([1, 2, 1, 2])
    assert neighbours_agree(places, people, np.array([1, 1, 2, 2])) == 0.5
    assert math.isnan(neighbours_agree(places, people, np.ones(4)))


def test_people_are_spread_over_those_with_a_match_with_so_many_pictures_at_most() -> None:
    evaluation = drawn_evaluation(people=30)
    asked, listed = shown_rows(evaluation, people=4, most=5)
    query, gallery = evaluation.query.people[asked], evaluation.gallery.people[listed]
    numbers, counts = np.unique(np.concatenate([query, gallery]), return_counts=True)
    assert numbers.tolist() == [1, 10, 20, 30]
    assert counts.tolist() == [5] * 4
    everyone = shown_rows(evaluation, people=100, most=100)
    assert [len(rows) for rows in everyone] == [len(evaluation.query), len(evaluation.gallery)]


def test_queries_that_are_entries_too_are_shown_once() -> None:
    evaluation = drawn_evaluation(people=8)
    gallery = evaluation.gallery
    entries = replace(gallery, ids=(*evaluation.query.ids[:3], *gallery.ids[3:]))
    asked, listed = shown_rows(replace(evaluation, gallery=entries), people=100, most=100)
    assert not set(listed) & {0, 1, 2}
    assert (len(asked), len(listed)) == (len(evaluation.query), len(gallery) - 3)


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ImportError, match=r"embedding maps need scikit-learn; .*dare-reid\[plots\]"):
        lay_out(VECTORS)
