"""What every baseline must offer: the interface of `DaRe`, and a training by the common loop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dare.anytime.costs import ExitCosts
from dare.datasets import Benchmark, Sample, market1501
from dare.evaluation.embedding import embed
from dare.evaluation.evaluate import evaluate
from dare.exporting.writing import export
from dare.images.preparation import Preparation
from dare.models import DaRe, count_macs
from dare.models.baselines import BASELINES
from dare.models.checkpoints import Architecture, Checkpoint, load_checkpoint, read_tensors, save_checkpoint
from dare.runners.eager import open_eager
from dare.runners.opening import open_runner
from dare.training.batches import Batch
from dare.training.config import TrainConfig
from dare.training.losses import build_objective
from dare.training.monitor import Progress
from dare.training.presets import PRESETS, configure
from dare.training.state import STATE_FILE
from dare.training.train import train

FRAMES = {"st-rnn": 3}
"""Pictures to a vector, in the baselines that take tracklets."""

every_baseline = pytest.mark.parametrize("name", BASELINES)


@pytest.fixture(scope="module")
def benchmark(crowd: Path) -> Benchmark:
    return market1501(crowd)


def samples(name: str, benchmark: Benchmark) -> tuple[Sample, ...]:
    """What to train on: pictures, or tracklets of two."""
    if name not in FRAMES:
        return benchmark.train
    pairs = zip(benchmark.train[::2], benchmark.train[1::2], strict=True)
    return tuple(Sample((*first.images, *second.images), first.person, first.camera) for first, second in pairs)


def size(name: str) -> Preparation:
    return Preparation(64, 32, frames=FRAMES.get(name, 1))


def architecture(name: str) -> Architecture:
    """On a trunk that takes no time."""
    vectors = {"ide": 0, "pan": 0}
    return Architecture("tiny", embedding_dim=vectors.get(name, 16), network=name)


def seeded(name: str) -> DaRe:
    torch.manual_seed(0)
    return architecture(name).build(frames=size(name).frames).eval()


def settings(name: str, iterations: int) -> TrainConfig:
    """The baseline's own preset, made small."""
    config = configure(
        PRESETS[name],
        {
            "iterations": iterations,
            "height": size(name).height,
            "width": size(name).width,
            "frames": size(name).frames,
            "weights": "none",
            "people": 12,
            "images": 4,
            "learning_rate": 3e-3,
            "precision": "fp32",
            "log_every": 1,
            **({"rounds": 2} if name == "svdnet" else {}),
        },
    )
    return replace(config, architecture=architecture(name))


def pictures(name: str, count: int) -> torch.Tensor:
    """Or so many tracklets."""
    wanted = size(name)
    shape = count * wanted.frames, 3, wanted.height, wanted.width
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def count(name: str, model: DaRe) -> ExitCosts:
    return count_macs(model, size(name).height, size(name).width)


@every_baseline
def test_it_is_built_without_a_network_connection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a builder tried to download")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert PRESETS[name].architecture.network == name
    with torch.device("meta"):  # no time for random numbers
        built = PRESETS[name].architecture.build()
    assert built.exit_names == seeded(name).exit_names


@every_baseline
@torch.no_grad()
def test_its_only_exit_is_the_full_pass_and_comes_when_it_is_asked_for(name: str) -> None:
    model, images = seeded(name), pictures(name, 3)
    ran = []
    for step in model.steps:
        step.register_forward_hook(lambda *_: ran.append(1))
    exits = model.exits(images)
    assert not ran
    (vectors,) = exits
    assert len(ran) == len(model.steps)
    full = model(images)
    assert full.fused is None
    assert full.stages.shape == (1, 3, vectors.shape[1])
    torch.testing.assert_close(vectors, full.stages[0], rtol=0, atol=0)
    assert len(model.exit_names) == len(model.embedding_names) == 1


@every_baseline
@torch.no_grad()
def test_it_stops_between_blocks(name: str) -> None:
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    assert list(seeded(name).exits(pictures(name, 1), stop)) == []
    assert len(asked) == 3


