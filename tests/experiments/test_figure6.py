"""The sweep against a loop over queries and exits, and what its table and drawing say."""

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
from experiments.streams import COSTS, TIMES, drawn_evaluation, drawn_stream

from dare.anytime.budgets import adjacent_shares, conditional, geometric_shares
from dare.anytime.costs import NETSCOPE_2018, ExitCosts
from dare.experiments.figure6 import Figure6, draw_figure6, figure6
from dare.experiments.published import published_exits, published_figure6
from dare.experiments.query_stream import POLICIES, STATIC, query_stream


@pytest.fixture(scope="module")
def figure() -> Figure6:
    return figure6([drawn_stream()], COSTS, TIMES, budgets=7)


def released(confidences: np.ndarray, shares: np.ndarray) -> list[int]:
    """Append, sort descending, look up."""
    leaving = conditional(shares)
    seen: list[list[float]] = [[] for _ in leaving]
    exits = []
    for column in confidences.T:
        for exit, confidence in enumerate(column):
            if exit == len(leaving) - 1:
                exits.append(exit)
                break
            seen[exit].append(confidence)
            if confidence >= sorted(seen[exit], reverse=True)[int((len(seen[exit]) - 1) * leaving[exit])]:
                exits.append(exit)
                break
    return exits


def test_in_one_space_a_stream_is_asked_of_the_last_exits_gallery_at_every_exit() -> None:
    evaluation = drawn_evaluation(space="shared")
    query, gallery = evaluation.query, evaluation.gallery
    stream = query_stream(evaluation)
    for exit, vectors in enumerate(query.exits()):
        for row in range(len(query)):
            distances = np.linalg.norm(gallery.stages[-1].astype(np.float64) - vectors[row], axis=1)
            same_camera = gallery.cameras == query.cameras[row]
            own = same_camera & (gallery.people == query.people[row])
            for name, left in (("margin", ~own), ("label-free margin", ~same_camera)):
                nearest = gallery.people[left][distances[left].argmin()]
                margin = distances[left & (gallery.people != nearest)].min() - distances[left].min()
                assert stream.confidences[name][exit, row] == pytest.approx(margin, rel=1e-5)
            assert stream.confidences["nearness"][exit, row] == pytest.approx(-distances[~own].min(), rel=1e-5)
            right = gallery.people[~own][distances[~own].argmin()] == query.people[row]
            assert stream.outcomes.right[exit, row] == right


@pytest.mark.parametrize("policy", ["nearness", "margin", "label-free margin"])
def test_points_are_those_of_the_released_rule(figure: Figure6, policy: str) -> None:
    stream = drawn_stream().shuffled(817)
    matched = ~np.isnan(stream.outcomes.precision[0])
    curve = figure.curves[policy]
    lines = [row for row in figure.rows() if row["policy"] == policy]
    for place, (budget, accuracy, line) in enumerate(zip(figure.budget_macs, curve.accuracies, lines, strict=True)):
        exits = released(stream.confidences[policy], geometric_shares(COSTS, budget))
        assert curve.spent_macs[place] == pytest.approx(np.mean([COSTS.macs[exit] for exit in exits]))
        seconds = np.mean([TIMES.median[exit] for exit in exits])
        assert float(line["spent_ms"]) == pytest.approx(1000 * seconds, rel=1e-3)
        assert curve.taken[place] == pytest.approx([exits.count(exit) / len(exits) for exit in range(4)])
        right = [stream.outcomes.right[exit, query] for query, exit in enumerate(exits)]
        precision = [stream.outcomes.precision[exit, query] for query, exit in enumerate(exits)]
        assert accuracy.rank1.value == pytest.approx(np.mean(np.array(right)[matched]))
        assert accuracy["mAP"].value == pytest.approx(np.mean(np.array(precision)[matched]))


