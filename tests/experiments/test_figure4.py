"""Two groups of runs, compared query by query."""

import csv

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare.experiments.figure3 import figure3
from dare.experiments.figure4 import GROUPS, Figure4, figure4, write_figure4

WITH = {name: drawn_evaluation(people=20, seed=seed) for seed, name in enumerate("abc")}
WITHOUT = {name: drawn_evaluation(people=20, seed=seed + 10) for seed, name in enumerate("de")}


@pytest.fixture(scope="module")
def figure() -> Figure4:
    return figure4(WITH, WITHOUT)


def test_each_group_is_averaged_as_figure_3_does(figure: Figure4) -> None:
    for averages, runs in zip(figure.averages, (WITH, WITHOUT), strict=True):
        assert averages == figure3(runs).averages


def test_gains_are_differences_of_the_means_with_a_paired_interval(figure: Figure4) -> None:
    for place, gain in enumerate(figure.gains):
        ours, theirs = (
            np.mean([one.results[place].scores.first_match == 0 for one in runs.values()], axis=0)
            for runs in (WITH, WITHOUT)
        )
        assert gain.rank1.value == pytest.approx((ours - theirs).mean())
        people = WITH["a"].query.people
        everyone, member = np.unique(people, return_inverse=True)
        drawn = np.random.default_rng(817).integers(len(everyone), size=(1000, len(everyone)))
        means = [np.concatenate([(ours - theirs)[member == one] for one in row]).mean() for row in drawn]
        assert (gain.rank1.low, gain.rank1.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))
        precision = [
            np.mean([one.results[place].scores.mean_average_precision for one in runs.values()])
            for runs in (WITH, WITHOUT)
        ]
        assert gain.mean_average_precision.value == pytest.approx(precision[0] - precision[1])


def test_a_group_with_itself_gains_nothing() -> None:
    same = {f"{name} again": run for name, run in WITH.items()}  # without a digest nobody can tell
    for gain in figure4(WITH, same).gains:
        assert (gain.rank1.value, gain.rank1.low, gain.rank1.high) == (0, 0, 0)


def test_groups_that_overlap_or_were_asked_differently_are_refused() -> None:
    with pytest.raises(ValueError, match="b is in both groups"):
        figure4(WITH, {"b": WITHOUT["d"]})
    with pytest.raises(ValueError, match="other queries than the first run"):
        figure4(WITH, {"z": drawn_evaluation(people=3)})
    with pytest.raises(ValueError, match="at least one run"):
        figure4(WITH, {})


def test_files_are_written_and_the_same_again(figure: Figure4, tmp_path) -> None:
    first, second = (write_figure4(figure, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure4.csv", "figure4_runs.csv", "figure4.png", "figure4.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    lines = list(csv.DictReader(first[0].read_text().splitlines()))
    assert [(line["group"], line["runs"]) for line in lines] == [(GROUPS[0], "3")] * 3 + [(GROUPS[1], "2")] * 3
    assert all(line["gain_rank1"] for line in lines[:3])
    assert not any(line["gain_rank1"] for line in lines[3:])
    assert len(first[1].read_text().splitlines()) == 1 + 5 * 3
    single = figure4({"a": WITH["a"]}, WITHOUT)
    write_figure4(single, tmp_path / "c")
