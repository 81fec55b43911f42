"""What every backbone must offer, whoever wrote it."""

import copy
from collections.abc import Callable
from functools import lru_cache

import pytest
import torch
from torch import nn

from dare.models import BACKBONES, DaRe, Stage, count_macs
from dare.models.activation_maps import activation_maps
from dare.models.backbones import build_backbone
from dare.models.dare import blocks_of
from dare.models.omni import Parts
from dare.models.stage import GlobalAveragePool, StripePool

VARIANTS: dict[str, Callable[[], list[Stage]]] = {
    **BACKBONES,
    "timm/mobilenetv3_small_050": lambda: build_backbone("timm/mobilenetv3_small_050"),
    "timm/convnext_atto": lambda: build_backbone("timm/convnext_atto"),
}

LIKE_OTHERS = ("lite1", "lite2", "densenet121", "densenet161", "densenet169", "omni", "omni75", "omni50")
"""Built by the same lines as `lite0`, `densenet201` and `omni25`: what holds for those holds for these, slower."""

every_backbone = pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, id=name, marks=[pytest.mark.heavy] if name in LIKE_OTHERS else [])
        for name, build in VARIANTS.items()
    ],
    scope="module",  # so that all tests of a backbone run one after the other, and it is built once for them
)


@lru_cache(maxsize=1)
def built(build: Callable[[], list[Stage]]) -> DaRe:
    torch.manual_seed(0)
    return DaRe(build()).eval()


def seeded(build: Callable[[], list[Stage]]) -> DaRe:
    """A copy, to be changed at will."""
    model = copy.deepcopy(built(build))
    torch.manual_seed(1)
    return model


@every_backbone
def test_a_tap_gives_the_declared_channels_at_several_input_sizes(build: Callable[[], list[Stage]]) -> None:
    stages = build()
    for height, width in ((64, 32), (80, 48)):
        features = torch.randn(2, 3, height, width)
        for stage in stages:
            features = stage.body.eval()(features)
            assert stage.tap.eval()(features).shape == (2, stage.channels)


@every_backbone
@torch.no_grad()
def test_lazy_exits_equal_the_full_pass(build: Callable[[], list[Stage]]) -> None:
    model = seeded(build)
    images = torch.randn(3, 3, 64, 32)
    full = model(images)
    assert full.stages.shape == (4, 3, 128)
    exits = list(model.exits(images))
    assert len(exits) == 4
    for vector, expected in zip(exits, [*full.stages[:3], full.fused], strict=True):
        torch.testing.assert_close(vector, expected, rtol=0, atol=0)


@every_backbone
@torch.no_grad()
def test_exits_come_unchanged_until_a_stop_between_blocks(build: Callable[[], list[Stage]]) -> None:
    model = seeded(build)
    images = torch.randn(1, 3, 64, 32)
    full = list(model.exits(images))
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > allowed

    found, allowed = [], 10**6
    for vector, expected in zip(model.exits(images, stop), full, strict=True):
        torch.testing.assert_close(vector, expected, rtol=0, atol=0)
        found.append(asked)
    assert found[0] >= 2  # a stage is more than one block, so a late stop costs less than a stage
    assert len(list(model.exits(images, lambda: True))) == 0
    for exits, blocks in enumerate(found[:3], start=1):
        asked, allowed = 0, blocks
        assert len(list(model.exits(images, stop))) == exits


@every_backbone
def test_a_stage_runs_only_when_its_exit_is_asked_for(build: Callable[[], list[Stage]]) -> None:
    model = seeded(build)
    ran: list[int] = []
    for number, step in enumerate(model.steps):
        step.register_forward_hook(lambda *_, number=number: ran.append(number))
    exits = model.exits(torch.zeros(1, 3, 64, 32))
    assert ran == []
    for number in range(4):
        next(exits)
        assert ran == list(range(number + 1))


@every_backbone
@torch.no_grad()
def test_a_batch_may_shrink_on_the_way(build: Callable[[], list[Stage]]) -> None:
    model = seeded(build)
    features = images = torch.randn(4, 3, 64, 32)
    full = model(images)
    vectors, rows = torch.empty(0, 4, 128), [0, 1, 2, 3]
    for step, expected, kept in zip(model.steps, full.stages, ([0, 2, 3], [2, 1], [0], [0]), strict=True):
        features = step(features)
        vectors = torch.cat([vectors, step.embed(features)[None]])  # type: ignore[operator]
        torch.testing.assert_close(vectors[-1], expected[rows])
        rows, features = [rows[row] for row in kept], features[kept]
        vectors = vectors[:, kept]
    torch.testing.assert_close(model.fusion(vectors), full.fused[rows])  # type: ignore[index, misc]


@every_backbone
def test_every_weight_is_trained(build: Callable[[], list[Stage]]) -> None:
    model = seeded(build).train()
    model(torch.randn(4, 3, 64, 32)).all().square().sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@every_backbone
def test_costs_rise_from_exit_to_exit(build: Callable[[], list[Stage]]) -> None:
    assert len(count_macs(seeded(build), 64, 32).macs) == 4


@every_backbone
@torch.no_grad()
def test_activation_maps_are_of_what_is_pooled(build: Callable[[], list[Stage]]) -> None:
    model, pooled = seeded(build), []
    # AlexNet flattens its last map into a fully connected layer, and has one module that pools the others.
    kinds = GlobalAveragePool | StripePool | Parts | nn.Flatten
    for pool in {next(part for part in blocks_of(step.tap) if isinstance(part, kinds)) for step in model.steps}:
        pool.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    images = torch.randn(2, 3, 64, 32)
    model(images)
    expected = [(features**2).sum(1) for features in pooled[:4]]
    for map, wanted in zip(activation_maps(model, images), expected, strict=True):
        torch.testing.assert_close(map, wanted)
        assert (map >= 0).all()
        assert map.shape[1] >= map.shape[2]  # upright, as the pictures


@every_backbone
@torch.no_grad()
def test_weights_go_to_disk_and_back(build: Callable[[], list[Stage]]) -> None:
    model, other = seeded(build), DaRe(build()).eval()
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(model(images).stages, other(images).stages, rtol=0, atol=0)


def test_builders_need_no_arguments_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a builder tried to download")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for build in BACKBONES.values():
        with torch.device("meta"):  # no time for random numbers
            assert all(isinstance(stage.body, nn.Module) for stage in build())
