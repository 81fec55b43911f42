"""Networks evaluated one after the other, behind the interface of one with exits."""

import numpy as np
import pytest
import torch

from dare import BACKBONES, DaRe, count_macs, measure, open_runner
from dare.images import Preparation
from dare.models.checkpoints import Architecture, Checkpoint
from dare.runners.cascade import Cascade
from dare.runners.eager import EagerRunner


def network(dimension: int, seed: int = 0, **settings: object) -> Checkpoint:
    torch.manual_seed(seed)
    architecture = Architecture("slim", embedding_dim=dimension, **settings)  # type: ignore[arg-type]
    model = architecture.build().eval()
    return Checkpoint(
        model, architecture, Preparation(64, 32), count_macs(model, 64, 32), {}, f"digest {seed}", "shared"
    )


@pytest.fixture(scope="module")
def parts() -> list[Checkpoint]:
    return [network(4, 0, taps=(4,), fusion=False), network(6, 1), network(5, 2, taps=(1, 2), fusion=False)]


IMAGES = np.random.default_rng(0).normal(size=(3, 3, 64, 32)).astype(np.float32)


def test_each_network_is_an_exit_with_its_own_last_vectors_and_costs_add_up(parts: list[Checkpoint]) -> None:
    cascade = open_runner(parts, "eager")
    alone = [EagerRunner(part) for part in parts]
    found = list(cascade.exits(IMAGES))
    assert [vectors.shape for vectors in found] == [(3, 4), (3, 6), (3, 5)]
    for vectors, runner in zip(found, alone, strict=True):
        np.testing.assert_array_equal(vectors, list(runner.exits(IMAGES))[-1])
    stages, fused = cascade.embed(IMAGES)
    assert fused is None
    assert len(stages) == len(cascade.exit_names) == len(cascade.stage_names) == 3
    assert cascade.costs.macs == tuple(np.cumsum([runner.costs.macs[-1] for runner in alone]).tolist())
    assert "cascade of 3 networks" in cascade.costs.source
    assert cascade.space == "own"


def test_resnets_cost_what_the_paper_adds_up() -> None:
    """1.18 / 3.58 / 6.25 G multiply-adds; a head of 1024 units and 128 dimensions included."""
    runners = [EagerRunner(DaRe(BACKBONES[name](), taps=[4], fusion=False)) for name in ("resnet18", "resnet34")]
    assert [round(macs / 1e9, 2) for macs in Cascade(runners).costs.macs] == [1.19, 3.58]


def test_a_network_runs_only_when_it_is_asked_for_and_for_whom_is_left(parts: list[Checkpoint]) -> None:
    cascade = open_runner(parts, "eager")
    full = list(cascade.exits(IMAGES))
    ran: list[int] = []
    hooks = [
        part.model.steps[0].register_forward_pre_hook(lambda _, args: ran.append(len(args[0])))  # type: ignore[func-returns-value]
        for part in parts
    ]
    walk = cascade.walk(IMAGES)
    assert ran == []
    np.testing.assert_array_equal(walk.exit(), full[0])
    assert ran == [3]
    walk.keep([2, 0])
    np.testing.assert_allclose(walk.exit(), full[1][[2, 0]], rtol=1e-4, atol=1e-6)
    assert ran == [3, 2]
    for hook in hooks:
        hook.remove()


def test_a_stop_between_blocks_ends_the_cascade(parts: list[Checkpoint]) -> None:
    asked = 0

    def stop(after: int) -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    blocks = []
    for exits in range(3):
        asked = 0
        walk = open_runner(parts[: exits + 1], "eager").walk(IMAGES)
        while walk.exit(lambda: stop(10**6)) is not None:
            pass
        blocks.append(asked)
    for exits, (before, until) in enumerate(zip([0, *blocks[:-1]], blocks, strict=True)):
        for after in (before, until - 1):
            asked = 0
            assert len(list(open_runner(parts, "eager").exits(IMAGES, lambda after=after: stop(after)))) == exits


def test_a_digest_stands_for_all_of_them_and_their_order(parts: list[Checkpoint]) -> None:
    assert len(open_runner(parts, "eager").digest) == 64
    assert open_runner(parts, "eager").digest != open_runner(parts[::-1]).digest
    assert open_runner(parts[:1], "eager").digest == "digest 0"
    nameless = EagerRunner(DaRe(BACKBONES["slim"]()))
    assert Cascade([nameless, nameless]).digest == ""


def test_networks_that_take_other_pictures_are_refused(parts: list[Checkpoint]) -> None:
    with pytest.raises(ValueError, match="prepared alike"):
        Cascade([EagerRunner(parts[0]), EagerRunner(DaRe(BACKBONES["slim"]()))])
    with pytest.raises(ValueError, match="at least one"):
        open_runner([])


def test_times_are_middles_and_slow_ends_of_what_the_clock_said(parts: list[Checkpoint]) -> None:
    now = 0.0
    runner = open_runner(parts[:1], "eager")
    waits = iter([*(0.0 for _ in range(5)), *np.random.default_rng(0).permutation(101) / 100])

    def search(exit: int, vectors: np.ndarray) -> None:
        nonlocal now
        now += 1 + next(waits)

    times = measure(runner, repeats=101, search=search, clock=lambda: now)
    assert times.median == pytest.approx((1.5,))
    assert times.slow == pytest.approx((1.95,))
    assert times.steps == pytest.approx((1.95,))
    assert times.longest_block == pytest.approx(1.95)


def test_times_rise_from_exit_to_exit_and_the_search_is_part_of_them(parts: list[Checkpoint]) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001
        return now

    runner = open_runner(parts, "eager")
    searched: list[int] = []

    def search(exit: int, vectors: np.ndarray) -> None:
        nonlocal now
        searched.append(exit)
        now += 0.5
        assert len(vectors) == 2

    times = measure(runner, batch=2, repeats=3, search=search, searched="a search of half a second", clock=clock)
    assert searched[:3] == [0, 1, 2]
    assert all(step > 0.5 for step in times.steps)
    assert times.median == pytest.approx(np.cumsum(times.steps))
    assert 0.5 < times.longest_block < 0.6
    assert "batch 2, a search of half a second" in times.source
    assert "cascade of 3 networks" in times.source
    assert times.mean([0, 2]) == pytest.approx((times.median[0] + times.median[2]) / 2)
    with pytest.raises(ValueError, match="at least 1"):
        measure(runner, repeats=0)
