"""How a step is computed: the precision that is chosen, memory that is kept, gradients of depthwise convolutions."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_market
from test_train import SMALL, StopAfter, assert_same_weights
from torch import nn

import dare.training.computing
from dare.datasets import Sample, market1501
from dare.models.checkpoints import load_checkpoint
from dare.training.computing import choose_precision, computing, memory_kept
from dare.training.convolutions import FastConvolutions, weight_gradients
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

    monkeypatch.setattr(dare.training.computing.time, "process_time", tick)
    monkeypatch.setattr(dare.training.computing, "computing", computing_as_said)
    monkeypatch.setattr(dare.training.computing, "_has_bf16", lambda: True)
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


FAULTS = """
import resource, torch
from dare.training.computing import memory_kept

def faults():
    for turn in range(16):
        if turn == 8:  # the first ones make room
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = torch.ones(16, 1 << 20)  # 64 MB, more than glibc ever keeps
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

torch.set_num_threads(1)
before, usual = resident(), faults()
with memory_kept():
    kept = faults()
print(usual, kept, resident() - before)
"""


@pytest.mark.heavy
@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="not glibc")
def test_large_blocks_stay_within_and_go_back_behind() -> None:
    """In a process of its own: what other tests have freed would be found again."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept, grown = map(int, done.stdout.split())
    assert usual > 100
    assert kept < usual / 4
    assert grown < usual / 8  # the pages of one block


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dare.training.computing.os, "confstr_names", {})
    monkeypatch.setattr(dare.training.computing.ctypes, "CDLL", None)
    with memory_kept():
        pass


def test_an_error_within_comes_through() -> None:
    with pytest.raises(ValueError, match="as it was"), memory_kept():
        raise ValueError("as it was")


CPU = torch.device("cpu")
SHAPES = [  # kernel, stride, padding, dilation, bias
    (3, 1, 1, 1, False),
    (3, 2, 1, 1, True),
    (5, 2, 2, 1, False),
    (5, 1, 0, 1, True),
    ((3, 5), (2, 1), (0, 2), (1, 2), False),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "bias"), SHAPES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_are_those_of_torch_in_float32(
    precision: str, kernel: int, stride: int, padding: int, dilation: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups=6, bias=bias)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(weight.bfloat16())  # so that nothing is lost by rounding what goes in
    images = torch.randn(3, 6, 12, 9).bfloat16().float().to(memory_format=torch.channels_last).requires_grad_()
    with computing(precision, CPU):
        made = layer(images)
    assert made.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    gradient = torch.randn(made.shape).bfloat16()
    made.backward(gradient.to(made.dtype))
    mine = [images.grad, *(weight.grad for weight in layer.parameters())]
    same = F.conv2d(images, layer.weight, layer.bias, stride, padding, dilation, 6)
    expected = torch.autograd.grad(same, [images, *layer.parameters()], gradient.float())
    torch.testing.assert_close(made.float(), same, atol=0.02, rtol=0.02)
    for ours, theirs in zip(mine, expected, strict=True):
        assert ours is not None
        assert ours.dtype == torch.float32
        rounded = precision == "bf16" and ours is mine[0]  # of the images, as of any layer's in bfloat16
        torch.testing.assert_close(ours, theirs, atol=0.05 if rounded else 1e-4, rtol=0.02 if rounded else 1e-5)


def test_threads_divide_the_pictures_and_always_alike() -> None:
    torch.manual_seed(0)
    images = torch.randn(5, 4, 9, 7).to(memory_format=torch.channels_last)
    gradient = torch.randn(5, 4, 9, 7).to(memory_format=torch.channels_last)
    settings = ((5, 5), (1, 1), (2, 2), (1, 1))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3, 3, 8):
            torch.set_num_threads(threads)
            found.append(weight_gradients(images, gradient, *settings))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[2])
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_other_convolutions_are_left_alone() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 6, 12, 8).to(memory_format=torch.channels_last).requires_grad_()
    plain, in_threes = nn.Conv2d(6, 4, 3), nn.Conv2d(6, 6, 3, groups=3)
    wider, same = nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(6, 6, 3, padding="same", groups=6)
    for layer in (plain, in_threes, wider, same):
        expected = layer(images)
        with FastConvolutions(bf16=False):
            made = layer(images)
        assert torch.equal(made, expected)
        assert "Depthwise" not in type(made.grad_fn).__name__
    first = nn.Conv2d(6, 6, 3, groups=6)
    with FastConvolutions(bf16=False):
        assert "Depthwise" in type(first(images).grad_fn).__name__
        assert "Depthwise" not in type(first(images.contiguous()).grad_fn).__name__
        with torch.no_grad():
            assert torch.equal(first(images), F.conv2d(images, first.weight, first.bias, groups=6))


def test_what_switches_bfloat16_off_stays_in_float32() -> None:
    layer = nn.Conv2d(6, 6, 3, groups=6)
    images = torch.randn(2, 6, 8, 8).to(memory_format=torch.channels_last)
    with computing("bf16", CPU), torch.autocast("cpu", enabled=False):
        assert layer(images).dtype == torch.float32
