"""What a training computes in: chosen once by measurement, without a trace; depthwise gradients as in float32."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_market
from test_train import SMALL, StopAfter, assert_same_weights
from torch import nn

import dare.training.precision
import dare.training.train
from dare.datasets import Sample, market1501
from dare.models.checkpoints import load_checkpoint
from dare.training.precision import choose_precision, computing
from dare.training.train import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    return market1501(make_market(tmp_path_factory.mktemp("data") / "market", train_people=6)).train


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that a step takes in each precision, by a clock of the test's own."""
    seconds = {"fp32": 1.0, "bf16": 1.0}
    now, precision = 0.0, "fp32"

    def tick() -> float:
        nonlocal now
        now += seconds[precision]
        return now

    def computing_as_said(chosen: str, device: torch.device) -> object:
        nonlocal precision
        precision = chosen
        return computing(chosen, device)

    monkeypatch.setattr(dare.training.precision.time, "process_time", tick)
    monkeypatch.setattr(dare.training.precision, "computing", computing_as_said)
    monkeypatch.setattr(dare.training.precision, "_has_bf16", lambda: True)
    return seconds


@pytest.mark.parametrize(("bf16", "chosen"), [(0.5, "bf16"), (0.95, "fp32"), (2.0, "fp32")])
def test_the_faster_precision_is_taken_and_kept(
    samples: tuple[Sample, ...], tmp_path: Path, clock: dict[str, float], bf16: float, chosen: str
) -> None:
    clock["bf16"] = bf16
    auto, fixed = replace(SMALL, precision="auto"), replace(SMALL, precision=chosen)  # type: ignore[arg-type]
    measured = train(samples, tmp_path / "auto", auto, should_stop=StopAfter(3))
    assert measured.training["precision"] == chosen
    clock["bf16"] = 2.5 - bf16  # measured anew it might be the other one
    resumed = train(samples, tmp_path / "auto", auto, resume=True)
    assert resumed.training["precision"] == load_checkpoint(tmp_path / "auto").training["precision"] == chosen
    assert_same_weights(resumed, train(samples, tmp_path / "fixed", fixed))


def test_nothing_is_measured_where_a_precision_is_given_or_the_cpu_has_no_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(iteration: int) -> tuple[torch.Tensor, torch.Tensor]:
        raise AssertionError("a batch was prepared")

    nobody = nn.Identity()
    for asked in ("fp32", "bf16"):
        assert choose_precision(asked, CPU, nobody, nobody, none, 0) == asked  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    assert choose_precision("auto", CPU, nobody, nobody, none, 0) == "fp32"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "bias"), [(3, 1, 1, False), (3, 2, 1, True), (5, 2, 1, False), (3, 1, 2, True)]
)
def test_depthwise_gradients_are_those_of_float32(kernel: int, stride: int, dilation: int, bias: bool) -> None:
    torch.manual_seed(0)
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups=6, bias=bias)
    images = torch.randn(2, 6, 12, 8).bfloat16().float().requires_grad_()
    with computing("bf16", CPU):
        made = layer(images)
    assert made.dtype == torch.bfloat16
    gradient = torch.randn(made.shape).bfloat16()
    made.backward(gradient)
    mine = [images.grad, *(weight.grad for weight in layer.parameters())]
    same = F.conv2d(images, layer.weight, layer.bias, stride, padding, dilation, 6)
    expected = torch.autograd.grad(same, [images, *layer.parameters()], gradient.float())
    torch.testing.assert_close(made.float(), same, atol=0.05, rtol=0.02)
    for ours, theirs in zip(mine, expected, strict=True):
        assert ours is not None
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs)


def test_other_convolutions_are_left_alone_and_float32_is_exact() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 6, 12, 8)
    for layer in (nn.Conv2d(6, 4, 3), nn.Conv2d(6, 6, 3, groups=3), nn.Conv2d(6, 6, 3, padding="same", groups=6)):
        with torch.autocast("cpu", torch.bfloat16):
            expected = layer(images)
        with computing("bf16", CPU):
            assert torch.equal(layer(images), expected)
        with computing("fp32", CPU):
            assert torch.equal(
                layer(images), F.conv2d(images, layer.weight, layer.bias, 1, layer.padding, 1, layer.groups)
            )
