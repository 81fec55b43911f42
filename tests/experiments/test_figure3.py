"""Several runs: means, standard deviations, and comparisons that make sense."""

import csv
import statistics
from dataclasses import replace

import numpy as np
import pytest
from experiments.streams import drawn_evaluation

from dare.evaluation.evaluate import Evaluation
from dare.experiments.accuracy import Bootstrap
from dare.experiments.figure3 import PUBLISHED, Figure3, figure3, write_figure3


def run(seed: int, people: int = 20) -> Evaluation:
    """Of a network of its own, on the same queries."""
    return drawn_evaluation(people=people, seed=seed)


def with_digest(evaluation: Evaluation, digest: str) -> Evaluation:
    return replace(evaluation, query=replace(evaluation.query, model=digest))


RUNS = {name: run(seed) for seed, name in enumerate("abcd")}


@pytest.fixture(scope="module")
def figure() -> Figure3:
    return figure3(RUNS)


def test_means_and_deviations_are_those_of_the_runs(figure: Figure3) -> None:
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
    estimate = figure.averages[0]["rank-1"].estimate
    assert (estimate.low, estimate.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))


def test_a_single_run_has_no_deviation_but_an_interval() -> None:
    alone = figure3({"a": RUNS["a"]})
    average = alone.averages[0]["rank-1"]
    assert average.bar == (average.estimate.low, average.estimate.high)
    assert next(alone.rows())["error_std"] == ""
    several = figure3(RUNS).averages[0]["rank-1"]
    assert several.bar == pytest.approx((several.mean - several.deviation, several.mean + several.deviation))


def test_the_bootstrap_is_the_same_for_the_same_seed(figure: Figure3) -> None:
    again = figure.runs.averages(Bootstrap(figure.runs.people, 817))
    assert [one["mAP"] for one in again] == [one["mAP"] for one in figure.averages]


def test_runs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one run, got none"):
        figure3({})
    with pytest.raises(ValueError, match="b was asked other queries than the first run"):
        figure3({"a": RUNS["a"], "b": run(1, people=19)})
    with pytest.raises(ValueError, match="b and a are one network; give each run once"):
        figure3({"a": with_digest(RUNS["a"], "same"), "b": with_digest(RUNS["b"], "same")})
    shallow = replace(RUNS["b"], results=RUNS["b"].results[:2])
    with pytest.raises(ValueError, match="b has the vectors stage 1, stage 2, the first run stage 1, stage 2, stage 3"):
        figure3({"a": RUNS["a"], "b": shallow})


def test_what_the_paper_prints_is_what_is_marked() -> None:
    assert 100 - PUBLISHED["rank-1"]["stage 1"] == pytest.approx(33.3)  # section 5.2
    assert (PUBLISHED["rank-1"]["fusion"], PUBLISHED["mAP"]["fusion"]) == (88.5, 74.2)  # table 1, DaRe(R)+RE


def test_files_are_written_and_the_same_again(figure: Figure3, tmp_path) -> None:
    first, second = (write_figure3(figure, tmp_path / name, published=True) for name in "ab")
    assert [path.name for path in first] == ["figure3.csv", "figure3_runs.csv", "figure3.png", "figure3.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    lines = list(csv.DictReader(first[1].read_text().splitlines()))
    assert [line["run"] for line in lines] == [name for name in "abcd" for _ in range(3)]
    write_figure3(figure3({"a": RUNS["a"]}), tmp_path / "c")