def test_every_policy_and_both_static_mixes_sweep_from_the_first_exit_to_the_last(figure: Figure6) -> None:
    assert figure.budget_macs == pytest.approx(np.linspace(10, 60, 7))
    assert list(figure.curves) == [*POLICIES, *STATIC]
    for curve in figure.curves.values():
        assert curve.taken[0] == pytest.approx([1, 0, 0, 0])
        assert curve.accuracies[0] == figure.alone[0]
        assert curve.gains[0].rank1.value == pytest.approx(0)
        for accuracy in curve.accuracies:
            for estimate in (accuracy.rank1, accuracy["mAP"]):
                assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_shares_wanted_are_what_the_policy_aims_at(figure: Figure6) -> None:
    chance, steered = figure.curves["chance"], figure.curves["steered margin"]
    for place, budget in enumerate(figure.budget_macs):
        assert chance.wanted[place] == pytest.approx(adjacent_shares(COSTS, budget))
        assert steered.wanted[place] == pytest.approx(geometric_shares(COSTS, budget))
        assert steered.spent_macs[place] == pytest.approx(budget, rel=0.05)


def test_gains_are_over_the_mix_that_spends_as_much(figure: Figure6) -> None:
    for gain in figure.curves["static mix for rank-1"].gains:
        assert gain.rank1.value == pytest.approx(0, abs=1e-12)
    exits = drawn_stream().outcomes.means("rank-1")
    curve = figure.curves["margin"]
    for spent, accuracy, gain in zip(curve.spent_macs, curve.accuracies, curve.gains, strict=True):
        pairs = [(a, b) for a in range(4) for b in range(a + 1, 4) if COSTS.macs[a] <= spent <= COSTS.macs[b]]
        best = max(np.interp(spent, [COSTS.macs[a], COSTS.macs[b]], exits[[a, b]]) for a, b in pairs)
        assert gain.rank1.value == pytest.approx(accuracy.rank1.value - best)


def test_the_sweep_is_the_same_again_and_another_with_another_seed(figure: Figure6) -> None:
    again, other = (figure6([drawn_stream()], COSTS, TIMES, budgets=7, seed=seed) for seed in (817, 1))
    assert list(again.rows()) == list(figure.rows())
    assert list(other.rows()) != list(figure.rows())


def test_a_single_exit_is_refused() -> None:
    with pytest.raises(ValueError, match="single exit"):
        figure6([drawn_stream(exits=1)], ExitCosts((1,), "made up"))


def test_a_stream_knows_its_confidences_and_keeps_them_together_when_shuffled() -> None:
    stream = query_stream(drawn_evaluation())
    assert stream.label_free == "other-cameras"
    assert stream.exits == ("stage 1", "stage 2", "stage 3")
    shuffled = stream.shuffled(3)
    assert sorted(shuffled.rows) == list(range(len(stream)))
    assert (shuffled.people == stream.people[shuffled.rows]).all()
    assert (shuffled.outcomes.right == stream.outcomes.right[:, shuffled.rows]).all()
    for name, confidence in shuffled.confidences.items():
        assert (confidence == stream.confidences[name][:, shuffled.rows]).all()
    # Within a camera, the protocol hides only the query's own person; the deployed rule hides everybody.
    assert (stream.confidences["margin"] != stream.confidences["label-free margin"]).any()
    assert query_stream(drawn_evaluation(cameras_known=False)).label_free == "all"


def test_the_published_points_are_those_of_the_released_logs() -> None:
    points = published_figure6()
    assert len(points) == 150
    last = points[49]
    assert (last.policy, last.spent_macs, last.rank1, last["mAP"]) == ("chance", 2_542_295_040, 0.88688, 0.7428)
    for measure, exits in (("rank-1", (65.4, 81.0, 87.5, 88.7)), ("mAP", (43.5, 61.4, 73.0, 74.3))):
        assert [100 * value for value in published_exits(measure)] == pytest.approx(exits, abs=0.06)
    for point in points:
        assert np.dot(point.taken, NETSCOPE_2018.macs) == pytest.approx(point.spent_macs, rel=2e-4)


