"""Shares for a budget: the authors' fifty budgets, roots by another way, edges."""

import csv
import importlib.resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dare.anytime.budgets import adjacent_shares, conditional, geometric_shares
from dare.anytime.costs import NETSCOPE_2018

PUBLISHED = importlib.resources.files("dare.experiments") / "figure6_published.csv"


def test_shares_are_those_of_the_authors_fifty_budgets() -> None:
    with PUBLISHED.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 150
    for row in rows:
        shares = adjacent_shares if row["policy"] == "chance" else geometric_shares
        theirs = [float(row[f"share_{exit}"]) for exit in range(1, 5)]
        ours = shares(NETSCOPE_2018, float(row["expected_macs"]))
        np.testing.assert_allclose(ours, theirs, atol=6e-6)  # they printed five decimals


@settings(deadline=None)  # the first example imports scipy
@given(st.lists(st.floats(1, 100), min_size=2, max_size=6), st.floats(0, 1))
def test_shares_cost_the_budget_and_are_geometric(steps: list[float], place: float) -> None:
    costs = np.cumsum(steps)
    budget = costs[0] + place * (costs[-1] - costs[0])
    for shares in (geometric_shares(list(costs), budget), adjacent_shares(list(costs), budget)):
        assert (shares >= 0).all()
        assert shares.sum() == pytest.approx(1)
        assert shares @ costs == pytest.approx(budget, rel=1e-9)
    shares = geometric_shares(list(costs), budget)
    if (shares > 1e-9).all():
        ratios = shares[1:] / shares[:-1]
        assert ratios == pytest.approx(ratios[0], rel=1e-6)


def test_the_one_positive_root_is_the_polynomials() -> None:
    for budget in np.linspace(6e8, 2.5e9, 20):
        roots = np.roots((np.asarray(NETSCOPE_2018.macs) - budget)[::-1])
        (root,) = (value.real for value in roots if abs(value.imag) < 1e-9 and value.real > 0)
        shares = geometric_shares(NETSCOPE_2018, budget)
        assert shares[1] / shares[0] == pytest.approx(root, rel=1e-6)


def test_budgets_at_the_ends() -> None:
    first, last = NETSCOPE_2018.macs[0], NETSCOPE_2018.macs[-1]
    for shares in (geometric_shares, adjacent_shares):
        assert shares(NETSCOPE_2018, first).tolist() == [1, 0, 0, 0]
        assert shares(NETSCOPE_2018, last).tolist() == [0, 0, 0, 1]
        assert shares(NETSCOPE_2018, 1e300).tolist() == [0, 0, 0, 1]
        assert shares([5.0], 7).tolist() == [1]
        for budget in (first - 1, 0.0, -1.0, float("nan"), float("-inf")):
            with pytest.raises(ValueError, match=r"the smallest possible budget is 523568640\.0"):
                shares(NETSCOPE_2018, budget)
        for costs in ([], [2.0, 1.0], [0.0, 1.0], [1.0, float("nan")]):
            with pytest.raises(ValueError, match="increase from exit to exit"):
                shares(costs, 3)
    assert geometric_shares(NETSCOPE_2018, first * (1 + 1e-15)).sum() == pytest.approx(1)


def test_conditional_shares_lead_back_to_the_shares() -> None:
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    leaving = conditional(shares)
    assert leaving == pytest.approx([0.4, 0.5, 2 / 3, 1])
    assert conditional([0.5, 0.5, 0, 0]).tolist() == [0.5, 1, 1, 1]
    assert conditional([0, 0, 0, 1]).tolist() == [0, 0, 0, 1]
    for wrong in ([0.5, 0.4], [1.5, -0.5], [float("nan"), 1], [], [[1.0]]):
        with pytest.raises(ValueError, match="add up to 1"):
            conditional(wrong)
