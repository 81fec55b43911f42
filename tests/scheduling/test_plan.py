"""On a virtual clock: every query ends once, none overshoots by more than a block, all go as deep as their time."""

import heapq
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from dare.scheduling.plan import Costs, Plan, Request

COSTS = (8.0, 10.0, 12.0, 20.0)
FULL = sum(COSTS)


@dataclass
class Outcome:
    """What became of a query; `finished` are the exits it reached, with the times."""

    query: Request
    asked: float
    end: float = math.nan
    kind: str = ""
    finished: list[tuple[int, float]] = field(default_factory=list)


def simulate(
    arrivals: list[tuple[float, Request]],
    workers: int = 2,
    noise: float = 0.0,
    seed: int = 0,
    costs: tuple[float, ...] = COSTS,
) -> tuple[list[Outcome], float]:
    """Play queries against a plan with as many workers. Returns outcomes and the longest block."""
    chance = random.Random(seed)
    plan = Plan(Costs(costs, window=1000.0), workers)
    outcomes = {id(query): Outcome(query, at) for at, query in arrivals}
    events: list[tuple[float, int, str, Any]] = [(at, n, "ask", query) for n, (at, query) in enumerate(arrivals)]
    heapq.heapify(events)
    idle, serial, longest = workers, len(events), 0.0

    def settle(now: float) -> None:
        for query, given_up in plan.over:
            outcome = outcomes[id(query)]
            assert not outcome.kind
            outcome.kind, outcome.end = "given up" if given_up else "answered", now
        plan.over.clear()

    while events:
        now, _, kind, what = heapq.heappop(events)
        if kind == "ask":
            wait = plan.submit(what, now)
            if wait:
                assert wait > 0
                outcomes[id(what)].kind, outcomes[id(what)].end = "refused", now
        else:
            query, exit, took = what
            idle += 1
            plan.costs.observe(exit, took, now)
            query.exit = exit
            outcomes[id(query)].finished.append((exit, now))
            plan.done(query, now, is_enough=False)
        settle(now)
        while idle and (job := plan.next(now)) is not None:
            query, exit = job
            took = costs[exit] * (1 + noise * chance.expovariate(1))
            longest = max(longest, took)
            serial += 1
            idle -= 1
            heapq.heappush(events, (now + took, serial, "done", (query, exit, took)))
        settle(now)
    assert len(plan) == 0
    return list(outcomes.values()), longest


def poisson(
    count: int, load: float, due: float, seed: int, workers: int = 2, **settings: object
) -> list[tuple[float, Request]]:
    """Arrivals at a multiple of what workers could do at full depth."""
    chance, now, found = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(load * workers / FULL)
        found.append((now, Request(now + due, **settings)))  # type: ignore[arg-type]
    return found


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(5))
def test_every_query_has_one_outcome_and_goes_as_deep_as_its_time(seed: int) -> None:
    chance = random.Random(seed)
    now, arrivals = 0.0, []
    for _ in range(20_000):
        now += chance.expovariate(chance.choice([0.02, 0.05, 0.2, 0.8]))
        due = now + (
            math.inf if chance.random() < 0.01 else chance.choice([chance.uniform(1, 60), chance.uniform(20, 400)])
        )
        least, client = chance.choice([0, 0, 0, 1, 3]), chance.choice("abc")
        arrivals.append((now, Request(due, least, client, late=chance.random() < 0.1)))
    outcomes, longest = simulate(arrivals, workers=chance.choice([1, 2, 3]), noise=chance.choice([0.0, 0.3]), seed=seed)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert set(kinds) <= {"answered", "refused", "given up"}
    assert sum(kinds.values()) == 20_000
    for outcome in outcomes:
        query = outcome.query
        reached = [exit for exit, _ in outcome.finished]
        assert reached == list(range(len(reached)))  # one behind the other, each once
        if outcome.kind == "answered":
            assert query.exit == reached[-1] >= query.least
            if not query.late:
                assert outcome.finished[query.least][1] <= query.due + longest
                assert outcome.finished[-1][1] <= query.due + longest
        else:
            assert not query.late or outcome.kind == "refused" or query.exit < query.least
    assert kinds["answered"] > 2_000


@pytest.mark.heavy
def test_with_costs_that_hold_nobody_admitted_is_late_or_given_up() -> None:
    for load in (0.5, 1, 2, 4, 8):
        outcomes, _ = simulate(poisson(2_000, load, 4 * FULL, seed=1))
        for outcome in outcomes:
            assert outcome.kind in ("answered", "refused")
            if outcome.kind == "answered":
                assert outcome.finished[-1][1] <= outcome.query.due


@pytest.mark.parametrize(("load", "in_time"), [(0.8, 1.0), (2, 0.999), (3, 0.99), (4, 0.9)])
def test_more_load_gives_coarser_answers_not_late_ones(load: float, in_time: float) -> None:
    outcomes, _ = simulate(poisson(8_000, load, 4 * FULL, seed=2))
    answered = [outcome for outcome in outcomes if outcome.kind == "answered"]
    assert len(answered) / len(outcomes) >= in_time


def test_an_idle_machine_gives_everybody_the_last_exit_and_a_short_time_a_shallow_one() -> None:
    for time_left, exit in ((FULL, 3), (FULL - 1, 2), (18, 1), (17.9, 0), (8, 0)):
        (outcome,), _ = simulate([(0.0, Request(time_left))])
        assert (outcome.kind, outcome.query.exit) == ("answered", exit)
    (outcome,), _ = simulate([(0.0, Request(7.9))])
    assert outcome.kind == "refused"
    (outcome,), _ = simulate([(0.0, Request(7.9, late=True))])
    assert (outcome.kind, outcome.query.exit) == ("answered", 0)
    (outcome,), _ = simulate([(0.0, Request(29.0, least=2))])
    assert outcome.kind == "refused"


def test_a_client_that_floods_leaves_others_their_share() -> None:
    flood = poisson(4_000, 20, 4 * FULL, seed=3, client="flood")
    end = flood[-1][0]
    calm = [(at, query) for at, query in poisson(2_000, 0.5, 4 * FULL, seed=4, client="calm") if at < end]
    outcomes, _ = simulate(sorted([*flood, *calm], key=lambda one: one[0]))
    rates = {
        client: sum(o.kind == "answered" for o in outcomes if o.query.client == client)
        / sum(o.query.client == client for o in outcomes)
        for client in ("flood", "calm")
    }
    assert rates["calm"] > 0.95
    assert rates["flood"] < 0.5


def test_costs_follow_the_machine_and_one_slow_run_refuses_nobody() -> None:
    costs = Costs((1.0, 2.0))
    for tenth in range(20):
        costs.observe(0, 1.0, tenth / 10)
    costs.observe(0, 50.0, 2.0)
    assert costs.seconds == [1.0, 2.0]
    for tenth in range(20, 28):
        costs.observe(0, 5.0, tenth / 10)
    assert costs.seconds == [5.0, 2.0]
    assert costs.between(-1, 1) == 7.0
    costs.look(4.0)  # with nothing younger, as good as it ever was
    assert costs.seconds == [5.0, 2.0]
    costs.look(5.0)
    assert costs.seconds == [1.0, 2.0]


def test_after_a_slow_spell_queries_are_let_in_again() -> None:
    plan = Plan(Costs((1.0,)), 1)
    for tenth in range(10):
        plan.costs.observe(0, 9.0, tenth / 10)
    assert plan.submit(Request(due=3.0), 1.0) == math.inf
    assert plan.submit(Request(due=6.0), 4.0) == 0.0