@every_baseline
def test_it_goes_to_disk_and_back_and_runs_there_as_here(name: str, tmp_path: Path) -> None:
    model = seeded(name)
    checkpoint = Checkpoint(model, architecture(name), size(name), count(name, model))
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    loaded = load_checkpoint(tmp_path)
    assert loaded.architecture == checkpoint.architecture
    assert loaded.costs == checkpoint.costs
    images = pictures(name, 5).numpy()
    (expected,), _ = open_eager(checkpoint).embed(images)
    assert np.abs(expected).max() > 0
    for runner in ("eager", "prepacked"):
        (found,), fused = open_runner(loaded, runner).embed(images)
        assert fused is None
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@every_baseline
def test_every_weight_learns(name: str) -> None:
    model, people = seeded(name).train(), np.repeat(np.arange(3), 4)
    objective = build_objective(settings(name, 20), model, people)
    with torch.no_grad():  # a layer that starts at 0 lets nothing through to those before it at the first step
        for weight in model.parameters():
            weight.add_(0.0 if weight.any() else 0.01 * torch.randn_like(weight))
    losses = objective(model, Batch(pictures(name, 12), torch.from_numpy(people)), 0)
    assert len(losses.each) == len(objective.names)
    assert len(losses.scales) == len(model.embedding_names)
    losses.total.backward()
    weights = [*model.named_parameters(), *objective.named_parameters()]
    assert [name for name, weight in weights if weight.grad is None or not weight.grad.any()] == []


@every_baseline
def test_the_cost_is_that_of_inference_whatever_it_was_trained_on(
    name: str, benchmark: Benchmark, tmp_path: Path
) -> None:
    config = settings(name, 20)
    few = train(samples(name, benchmark)[:24], tmp_path / "few", config, should_stop=lambda: True)
    all = train(samples(name, benchmark), tmp_path / "all", config, should_stop=lambda: True)
    assert few.costs == all.costs == count(name, seeded(name))
    assert few.model.state_dict().keys() == seeded(name).state_dict().keys()


@every_baseline
@pytest.mark.heavy
def test_it_learns_to_tell_people_apart(name: str, benchmark: Benchmark, tmp_path: Path) -> None:
    config = settings(name, 40)
    before = train(samples(name, benchmark), tmp_path / "before", config, should_stop=lambda: True)
    after = train(samples(name, benchmark), tmp_path / "after", config)
    assert accuracy(after, benchmark) > 2 * accuracy(before, benchmark)


@every_baseline
def test_it_trains_in_bfloat16_too(name: str, benchmark: Benchmark, tmp_path: Path) -> None:
    config = replace(settings(name, 20), precision="bf16")
    told: list[Progress] = []
    made = train(
        samples(name, benchmark),
        tmp_path,
        config,
        on_progress=told.append,
        should_stop=lambda: told[-1].done == 2,
    )
    assert made.training["iterations"] == 2
    assert told[0].remark == ""
    assert told[-1].loss == pytest.approx(sum(told[-1].losses.values()), rel=1e-5)
    assert told[-1].remark == f"loss {told[-1].loss:.3f}"


@every_baseline
@pytest.mark.heavy
def test_a_resumed_run_ends_with_the_same_bits(name: str, benchmark: Benchmark, tmp_path: Path) -> None:
    config, done = settings(name, 11), []

    def stop() -> bool:
        done.append(1)
        return len(done) == 6

    whole = train(samples(name, benchmark), tmp_path / "whole", config)
    train(samples(name, benchmark), tmp_path / "parts", config, should_stop=stop)
    resumed = train(samples(name, benchmark), tmp_path / "parts", config, resume=True)
    assert resumed.training["iterations"] == 11
    for weight, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[weight]), weight
    both = [read_tensors(tmp_path / run / STATE_FILE, "training state")[0] for run in ("whole", "parts")]
    assert both[0].keys() == both[1].keys()
    assert all(torch.equal(tensor, both[1][part]) for part, tensor in both[0].items())


def accuracy(checkpoint: Checkpoint, benchmark: Benchmark) -> float:
    """mAP of the only exit."""
    samples = (*benchmark.query, *benchmark.gallery)
    result = evaluate(embed(open_eager(checkpoint), samples, root=benchmark.root), benchmark)
    return float(result.exits[0].scores.mean_average_precision)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["ide", "pan", "mscan"])
def test_it_is_exported(name: str, tmp_path: Path) -> None:
    model = seeded(name)
    checkpoint = Checkpoint(model, architecture(name), size(name), count(name, model))
    export(checkpoint, tmp_path / "steps", "onnx")
    (found,), _ = open_runner(tmp_path / "steps").embed(pictures(name, 5).numpy())
    (expected,), _ = open_eager(checkpoint).embed(pictures(name, 5).numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
