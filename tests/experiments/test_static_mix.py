"""The hull of the exits against all mixes of two, and places where curves come to stay, against loops."""

import itertools

import numpy as np
import pytest
from experiments.streams import COSTS, drawn_stream

from dare.anytime.budgets import static_mixes, upper_hull
from dare.anytime.costs import ExitCosts
from dare.experiments.accuracy import Bootstrap
from dare.experiments.query_stream import coming_to_stay, least_cost


def best_mix(costs: list[int], values: np.ndarray, budget: float) -> float:
    """Of all exits and pairs of exits."""
    found = [value for cost, value in zip(costs, values, strict=True) if cost <= budget]
    for a, b in itertools.combinations(range(len(costs)), 2):
        if costs[a] <= budget <= costs[b]:
            share = (costs[b] - budget) / (costs[b] - costs[a])
            found.append(share * values[a] + (1 - share) * values[b])
    return max(found)


@pytest.mark.parametrize("seed", range(30))
def test_no_mix_of_two_exits_beats_the_static_mix(seed: int) -> None:
    random = np.random.default_rng(seed)
    costs = np.cumsum(random.integers(1, 50, 5)).tolist()
    values = random.random(5).round(1)  # equal ones happen
    budgets = np.linspace(costs[0], costs[-1] + 10, 20).tolist()
    shares = static_mixes(ExitCosts(tuple(costs), "made up"), values, budgets)
    assert (shares @ costs <= np.array(budgets) + 1e-9).all()
    assert shares.sum(1) == pytest.approx(np.ones(20))
    assert shares @ values == pytest.approx([best_mix(costs, values, budget) for budget in budgets])


def test_the_hull_leaves_out_what_a_mix_beats_and_what_is_worse_than_cheaper_ones() -> None:
    assert upper_hull([1, 2, 3, 4, 5], np.array([0.1, 0.15, 0.4, 0.5, 0.45])) == [0, 2, 3]


def test_a_mix_cannot_cost_less_than_the_first_exit() -> None:
    with pytest.raises(ValueError, match="smallest possible budget is 10"):
        static_mixes(COSTS, np.array([0.1, 0.2, 0.3, 0.4]), [9.0])


def by_loop(values: np.ndarray, target: float) -> float:
    for start in range(len(values)):
        if all(value >= target for value in values[start:]):
            if start == 0:
                return 0
            return start - 1 + (target - values[start - 1]) / (values[start] - values[start - 1])
    return np.inf


def test_curves_come_to_stay_after_they_last_fell_short() -> None:
    random = np.random.default_rng(0)
    values = np.linspace(0, 1, 12) + 0.3 * random.normal(size=(300, 12))
    targets = random.random(300)
    expected = [by_loop(row, target) for row, target in zip(values, targets, strict=True)]
    assert coming_to_stay(values, targets) == pytest.approx(np.array(expected))
    assert np.isinf(expected).any()
    assert 0 in expected


def test_the_least_cost_lies_on_the_line_between_two_budgets() -> None:
    stream = drawn_stream(400)
    bootstrap = Bootstrap(stream.people, 0)
    full = stream.outcomes.at([3])
    shares = np.array([[1 - share, 0, 0, share] for share in (0, 0.5, 1)])
    spent = shares @ COSTS.macs
    found = least_cost(spent, stream.outcomes.mix(shares), full, 0.02, bootstrap)
    first, last = stream.outcomes.means("rank-1")[[0, 3]]
    assert found is not None
    assert found.rank1 == pytest.approx(last - 0.02)
    assert found.macs == pytest.approx(60 - 50 * 0.02 / (last - first))
    assert found.low_macs < found.macs < found.high_macs <= 60
    assert least_cost(spent, stream.outcomes.at([0, 0, 0]), full, 0.0, bootstrap) is None
