"""Means and intervals of streams, against slow resampling, and whether the intervals hold what they promise."""

import numpy as np
import pytest
from experiments.streams import drawn_stream

from dare.experiments.accuracy import MEASURES, Bootstrap, Outcomes
from dare.retrieval.scoring import Scores


def test_queries_without_a_match_are_in_no_mean() -> None:
    stream = drawn_stream()
    matched = [q for q in range(len(stream)) if not np.isnan(stream.outcomes.precision[0, q])]
    assert len(matched) == 180
    expected = [np.mean([row[q] for q in matched]) for row in stream.outcomes.right]
    assert stream.outcomes.means("rank-1") == pytest.approx(expected)
    expected = [np.mean([row[q] for q in matched]) for row in stream.outcomes.precision]
    assert stream.outcomes.means("mAP") == pytest.approx(expected)


def test_picked_outcomes_have_the_figures_of_picked_scores() -> None:
    random = np.random.default_rng(1)
    per_exit = []
    for _ in range(3):
        first = random.integers(0, 3, 50)
        first[:5] = -1
        precision = np.where(first < 0, np.nan, random.random(50))
        per_exit.append(Scores(precision, first, precision, np.zeros(50, np.bool_)))
    exits = random.integers(0, 3, 50)
    picked, scores = Outcomes.of(per_exit).pick(exits[None]), Scores.pick(per_exit, exits)
    assert picked.means("rank-1") == pytest.approx([scores.cmc(1)])
    assert picked.means("mAP") == pytest.approx([scores.mean_average_precision])


@pytest.mark.parametrize("measure", MEASURES)
def test_resampled_means_are_those_of_people_drawn_with_replacement(measure) -> None:
    stream = drawn_stream(40)
    everyone = np.unique(stream.people)
    values = stream.outcomes.right if measure == "rank-1" else stream.outcomes.precision
    drawn = np.random.default_rng(3).integers(len(everyone), size=(20, len(everyone)))
    expected = []
    for people in drawn:
        columns = [q for place in people for q in np.flatnonzero(stream.people == everyone[place])]
        expected.append(np.nanmean(np.where(np.isnan(stream.outcomes.precision), np.nan, values)[:, columns], axis=1))
    found = Bootstrap(stream.people, 3, resamples=20).means(stream.outcomes, measure)
    assert found == pytest.approx(np.array(expected))


def test_runs_are_drawn_with_replacement_beside_people() -> None:
    streams = [drawn_stream(40, seed) for seed in (0, 1, 2)]
    people = streams[0].people
    everyone = np.unique(people)
    drawn_people = np.random.default_rng(3).integers(len(everyone), size=(20, len(everyone)))
    drawn_runs = np.random.default_rng((3, 3)).integers(3, size=(20, 3))
    expected = []
    for members, runs in zip(drawn_people, drawn_runs, strict=True):
        columns = [q for place in members for q in np.flatnonzero(people == everyone[place])]
        expected.append(np.mean([np.nanmean(streams[run].outcomes.precision[:, columns], axis=1) for run in runs], 0))
    together = Outcomes.beside([stream.outcomes for stream in streams])
    bootstrap = Bootstrap(people, 3, resamples=20)
    assert bootstrap.means(together, "mAP") == pytest.approx(np.array(expected))
    assert together.means("mAP") == pytest.approx(np.mean([one.outcomes.means("mAP") for one in streams], axis=0))


def test_the_same_run_again_changes_nothing() -> None:
    outcomes, bootstrap = drawn_stream().outcomes, Bootstrap(drawn_stream().people, 0)
    again = bootstrap.means(Outcomes.beside([outcomes, outcomes]), "rank-1")
    assert again == pytest.approx(bootstrap.means(outcomes, "rank-1"))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    people = np.arange(300) // 3
    held = 0
    for trial in range(200):
        chance = random.beta(2, 1, 100)[people]  # queries of one person stand and fall together; 2/3 in the mean
        right = (random.random((1, 300)) < chance).astype(float)
        interval = Bootstrap(people, trial, 200).accuracies(Outcomes(right, right))[0].rank1
        held += interval.low <= 2 / 3 <= interval.high
    assert 180 <= held <= 199


def test_a_difference_from_itself_is_certain() -> None:
    stream = drawn_stream()
    nothing = Bootstrap(stream.people, 0).accuracies(stream.outcomes - stream.outcomes)
    assert all((one.rank1.low, one.rank1.high, one.rank1.error) == (0, 0, 0) for one in nothing)


def test_without_any_match_nothing_is_claimed() -> None:
    nothing = Outcomes(np.zeros((1, 4)), np.full((1, 4), np.nan))
    (accuracy,) = Bootstrap(np.arange(4), 0).accuracies(nothing)
    assert np.isnan([accuracy.rank1.value, accuracy.rank1.low, accuracy["mAP"].value]).all()
