"""Networks evaluated one after the other, behind the interface of one with exits."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import graph, save
from PIL import Image

from dare import BACKBONES, DaRe, ExitCosts, count_macs, measure, open_runner
from dare.images.preparation import Preparation, prepare
from dare.models.checkpoints import Architecture, Checkpoint
from dare.runners.cascade import cascade_of
from dare.runners.eager import open_eager
from dare.runners.preparations import FAMILIES
from dare.runners.runner import Runner, Steps, StepWalk
from dare.runners.timing import TURN, WARM_UP


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
    alone = [open_eager(part) for part in parts]
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
    runners = [open_eager(DaRe(BACKBONES[name](), taps=[4], fusion=False)) for name in ("resnet18", "resnet34")]
    assert [round(macs / 1e9, 2) for macs in cascade_of(runners).costs.macs] == [1.19, 3.58]


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
    nameless = open_eager(DaRe(BACKBONES["slim"]()))
    assert cascade_of([nameless, nameless]).digest == ""


class Echo:
    """A network whose vectors are the image that it was given; it keeps what it got."""

    def __init__(self, preparation: Preparation) -> None:
        steps = Steps((True,), None, False, self.run)
        costs, names = ExitCosts((1,), "counted by hand"), ("network",)
        begin = partial(StepWalk, steps)
        self.runner = Runner(names, names, preparation, costs, "d", "fp32", "own", "an echo", begin)
        self.got: list[np.ndarray] = []

    def run(self, step: int, features: np.ndarray, stop: object) -> tuple[None, np.ndarray]:
        self.got.append(features)
        return None, features.reshape(len(features), math.prod(features.shape[1:]))


def cascade_of_echoes(*echoes: Echo) -> Runner:
    return cascade_of([echo.runner for echo in echoes])


PICTURES = np.random.default_rng(0).integers(0, 256, (4, 64, 32, 3), dtype=np.uint8)
OTHER = Preparation(64, 32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.7))
AS_THEY_ARE = FAMILIES["openvino-retail"].at(64, 32)
SMALLER = Preparation(48, 24)


def test_networks_that_take_one_size_get_to_the_last_bit_what_they_get_alone() -> None:
    networks = [Echo(Preparation(64, 32)), Echo(OTHER), Echo(AS_THEY_ARE)]
    cascade = cascade_of_echoes(*networks)
    images = prepare(PICTURES, cascade.preparation)
    np.testing.assert_array_equal(images, PICTURES.transpose(0, 3, 1, 2))
    cascade.embed(images)
    for network in networks:
        (got,) = network.got
        np.testing.assert_array_equal(got, prepare(PICTURES, network.runner.preparation))
        assert got.dtype == np.float32


def test_a_smaller_network_gets_the_pixels_resized_and_only_of_whom_is_left() -> None:
    small, large = Echo(SMALLER), Echo(AS_THEY_ARE)
    cascade = cascade_of_echoes(large, small)
    assert (cascade.preparation.height, cascade.preparation.width) == (64, 32)
    walk = cascade.walk(prepare(PICTURES, cascade.preparation))
    walk.exit()
    assert small.got == []
    walk.keep([3, 1])
    walk.exit()
    pillow = [Image.fromarray(PICTURES[row]).resize((24, 48), Image.Resampling.BILINEAR) for row in (3, 1)]
    np.testing.assert_allclose(
        small.got[0], prepare(np.stack([np.asarray(one) for one in pillow]), SMALLER), atol=1.1 / 255 / 0.224
    )
    assert walk.exit() is None


def test_each_side_is_the_largest_of_all_and_other_images_are_refused() -> None:
    high, wide = Echo(Preparation(64, 24)), Echo(Preparation(48, 32))
    cascade = cascade_of_echoes(high, wide)
    assert cascade.preparation == Preparation(64, 32, (0, 0, 0), (1 / 255, 1 / 255, 1 / 255))
    stages, _ = cascade.embed(prepare(PICTURES, cascade.preparation))
    assert [rows.shape for rows in stages] == [(4, 3 * 64 * 24), (4, 3 * 48 * 32)]
    assert [len(rows) for rows in cascade.embed(prepare(PICTURES[:0], cascade.preparation))[0]] == [0, 0]
    with pytest.raises(ValueError, match=r"expected images \(B, 3, 64, 32\), got shape \(4, 3, 48, 24\)"):
        cascade.embed(np.zeros((4, 3, 48, 24), np.float32))


def test_networks_that_take_images_alike_get_them_as_they_came(parts: list[Checkpoint]) -> None:
    networks = [Echo(OTHER), Echo(OTHER)]
    cascade = cascade_of_echoes(*networks)
    assert cascade.preparation == OTHER
    cascade.embed(IMAGES)
    for network in networks:
        assert np.shares_memory(network.got[0], IMAGES)
        assert network.got[0].shape == IMAGES.shape


def test_a_cascade_of_ours_and_theirs_answers_as_each_alone(parts: list[Checkpoint], tmp_path: Path) -> None:
    file = save(graph(height=64, width=32), tmp_path / "theirs.onnx")
    models = [parts[1], file]
    cascade = open_runner(models, preparation="torchreid")  # ImageNet's mean and deviation, as ours
    assert cascade.preparation == parts[1].preparation
    cascade = open_runner(models, preparation="fast-reid")
    theirs = open_runner(file, preparation="fast-reid")
    found = cascade.embed(prepare(PICTURES, cascade.preparation))[0]
    for vectors, alone in zip(found, (open_runner(parts[1]), theirs), strict=True):
        np.testing.assert_array_equal(vectors, list(alone.exits(prepare(PICTURES, alone.preparation)))[-1])
    assert cascade.costs.macs == (parts[1].costs.macs[-1], parts[1].costs.macs[-1] + theirs.costs.macs[0])
    assert "theirs.onnx" in cascade.costs.source
    assert "prepacked" in cascade.description
    assert "onnxruntime" in cascade.description


def test_what_makes_no_cascade_is_refused() -> None:
    with pytest.raises(ValueError, match="takes tracklets stands in a cascade only with"):
        cascade_of_echoes(Echo(Preparation(64, 32, frames=8)), Echo(Preparation(64, 32)))
    with pytest.raises(ValueError, match="at least one"):
        open_runner([])


def test_times_are_middles_and_slow_ends_of_what_the_clock_said(parts: list[Checkpoint]) -> None:
    now = 0.0
    runner = open_runner(parts[:1], "eager")
    timed = np.random.default_rng(0).permutation(101) / 100
    turns = [wait for at in range(0, 101, TURN) for wait in (0.0, *timed[at : at + TURN])]
    waits = iter([*(0.0 for _ in range(WARM_UP)), *turns])

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