def test_files_are_written_and_the_same_again(figure: Figure6, tmp_path) -> None:
    first, second = (draw_figure6(figure, published=True).write(tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["figure6.csv", "figure6.png", "figure6.svg"]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    with first[0].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 7
    assert float(rows[0]["rank1"]) == pytest.approx(100 * figure.curves["chance"].accuracies[0].rank1.value, abs=1e-3)
    assert "<svg" in first[2].read_text()


def test_single_networks_stand_beside_market_1501_alone(figure: Figure6, tmp_path) -> None:
    """Five points, in rank-1 alone, at their share of the published network's cost."""
    printed = {"TriNet(R)": (2.529, 84.92), "SVDNet(C)": (0.709, 80.5), "SVDNet(R)+RE": (3.888, 87.1)}
    printed |= {"IDE(R)+KISSME": (3.887, 73.60), "IDE(C)+KISSME": (0.675, 58.61)}
    for published in (True, False):
        drawn = draw_figure6(figure, published=published).drawing
        rank1, precision, *_ = drawn.axes
        for axes, networks in ((rank1, printed), (precision, {})):
            points = {line.get_label(): line.get_xydata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1}
            expected = {f"{name}, as published": place for name, place in networks.items()} if published else {}
            assert points.keys() == expected.keys()
            for name, (gigamacs, value) in expected.items():
                share = 1e9 * gigamacs / NETSCOPE_2018.macs[-1]
                assert points[name] == pytest.approx((share * 1000 * TIMES.median[-1], value), rel=1e-3)
            at_exits = [line for line in axes.get_lines() if line.get_label() == "all at one exit, as published"]
            assert len(at_exits) == published


def test_costs_are_drawn_in_milliseconds_where_they_were_measured(figure: Figure6, tmp_path) -> None:
    draw_figure6(figure).write(tmp_path)
    assert "mean cost per query [ms]" in (tmp_path / "figure6.svg").read_text()
    draw_figure6(figure6([drawn_stream()], COSTS, budgets=2)).write(tmp_path)
    assert "mean cost per query [ms]" not in (tmp_path / "figure6.svg").read_text()


def test_several_runs_are_each_replayed_with_their_own_confidences_and_averaged(tmp_path) -> None:
    streams = [replace(drawn_stream(seed=seed), people=drawn_stream().people) for seed in (0, 1, 2)]
    together = figure6(streams, COSTS, budgets=4)
    each = [figure6([stream], COSTS, budgets=4) for stream in streams]
    for policy in ("chance", "margin", "steered margin"):
        curve, alone = together.curves[policy], [one.curves[policy] for one in each]
        assert curve.taken == pytest.approx(np.mean([one.taken for one in alone], axis=0))
        assert curve.spent_macs == pytest.approx(np.mean([one.spent_macs for one in alone], axis=0))
        for measure in ("rank-1", "mAP"):
            values = [[accuracy[measure].value for accuracy in one.accuracies] for one in alone]
            found = [accuracy[measure].value for accuracy in curve.accuracies]
            assert found == pytest.approx(np.mean(values, axis=0))
    draw_figure6(together).write(tmp_path)
    assert "Means of 3 runs. Bands: 95 %, people and runs resampled." in (tmp_path / "figure6.svg").read_text()


def test_without_matplotlib_the_error_names_the_extra(figure: Figure6, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"dare-reid\[plots\]"):
        draw_figure6(figure)


def test_the_least_cost_is_where_rank_1_comes_to_stay_within_three_tenths_of_a_point(figure: Figure6) -> None:
    target = figure.alone[-1].rank1.value - 0.003
    interpolated = 0
    for curve in figure.curves.values():
        least, spent = curve.least, curve.spent_macs
        short = [place for place, accuracy in enumerate(curve.accuracies) if accuracy.rank1.value < target]
        if short and short[-1] == len(spent) - 1:
            assert least is None
            continue
        assert least is not None
        if short:
            interpolated += 1
            assert least.rank1 == pytest.approx(target)
            assert spent[short[-1]] <= least.macs <= spent[short[-1] + 1]
        else:
            assert least.macs == spent[0]
    assert interpolated > 2
