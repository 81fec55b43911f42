"""What a training computes in: chosen once by measurement, without a trace."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_market
from test_train import SMALL, StopAfter, assert_same_weights
from torch import nn

import dare.training.precision
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
