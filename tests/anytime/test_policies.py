"""Policies against slow oracles, and what they promise about shares and budgets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dare.anytime.budgets import adjacent_shares, conditional, geometric_shares
from dare.anytime.costs import NETSCOPE_2018, ExitTimes
from dare.anytime.policies import Chance, Deadline, ExitPolicy, RunningQuantile, Steered, Thresholds, replay

BUDGETS = np.linspace(NETSCOPE_2018.macs[0], NETSCOPE_2018.macs[-1], 9)[1:-1]


def stream(queries: int, seed: int = 0) -> np.ndarray:
    """Confidences (4, Q) that agree in part from exit to exit."""
    random = np.random.default_rng(seed)
    easiness = random.normal(size=queries)
    return easiness + 0.7 * random.normal(size=(4, queries))


def released(confidences: np.ndarray, shares: np.ndarray, window: int | None = None) -> list[int]:
    """The rule as the released code has it: append, sort descending, look up."""
    leaving = conditional(shares)
    seen: list[list[float]] = [[] for _ in leaving]
    exits = []
    for column in confidences.T:
        for exit in range(len(leaving)):
            if exit == len(leaving) - 1:
                exits.append(exit)
                break
            seen[exit].append(column[exit])
            seen[exit] = seen[exit][-window:] if window else seen[exit]
            descending = sorted(seen[exit], reverse=True)
            if column[exit] >= descending[int((len(descending) - 1) * leaving[exit])]:
                exits.append(exit)
                break
    return exits


@settings(deadline=None)  # the first example imports scipy
@given(
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.sampled_from([None, 1, 5, 20]),
    st.floats(5.3e8, 2.6e9),
    st.booleans(),
)
def test_the_running_quantile_is_the_released_rule(
    seed: int, queries: int, window: int | None, budget: float, ties: bool
) -> None:
    confidences = stream(queries, seed)
    if ties:
        confidences = confidences.round()
    shares = geometric_shares(NETSCOPE_2018, budget)
    assert replay(confidences, RunningQuantile(shares, window)).tolist() == released(confidences, shares, window)


def test_shares_are_met_by_quantiles_and_by_chance() -> None:
    confidences = stream(20_000)
    for budget in BUDGETS:
        geometric = geometric_shares(NETSCOPE_2018, budget)
        for policy, shares in (
            (RunningQuantile(geometric), geometric),
            (Thresholds.learnt(stream(20_000, seed=1), geometric), geometric),
            (Chance(adjacent_shares(NETSCOPE_2018, budget)), adjacent_shares(NETSCOPE_2018, budget)),
        ):
            exits = replay(confidences, policy)
            np.testing.assert_allclose(np.bincount(exits, minlength=4) / 20_000, shares, atol=0.015)


def test_steering_meets_the_budget_whatever_comes() -> None:
    confidences = stream(3_000)
    easy_first = np.argsort(-confidences[0], kind="stable")
    half = len(easy_first) // 2
    phases = np.random.default_rng(0).permutation(half)
    orders = {
        "mixed": np.arange(3_000),
        "easy, then hard": np.concatenate([easy_first[:half][phases], easy_first[half:][phases]]),
        "hard, then easy": np.concatenate([easy_first[half:][phases], easy_first[:half][phases]]),
    }
    for order in orders.values():
        for budget in BUDGETS:
            exits = replay(confidences[:, order], Steered(NETSCOPE_2018, budget))
            for queries in (1_000, 2_000, 3_000):
                assert NETSCOPE_2018.mean(exits[:queries]) == pytest.approx(budget, rel=0.005)


DRIFTS = {
    "three phases": np.repeat([0, 3, -3], 1000),
    "back and forth": np.tile(np.repeat([2, -2], 250), 6),
    "easier and easier": np.linspace(-5, 5, 3000),
    "harder and harder": np.linspace(5, -5, 3000),
    "extremes": np.repeat([-10, 10, -10, 10, 0, 0], 500),
}


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=DRIFTS)
def test_a_steered_stream_meets_its_budget_however_it_drifts(drift: np.ndarray) -> None:
    confidences = np.random.default_rng(3).normal(size=(4, 3000)) + drift
    for costs in (NETSCOPE_2018.macs, (0.001, 0.0011, 0.004), (1, 4)):
        for part in (0.05, 0.3, 0.6, 0.95):
            budget = costs[0] + part * (costs[-1] - costs[0])
            exits = replay(confidences[: len(costs)], Steered(costs, budget))
            means = np.cumsum(np.asarray(costs, np.float64)[exits])[999:] / np.arange(1000, 3001)
            assert np.abs(means / budget - 1).max() < 0.005


def in_micro_batches(confidences: np.ndarray, policy: ExitPolicy, size: int) -> np.ndarray:
    last = len(confidences) - 1
    exits = np.full(confidences.shape[1], last)
    for start in range(0, len(exits), size):
        waiting = list(range(start, min(len(exits), start + size)))
        for exit in range(last):
            leaving = {query for query in waiting if policy.stops(exit, confidences[exit, query])}
            exits[list(leaving)] = exit
            waiting = [query for query in waiting if query not in leaving]
    return exits


@pytest.mark.parametrize("size", [1, 4, 16, 64])
def test_steering_reckons_with_queries_on_the_way(size: int) -> None:
    confidences = stream(3000)
    one_by_one = NETSCOPE_2018.macs[0] + 0.4 * (NETSCOPE_2018.macs[-1] - NETSCOPE_2018.macs[0])
    exits = in_micro_batches(confidences, Steered(NETSCOPE_2018, one_by_one), size)
    means = np.cumsum(np.asarray(NETSCOPE_2018.macs, np.float64)[exits])[999:] / np.arange(1000, 3001)
    assert np.abs(means / one_by_one - 1).max() < 0.005
    taken = np.bincount(exits, minlength=4) / len(exits)
    assert np.abs(taken - geometric_shares(NETSCOPE_2018, one_by_one)).max() < 0.06


def test_steering_at_the_ends_of_the_budget() -> None:
    confidences = stream(300)
    assert set(replay(confidences, Steered(NETSCOPE_2018, NETSCOPE_2018.macs[0]))) == {0}
    assert set(replay(confidences, Steered(NETSCOPE_2018, NETSCOPE_2018.macs[-1]))) == {3}
    assert set(replay(confidences, Steered(NETSCOPE_2018, 1e12))) == {3}
    with pytest.raises(ValueError, match="smallest possible budget"):
        Steered(NETSCOPE_2018, 1.0)


@pytest.mark.parametrize("slower", [0.5, 1.0, 2.5])
def test_a_budget_of_time_is_met_on_the_clock(slower: float) -> None:
    nominal = np.array([1.0, 2.0, 3.0, 4.0])
    times = ExitTimes(tuple(nominal), tuple(nominal), (1.0,) * 4, 1.0, "made up")
    random, budget = np.random.default_rng(5), 2.2 * slower
    policy, spent = Steered(times, budget), []
    for column in stream(4000).T:
        exit = next((exit for exit in range(3) if policy.stops(exit, column[exit])), 3)
        spent.append(slower * nominal[exit] * random.uniform(0.8, 1.2))
        policy.took(spent[-1], [exit])
    assert np.mean(spent[500:]) == pytest.approx(budget, rel=0.03)
    by_macs = Steered(NETSCOPE_2018, 1e9)
    by_macs.took(99.0, [0])  # multiply-adds don't depend on the clock
    assert replay(stream(500), by_macs).tolist() == replay(stream(500), Steered(NETSCOPE_2018, 1e9)).tolist()


def test_chance_does_not_depend_on_the_order_of_micro_batches() -> None:
    shares = [0.3, 0.3, 0.2, 0.2]
    one_by_one = replay(np.zeros((4, 40)), Chance(shares, seed=3))
    policy = Chance(shares, seed=3)
    exits = np.full(40, 3)
    for start in range(0, 40, 8):
        waiting = list(range(start, start + 8))
        for exit in range(3):
            leaving = [query for query in waiting if policy.stops(exit, 0.0)]
            exits[leaving] = exit
            waiting = [query for query in waiting if query not in leaving]
    assert exits.tolist() == one_by_one.tolist()


def test_thresholds_are_reached_or_not() -> None:
    policy = Thresholds([0.5, np.inf, -np.inf])
    assert policy.stops(0, 0.5)
    assert not policy.stops(0, 0.49)
    assert not policy.stops(1, 1e9)
    assert policy.stops(2, -1e9)
    with pytest.raises(ValueError, match="one threshold per exit"):
        Thresholds([float("nan")])
    learnt = Thresholds.learnt(np.array([[3.0, 2.0, 1.0, 0.0]] * 3), [0.5, 0.5, 0.0])
    assert learnt.thresholds.tolist() == [1.5, -np.inf]
    with pytest.raises(ValueError, match=r"expected confidences \(3, N\)"):
        Thresholds.learnt(np.zeros((2, 4)), [0.5, 0.5, 0.0])


def test_who_has_nobody_to_be_compared_with_leaves_at_once() -> None:
    nothing = np.full((4, 5), np.nan)
    late = [0, 0, 0, 1]
    for policy in (RunningQuantile(late), Steered(NETSCOPE_2018, 6e8), Thresholds([np.inf] * 3), Chance(late)):
        assert set(replay(nothing, policy)) == {0}


def test_a_steered_stream_counts_queries_that_find_nobody() -> None:
    """What they save is spent on the others."""
    random = np.random.default_rng(0)
    confidences = random.normal(size=(4, 4000))
    confidences[:, random.random(4000) < 0.5] = np.nan
    budget = 1.5 * NETSCOPE_2018.macs[0]
    exits = replay(confidences, Steered(NETSCOPE_2018, budget))
    assert np.asarray(NETSCOPE_2018.macs)[exits].mean() == pytest.approx(budget, rel=0.01)


def test_a_deadline_leaves_when_the_next_exit_would_be_late() -> None:
    now = 100.0
    policy = Deadline(100.01, [0.004, 0.002, 0.007], clock=lambda: now)
    assert not policy.stops(0, 0.0)
    now = 100.009
    assert policy.stops(0, 0.0)
    now = 100.004
    assert policy.stops(1, 0.0)


def test_a_query_that_was_slower_than_measured_is_taken_to_stay_so() -> None:
    now = 100.0
    policy = Deadline(100.02, [0.004, 0.002, 0.007], clock=lambda: now)
    now = 100.008
    assert not policy.stops(0, 0.0)
    now = 100.012
    assert policy.stops(1, 0.0), "7 ms would be in time, the 14 ms that it takes at half the speed would not"


def test_a_stream_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected confidences \(E, Q\)"):
        replay(np.zeros(3), Thresholds([0.0]))
    with pytest.raises(ValueError, match="window must be at least 1"):
        RunningQuantile([1.0], window=0)
    assert replay(np.zeros((4, 0)), Thresholds([0, 0, 0])).tolist() == []
    assert replay(np.zeros((1, 3)), Thresholds([])).tolist() == [0, 0, 0]
