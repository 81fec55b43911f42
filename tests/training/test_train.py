"""A whole training on small pictures: it learns, resumes bit for bit, and stops with a reason."""

import csv
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_market, save_picture

import dare.training.losses
import dare.training.pictures
import dare.training.train
from dare.datasets import Sample, market1501
from dare.datasets.market import read_synthetic
from dare.images.preparation import Preparation
from dare.images.reading import UnreadableImageError
from dare.models.checkpoints import (
    Architecture,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    read_tensors,
    write_tensors,
)
from dare.synthetic import Knobs, draw_benchmark
from dare.training import monitor
from dare.training.config import TrainConfig
from dare.training.monitor import Progress, TrainingStoppedError
from dare.training.pictures import Augmentation, load_pictures
from dare.training.presets import PRESETS, configure
from dare.training.train import train

SMALL = TrainConfig(
    architecture=Architecture("slim", embedding_dim=16, hidden_dim=32),
    weights=None,
    preparation=Preparation(32, 16),
    augmentation=Augmentation(erasing=0.5, jitter=0.1),
    people=4,
    images=2,
    iterations=8,
    decay_start=4,
    learning_rate=1e-3,
    ease_in=0.5,
    average=0.9,
    precision="fp32",  # measured, it could differ from run to run
    log_every=1,
    save_every=100,
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Thirteen people: three batches of four in an epoch, one person left over."""
    return market1501(make_market(tmp_path_factory.mktemp("data") / "market", train_people=13)).train


@pytest.fixture(scope="module")
def whole_run(samples: tuple[Sample, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never interrupted; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(samples, folder, SMALL)
    return folder


@pytest.fixture
def whole(whole_run: Path) -> Checkpoint:
    """What came of it."""
    return load_checkpoint(whole_run)


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return checkpoint.model.state_dict()


def assert_same_weights(a: Checkpoint, b: Checkpoint) -> None:
    assert weights(a).keys() == weights(b).keys()
    for name, tensor in weights(a).items():
        assert torch.equal(tensor, weights(b)[name]), name


class StopAfter:
    """Asks for a stop after n iterations."""

    def __init__(self, iterations: int) -> None:
        self.left = iterations

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_a_training_leaves_a_checkpoint_and_metrics(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    seen: list[Progress] = []
    made = train(samples, tmp_path, SMALL, data_name="drawn", on_progress=seen.append)
    loaded = load_checkpoint(tmp_path)
    assert_same_weights(made, loaded)
    assert loaded.preparation == SMALL.preparation
    assert loaded.architecture == SMALL.architecture
    assert loaded.costs == made.costs
    assert loaded.digest == made.digest
    assert (loaded.training["data"], loaded.training["people"], loaded.training["iterations"]) == ("drawn", 13, 8)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == list(range(1, 9))
    assert float(rows[0]["loss fusion"]) > 0
    assert [progress.phase for progress in seen if progress.done == progress.total] == ["pictures", "training"]
    assert set(seen[-1].losses) == {"stage 1", "stage 2", "stage 3", "stage 4", "fusion"}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [3, 4, 6], ids=["at an epoch's end", "mid-epoch", "at the second epoch's end"])
def test_a_resumed_run_ends_with_the_same_bits(
    samples: tuple[Sample, ...], whole: Checkpoint, tmp_path: Path, stop: int, workers: int
) -> None:
    config = replace(SMALL, workers=workers)
    part = train(samples, tmp_path / "parts", config, should_stop=StopAfter(stop))
    assert part.training["iterations"] == stop
    resumed = train(samples, tmp_path / "parts", config, resume=True)
    assert_same_weights(whole, resumed)
    rows = (tmp_path / "parts" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(number) for number in range(1, 9)]


def test_a_finished_run_resumes_to_itself(
    samples: tuple[Sample, ...], whole: Checkpoint, whole_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole_run, tmp_path / "run")
    assert_same_weights(whole, train(samples, tmp_path / "run", SMALL, resume=True))


def test_the_seed_decides_and_nothing_else(samples: tuple[Sample, ...], whole: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(99)
    np.random.default_rng(99)
    assert_same_weights(whole, train(samples, tmp_path / "again", SMALL))
    other = train(samples, tmp_path / "other", replace(SMALL, seed=1))
    assert not torch.equal(*(weights(run)["fusion.weights"] for run in (whole, other)))


def test_mapped_pictures_train_as_those_in_memory_do(
    samples: tuple[Sample, ...], whole: Checkpoint, tmp_path: Path
) -> None:
    second = train(samples, tmp_path / "mapped", SMALL, memory_map=True)
    assert_same_weights(whole, second)
    assert len(list((tmp_path / "mapped").glob("pictures-*.npy"))) == 1
    assert not list((tmp_path / "mapped").glob("*.part"))
    assert_same_weights(second, train(samples, tmp_path / "mapped", SMALL, memory_map=True, resume=True))


def test_pictures_are_decoded_block_by_block(
    samples: tuple[Sample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [sample.images[0] for sample in samples]
    whole, _ = load_pictures(paths, 32, 16)
    monkeypatch.setattr(dare.training.pictures, "BLOCK", 5)
    paths[7] = tmp_path / "none.jpg"
    done: list[int] = []
    pictures, problems = load_pictures(paths, 32, 16, on_progress=done.append)
    assert done == list(range(1, len(paths) + 1))
    assert [problem.path for problem in problems] == [paths[7]]
    others = [row for row in range(len(paths)) if row != 7]
    assert np.array_equal(pictures[others], whole[others])
    assert not pictures[7].any()


def test_each_image_of_a_tracklet_is_a_picture_to_train_on(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    people = sorted({sample.person for sample in samples})
    tracklets = [
        Sample(tuple(sample.images[0] for sample in samples if sample.person == person), person, 1) for person in people
    ]
    trained = train(tracklets, tmp_path / "tracklets", SMALL)
    assert trained.training["pictures"] == len(samples)
    assert_same_weights(trained, train(sorted(samples, key=lambda s: s.person), tmp_path / "stills", SMALL))


def test_a_run_is_never_overwritten_or_resumed_as_another(
    samples: tuple[Sample, ...], whole_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(whole_run, tmp_path / "run")
    with pytest.raises(FileExistsError, match="holds a training already; resume it, or choose another folder"):
        train(samples, run, SMALL)
    with pytest.raises(CheckpointError, match=r"was trained with learning_rate=0.001, now it is 0.1"):
        train(samples, run, replace(SMALL, learning_rate=0.1), resume=True)
    with pytest.raises(CheckpointError, match="was trained on other pictures"):
        train(samples[:-1], run, SMALL, resume=True)


def test_a_run_from_before_a_setting_existed_resumes(
    samples: tuple[Sample, ...], whole: Checkpoint, tmp_path: Path
) -> None:
    train(samples, tmp_path / "parts", SMALL, should_stop=StopAfter(3))
    file = tmp_path / "parts" / "resume.safetensors"
    tensors, info, _ = read_tensors(file, "training state")
    del info["config"]["dropout"], info["config"]["architecture"]["network"]
    write_tensors(file, tensors, info)
    assert_same_weights(whole, train(samples, tmp_path / "parts", SMALL, resume=True))


def test_fine_tuning_starts_from_the_checkpoint(
    samples: tuple[Sample, ...], whole: Checkpoint, whole_run: Path, tmp_path: Path
) -> None:
    config = configure(SMALL, {"learning_rate": 1e-12, "iterations": 1, "average": 0.0}, whole_run)
    tuned = train(samples, tmp_path / "tuned", config, init=whole_run)
    for name, tensor in weights(tuned).items():
        if "running" not in name and "num_batches" not in name:  # one batch moves the batch norms' statistics
            torch.testing.assert_close(tensor, weights(whole)[name], atol=1e-6, rtol=0)


def test_fine_tuning_takes_over_the_network_and_its_input(whole_run: Path) -> None:
    config = configure(PRESETS["paper"], {"iterations": 6000}, whole_run)
    assert (config.architecture, config.preparation) == (SMALL.architecture, SMALL.preparation)
    assert (config.weights, config.decay_start) == (None, 3000)


def test_a_nan_stops_the_run_with_the_batch_and_the_state(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    with pytest.raises(TrainingStoppedError, match=r"the loss is (nan|inf), iteration \d+") as caught:
        train(samples, tmp_path, replace(SMALL, learning_rate=1e30))
    assert "_c1s1_" in str(caught.value)
    assert "nothing had been saved yet" in str(caught.value)
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_was_saved_before_a_nan_stays_sound(
    samples: tuple[Sample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, calls = dare.training.losses.triplet_losses, 0

    def nan_in_the_fifth(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return losses(*arguments) * (math.nan if calls == 5 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(dare.training.losses, "triplet_losses", nan_in_the_fifth)
    with pytest.raises(TrainingStoppedError, match=r"the loss is nan, iteration 4.*which --init can start from"):
        train(samples, tmp_path, replace(SMALL, save_every=2))
    kept = load_checkpoint(tmp_path)
    assert kept.training["iterations"] == 4
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights(kept).values())


def test_a_collapse_stops_the_run_and_names_the_exits(
    samples: tuple[Sample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "PATIENCE", 5)
    # A decay that outweighs every gradient shrinks all weights, and with them the embeddings.
    config = replace(SMALL, iterations=400, decay_start=400, weight_decay=1e4, learning_rate=3e-2)
    with pytest.raises(TrainingStoppedError, match=r"collapse: distances under 5 % .* at .*fusion.*mining eased in"):
        train(samples, tmp_path, config)


def test_too_few_people_are_an_error_and_leave_nothing(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    one = [sample for sample in samples if sample.person == 1]
    with pytest.raises(ValueError, match="at least 2 people to tell apart, got 1"):
        train(one, tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()
    two = [sample for sample in samples if sample.person in (1, 2)]
    assert train(two, tmp_path / "run", SMALL).training["people"] == 2


def test_unreadable_pictures_are_refused_or_left_out(tmp_path: Path) -> None:
    root = make_market(tmp_path / "market", train_people=4)
    bad = root / "bounding_box_train" / "0001_c1s1_000001_01.jpg"
    bad.write_bytes(bad.read_bytes()[:-200])
    (root / "bounding_box_train" / "0002_c1s1_000001_01.jpg").write_bytes(b"")
    found = market1501(root).train
    with pytest.raises(UnreadableImageError, match=r"0001_c1s1_000001_01.jpg: truncated .*1 more unreadable"):
        train(found, tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()
    skipped: list[UnreadableImageError] = []
    left = train(found, tmp_path / "run", SMALL, skipped=skipped)
    assert (left.training["pictures"], left.training["unreadable"], len(skipped)) == (22, 2, 2)


def test_tracklets_train_on_every_image(tmp_path: Path) -> None:
    tracklets = [
        Sample(tuple(save_picture(tmp_path / f"{person}_{n}.jpg", 10 * person + n) for n in range(3)), person, 1)
        for person in range(4)
    ]
    assert train(tracklets, tmp_path / "run", SMALL).training["pictures"] == 12


def test_without_deep_supervision_only_the_fused_loss_trains(
    samples: tuple[Sample, ...], whole: Checkpoint, tmp_path: Path
) -> None:
    alone = train(samples, tmp_path / "alone", replace(SMALL, deep_supervision=False))
    assert not torch.equal(*(weights(run)["steps.0.head.0.weight"] for run in (whole, alone)))
    with pytest.raises(ValueError, match="nothing to train on"):
        replace(SMALL, deep_supervision=False, architecture=replace(SMALL.architecture, fusion=False))


def test_bfloat16_trains_too(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    assert train(samples, tmp_path, replace(SMALL, precision="bf16", iterations=2)).training["iterations"] == 2


def test_tensorboard_events_are_written_where_wanted(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    train(samples, tmp_path, SMALL, tensorboard=True)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_the_papers_preset_is_the_papers() -> None:
    paper = PRESETS["paper"]
    assert (paper.people, paper.images, paper.iterations) == (18, 4, 60_000)
    assert paper.augmentation.erasing == 0.5
    assert (paper.preparation.height, paper.preparation.width) == (256, 128)
    assert paper.weights == "imagenet"
    assert paper.rate(0) == paper.rate(30_000) == 3e-4
    assert paper.rate(45_000) == pytest.approx(3e-4 * 0.001**0.5)
    assert paper.rate(60_000) == pytest.approx(3e-7)
    assert (paper.momentum(29_999), paper.momentum(30_000)) == (0.9, 0.5)
    assert (paper.beta2, paper.weight_decay, paper.margin, paper.ease_in) == (0.999, 1e-4, 0.0, 0.0)


def test_settings_find_their_place_and_wrong_ones_are_refused() -> None:
    config = configure(
        PRESETS["paper"], {"backbone": "slim", "height": 128, "erasing": 0.1, "weights": "none", "taps": [2, 4]}
    )
    assert (config.architecture.backbone, config.architecture.taps) == ("slim", (2, 4))
    assert (config.preparation.height, config.augmentation.erasing, config.weights) == (128, 0.1, None)
    for name, bad in (
        *(("people", value) for value in (1, "many", 10**400)),
        *(("seed", value) for value in (-1, 2**63, 0.5)),
        *(("learning_rate", value) for value in (0.0, math.nan, math.inf, 10**400, "high", True)),
        *(("workers", -1), ("warm_up", -5), ("precision", "fp8"), ("beta1", 2.0), ("iterations", 0)),
        *(("final_rate", 2.0), ("ease_in", 1.5), ("average", 1.0), ("deep_supervision", 1), ("erasing", 2.0)),
        *(("taps", 3), ("taps", ["a"]), ("height", "tall"), ("terms", 5), ("sizes", [1]), ("weights", 5)),
    ):
        with pytest.raises(ValueError, match=rf"^settings: (\w+\.)?{name}[.\d]*: expected "):
            configure(PRESETS["slim"], {name: bad})
    with pytest.raises(ValueError, match="settings: learning_rat is unknown; leave it out, or correct its name"):
        configure(PRESETS["slim"], {"learning_rat": 0.1})


@pytest.mark.heavy
def test_a_plateau_near_ln_2_is_no_collapse(tmp_path: Path) -> None:
    """From random weights the loss sits near ln 2 and the scale shrinks for hundreds of iterations, and recovers."""
    recipe = Knobs(train_people=40, test_people=2, easy_share=0.2, camera_strength=1.0)
    draw_benchmark(tmp_path / "data", knobs=recipe, processes=1)
    config = configure(PRESETS["demo"], {"iterations": 500, "learning_rate": 2e-3, "ease_in": 0.0, "log_every": 1})
    train(read_synthetic(tmp_path / "data").train, tmp_path / "run", config)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = np.array([float(row["loss fusion"]) for row in rows])
    scales = np.array([float(row["scale fusion"]) for row in rows])
    assert (np.abs(losses - math.log(2)) < 0.1).sum() > 150
    assert np.median(scales[100:200]) < 0.5 * scales[0]
    assert np.median(losses[-50:]) < 0.45
