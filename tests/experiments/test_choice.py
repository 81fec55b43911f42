"""The choice of exits against brute force, and that it is not led by luck into more exits than needed."""

import itertools

import numpy as np
import pytest
from experiments.streams import COSTS, drawn_stream

from dare.anytime.costs import ExitCosts
from dare.anytime.policies import Thresholds, replay
from dare.experiments.choice import candidate_shares, choose_exits

FINE = ExitCosts((10, 20, 30), "made up")


@pytest.mark.parametrize("budget", [10, 17, 25, 33, 40, 59, 60, 90])
def test_candidates_meet_the_budget_and_hold_its_corners(budget: float) -> None:
    shares = candidate_shares(COSTS, budget)
    assert shares.sum(1) == pytest.approx(np.ones(len(shares)))
    assert (shares >= 0).all()
    assert (shares @ COSTS.macs <= budget + 1e-6).all()
    assert 1 <= len(shares) <= 2000
    for exit, cost in enumerate(COSTS.macs):
        assert (shares == np.eye(4)[exit]).all(1).any() == (cost <= budget)


def test_the_best_plan_is_that_of_brute_force() -> None:
    stream = drawn_stream(120, seed=4, exits=3)
    choice = choose_exits(stream, FINE, 20)
    found = []
    for steps in itertools.product(range(21), repeat=3):
        if sum(steps) == 20 and np.dot(steps, FINE.macs) <= 20 * 20:
            shares = np.array(steps) / 20
            thresholds = Thresholds.learnt(stream.confidences["label-free margin"], shares).thresholds
            thresholds[shares[:-1] == 0] = np.inf
            thresholds[np.flatnonzero(shares)[-1] :] = -np.inf
            exits = replay(stream.confidences["label-free margin"], Thresholds(thresholds))
            found.append(stream.outcomes.pick(exits[None]).means("rank-1")[0])
    assert choice.best.accuracy.rank1.value == pytest.approx(max(found))


@pytest.mark.parametrize("maximise", ["rank-1", "mAP"])
@pytest.mark.parametrize("budget", [10, 22, 35, 50, 70])
def test_plans_are_what_a_replay_of_their_thresholds_gives(budget: float, maximise) -> None:
    stream = drawn_stream(seed=2)
    choice = choose_exits(stream, COSTS, budget, maximise=maximise)
    for plan in (choice.chosen, choice.best, choice.geometric):
        exits = replay(stream.confidences["label-free margin"], Thresholds(plan.thresholds))
        assert (plan.shares[exits] > 0).all()
        assert plan.spent_macs == pytest.approx(COSTS.mean(exits))
        assert plan.spent_macs == pytest.approx(plan.shares @ COSTS.macs, rel=0.03)
        assert plan.shares @ COSTS.macs <= budget + 1e-6
        assert plan.accuracy[maximise].value == pytest.approx(stream.outcomes.pick(exits[None]).means(maximise)[0])
    assert choice.best.accuracy[maximise].value >= choice.geometric.accuracy[maximise].value
    gain = choice.chosen.accuracy[maximise].value - choice.static_mix[maximise].value
    assert choice.gain_over_static_mix[maximise].value == pytest.approx(gain)


def test_an_exit_that_adds_nothing_is_dropped() -> None:
    stream = drawn_stream(400, seed=1)
    stream.outcomes.right[3], stream.outcomes.precision[3] = stream.outcomes.right[2], stream.outcomes.precision[2]
    assert not choose_exits(stream, COSTS, 60).chosen.shares[3]


def test_fewer_exits_are_kept_unless_more_are_better_by_the_standard_error() -> None:
    for seed in range(5):
        choice = choose_exits(drawn_stream(seed=seed), COSTS, 35)
        assert np.count_nonzero(choice.chosen.shares) <= np.count_nonzero(choice.best.shares)
        shortfall = choice.best.accuracy.rank1.value - choice.chosen.accuracy.rank1.value
        assert 0 <= shortfall <= choice.best.accuracy.rank1.error


def test_a_budget_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(ValueError, match="smallest possible budget is 10"):
        choose_exits(drawn_stream(), COSTS, 9)
    with pytest.raises(ValueError, match="costs of 4 exits, got 3"):
        choose_exits(drawn_stream(), FINE, 20)


def test_queries_with_nobody_to_compare_with_leave_at_the_first_exit() -> None:
    stream = drawn_stream(queries=80)
    for confidence in stream.confidences.values():
        confidence[:, 3:9] = np.nan
    choice = choose_exits(stream, COSTS, 30)
    assert choice.chosen.spent_macs <= 31
    assert np.isfinite(choice.chosen.accuracy.rank1.value)
