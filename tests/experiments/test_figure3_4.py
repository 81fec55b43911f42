"""Several runs: means, standard deviations, comparisons that make sense; two groups of runs query by query."""

import csv
import statistics
from dataclasses import replace

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare.evaluation.evaluate import Evaluation
from dare.experiments.figure3_4 import GROUPS, PUBLISHED, Bars, draw_figure3, draw_figure4, figure3, figure4
from dare.experiments.workplace import check_comparable


def run(seed: int, people: int = 20) -> Evaluation:
    """Of a network of its own, on the same queries."""
    return drawn_evaluation(people=people, seed=seed)


def with_digest(evaluation: Evaluation, digest: str) -> Evaluation:
    return replace(evaluation, query=replace(evaluation.query, model=digest))


RUNS = {name: run(seed) for seed, name in enumerate("abcd")}


@pytest.fixture(scope="module")
def figure() -> Bars:
    return figure3(RUNS)


def test_means_and_deviations_are_those_of_the_runs(figure: Bars) -> None:
    rows = list(figure.rows())
    assert [row["vector"] for row in rows] == ["stage 1", "stage 2", "stage 3"]
    for place, row in enumerate(rows):
        errors = [100 * (1 - one.results[place].scores.cmc(1)) for one in RUNS.values()]
        maps = [100 * one.results[place].scores.mean_average_precision for one in RUNS.values()]
        assert row["runs"] == 4
        for name, values in (("error", errors), ("mAP", maps)):
            assert float(row[name]) == pytest.approx(statistics.mean(values), abs=1e-3)
            assert float(row[f"{name}_std"]) == pytest.approx(statistics.stdev(values), abs=1e-3)
            assert float(row[f"{name}_low"]) < float(row[name]) < float(row[f"{name}_high"])


def test_the_interval_draws_people_and_takes_each_querys_mean_over_the_runs() -> None:
    figure = figure3(RUNS, seed=5)
    people = RUNS["a"].query.people
    right = np.mean([one.results[0].scores.first_match == 0 for one in RUNS.values()], axis=0)
    everyone, member = np.unique(people, return_inverse=True)
    drawn = np.random.default_rng(5).integers(len(everyone), size=(1000, len(everyone)))
    means = [np.concatenate([right[member == one] for one in row]).mean() for row in drawn]
    estimate = figure.accuracies[0][0].rank1
    assert (estimate.low, estimate.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_a_single_run_has_no_deviation_but_an_interval() -> None:
    alone = figure3({"a": RUNS["a"]})
    average = alone.accuracies[0][0].rank1
    assert average.bar == (average.low, average.high)
    assert next(alone.rows())["error_std"] == ""
    several = figure3(RUNS).accuracies[0][0].rank1
    assert several.bar == pytest.approx((several.value - several.deviation, several.value + several.deviation))


def test_the_bootstrap_is_the_same_for_the_same_seed(figure: Bars) -> None:
    assert figure3(RUNS, seed=817).accuracies == figure.accuracies


def test_runs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="b and a are one network; give each run once"):
        check_comparable({"a": with_digest(RUNS["a"], "same"), "b": with_digest(RUNS["b"], "same")})
    shallow = replace(RUNS["b"], results=RUNS["b"].results[:2])
    with pytest.raises(ValueError, match="b has the vectors stage 1, stage 2, the first run stage 1, stage 2, stage 3"):
        check_comparable({"a": RUNS["a"], "b": shallow})


def test_what_the_paper_prints_is_what_is_marked() -> None:
    assert 100 - PUBLISHED["rank-1"]["stage 1"] == pytest.approx(33.3)  # section 5.2
    assert (PUBLISHED["rank-1"]["fusion"], PUBLISHED["mAP"]["fusion"]) == (88.5, 74.2)  # table 1, DaRe(R)+RE


def test_files_are_written_and_the_same_again(figure: Bars, tmp_path) -> None:
    first, second = (draw_figure3(figure, published=True).write(tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure3.csv", "figure3_runs.csv", "figure3.png", "figure3.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    lines = list(csv.DictReader(first[1].read_text().splitlines()))
    assert [line["run"] for line in lines] == [name for name in "abcd" for _ in range(3)]
    draw_figure3(figure3({"a": RUNS["a"]})).write(tmp_path / "c")


WITH = {name: drawn_evaluation(people=20, seed=seed) for seed, name in enumerate("abc")}
WITHOUT = {name: drawn_evaluation(people=20, seed=seed + 10) for seed, name in enumerate("de")}


@pytest.fixture(scope="module")
def compared() -> Bars:
    return figure4(WITH, WITHOUT)


def test_each_group_is_averaged_as_figure_3_does(compared: Bars) -> None:
    for accuracies, runs in zip(compared.accuracies, (WITH, WITHOUT), strict=True):
        assert (accuracies,) == figure3(runs).accuracies


def test_gains_are_differences_of_the_means_with_a_paired_interval(compared: Bars) -> None:
    for place, gain in enumerate(compared.gains):
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


def test_files_of_figure_4_are_written_and_the_same_again(compared: Bars, tmp_path) -> None:
    first, second = (draw_figure4(compared).write(tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure4.csv", "figure4_runs.csv", "figure4.png", "figure4.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    lines = list(csv.DictReader(first[0].read_text().splitlines()))
    assert [(line["group"], line["runs"]) for line in lines] == [(GROUPS[0], "3")] * 3 + [(GROUPS[1], "2")] * 3
    assert all(line["gain_rank1"] for line in lines[:3])
    assert not any(line["gain_rank1"] for line in lines[3:])
    assert len(first[1].read_text().splitlines()) == 1 + 5 * 3
    draw_figure4(figure4({"a": WITH["a"]}, WITHOUT)).write(tmp_path / "c")
