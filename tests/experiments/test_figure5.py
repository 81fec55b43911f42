"""Answers at a budget against a loop, and leads of one network over another."""

import math

import numpy as np
import pytest
from experiments.streams import COSTS, drawn_stream

from dare.anytime.costs import ExitCosts
from dare.experiments.accuracy import Outcomes
from dare.experiments.figure5 import Compared, Figure5, answering_exits, draw_figure5, figure5


@pytest.fixture(scope="module")
def figure() -> Figure5:
    stream = drawn_stream()
    ours = Compared("ours", stream.outcomes, COSTS)
    cascade = Compared("one by one", stream.outcomes.at([0, 2, 3]), ExitCosts((10, 50, 110), "made up"))
    return figure5("drawn", stream.people, [ours, cascade])


def test_the_deepest_exit_within_the_budget_answers() -> None:
    budgets = np.arange(0, 70.0)
    expected = [max([exit for exit in range(4) if COSTS.macs[exit] <= budget], default=-1) for budget in budgets]
    assert answering_exits(COSTS.macs, budgets).tolist() == expected


def test_leads_are_differences_between_the_answers_of_both(figure: Figure5) -> None:
    means = [network.outcomes.means("rank-1") for network in figure.networks]
    assert [start for _, start, _, _ in figure.leads] == [10, 25, 40, 50, 60, 110]
    assert figure.leads[-1][2] == math.inf
    for _, start, _, difference in figure.leads:
        ours, theirs = (
            mean[max(exit for exit, macs in enumerate(network.costs.macs) if macs <= start)]
            for mean, network in zip(means, figure.networks, strict=True)
        )
        assert difference.rank1.value == pytest.approx(ours - theirs)
        assert difference.rank1.low <= ours - theirs <= difference.rank1.high


def test_files_are_written_and_the_same_again(figure: Figure5, tmp_path) -> None:
    first, second = (draw_figure5(figure, published=True).write(tmp_path / name) for name in "ab")
    assert [path.suffix for path in first] == [".csv", ".csv", ".png", ".svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert len(first[0].read_text().splitlines()) == 1 + 4 + 3


def test_networks_may_have_more_runs_or_fewer() -> None:
    streams = [drawn_stream(seed=seed) for seed in (0, 1)]
    ours = Compared("ours", Outcomes.beside([stream.outcomes for stream in streams]), COSTS)
    other = Compared("other", streams[0].outcomes, ExitCosts((11, 26, 41, 61), "made up"))
    figure = figure5("drawn", streams[0].people, [ours, other])
    means = [np.mean([stream.outcomes.means("mAP") for stream in streams], axis=0), streams[0].outcomes.means("mAP")]
    last = figure.leads[-1][3].mean_average_precision
    assert last.value == pytest.approx(means[0][-1] - means[1][-1])
    assert last.low < last.value < last.high
    assert [row["runs"] for row in figure.rows()] == [2] * 4 + [1] * 4
