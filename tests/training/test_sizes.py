"""Pictures that grow: settings that fit together, and runs that resume bit for bit across a change."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import make_market
from test_train import SMALL, StopAfter, assert_same_weights

import dare.training.train
from dare import cli
from dare.datasets import Sample, market1501
from dare.images.preparation import Preparation
from dare.models.checkpoints import Architecture, Checkpoint, load_checkpoint
from dare.training.config import parse_sizes, rescaled
from dare.training.presets import PRESETS, configure
from dare.training.train import train

GROWING = replace(SMALL, preparation=Preparation(48, 24), sizes=((32, 16, 3), (40, 16, 2), (48, 24, 3)))


SIZES = [(32, 16)] * 3 + [(40, 16)] * 2 + [(48, 24)] * 3
"""Of the batches of such a training."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    return market1501(make_market(tmp_path_factory.mktemp("data") / "market", train_people=9)).train


@pytest.fixture(scope="module")
def whole(samples: tuple[Sample, ...], tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A training that was never interrupted."""
    return train(samples, tmp_path_factory.mktemp("runs") / "whole", GROWING)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Sizes of the batches that a training computes."""
    sizes: list[tuple[int, ...]] = []
    objective = dare.training.train.build_objective

    def watched(*arguments: object) -> object:
        built = objective(*arguments)  # type: ignore[arg-type]
        built.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[1].images.shape[2:])))
        return built

    monkeypatch.setattr(dare.training.train, "build_objective", watched)
    return sizes


def test_each_size_has_its_iterations_and_the_last_is_the_networks(
    samples: tuple[Sample, ...], tmp_path: Path, seen: list[tuple[int, ...]]
) -> None:
    train(samples, tmp_path, GROWING)
    assert seen == SIZES
    kept = load_checkpoint(tmp_path)
    assert (kept.preparation.size, kept.training["iterations"]) == ("48x24", 8)


def test_the_first_size_trains_as_a_run_at_that_size(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    part = train(samples, tmp_path / "part", GROWING, should_stop=StopAfter(3))
    alone = replace(SMALL, preparation=Preparation(32, 16))
    assert_same_weights(part, train(samples, tmp_path / "alone", alone, should_stop=StopAfter(3)))


@pytest.mark.heavy
@pytest.mark.parametrize("stop", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("memory_map", [False, True])
def test_a_run_resumes_bit_for_bit_before_at_and_behind_a_change(
    samples: tuple[Sample, ...],
    whole: Checkpoint,
    tmp_path: Path,
    stop: int,
    memory_map: bool,
    seen: list[tuple[int, ...]],
) -> None:
    part = train(samples, tmp_path / "parts", GROWING, should_stop=StopAfter(stop), memory_map=memory_map)
    assert part.training["iterations"] == stop
    resumed = train(samples, tmp_path / "parts", GROWING, resume=True, memory_map=memory_map)
    assert_same_weights(whole, resumed)
    assert seen == SIZES


def test_a_run_of_other_sizes_is_not_resumed(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    train(samples, tmp_path, GROWING, should_stop=StopAfter(2))
    other = replace(GROWING, sizes=((32, 16, 2), (48, 24, 6)))
    with pytest.raises(ValueError, match="was trained with sizes="):
        train(samples, tmp_path, other, resume=True)


def test_pictures_that_vanish_before_they_grow_stop_the_run(tmp_path: Path) -> None:
    found = market1501(make_market(tmp_path / "market", train_people=4)).train

    def vanish() -> bool:
        found[5].images[0].unlink(missing_ok=True)
        return False

    with pytest.raises(ValueError, match="24 training pictures could be read at the start, and 23 at 40x16; restore"):
        train(found, tmp_path / "run", GROWING, should_stop=vanish)
    assert load_checkpoint(tmp_path / "run").training["iterations"] == 3


def test_sizes_follow_from_settings() -> None:
    config = configure(PRESETS["slim"], {"sizes": "64x32:30,128x64:70"})
    assert config.sizes == ((64, 32, 30), (128, 64, 70))
    assert (config.iterations, config.decay_start, config.preparation.size) == (100, 40, "128x64")
    shorter = configure(config, {"iterations": 10})
    assert shorter.sizes == ((64, 32, 3), (128, 64, 7))
    assert configure(config, {"sizes": "none", "height": 96}).sizes == ()
    assert [stop for _, stop in configure(PRESETS["slim"], {}).stretches] == [18_000]


@pytest.mark.parametrize("iterations", [3, 4, 7, 100, 6001])
def test_rescaled_sizes_add_up_and_none_is_lost(iterations: int) -> None:
    counts = [count for *_, count in rescaled(((1, 1, 1), (2, 2, 5998), (3, 3, 2)), iterations)]
    assert sum(counts) == iterations
    assert min(counts) >= 1


def test_sizes_that_do_not_fit_are_refused() -> None:
    for text in ("128x64", "128x64:", "x:3", "128x64:5;256x128:2", ""):
        with pytest.raises(ValueError, match="expected sizes as height x width : iterations"):
            parse_sizes(text)
    for settings, reason in (
        ({"sizes": "64x32:30,128x64:70", "iterations": 50}, "must add up to 50, got 100"),
        ({"sizes": "64x32:30,128x64:70", "height": 64}, "the last size is the network's, 64x64, got 128x64"),
        ({"sizes": "8x8:30,128x64:70"}, "at least 16 pixels high and wide, got 8x8"),
        ({"sizes": "64x32:0,128x64:70"}, "sizes.0.2: expected at least 1, got 0"),
        ({"sizes": "64x32:1,128x64:1", "iterations": 1}, "must add up to 1, got 2"),
    ):
        with pytest.raises(ValueError, match=reason):
            configure(PRESETS["slim"], settings)
    with pytest.raises(ValueError, match="2 sizes need at least as many iterations, got 1"):
        configure(configure(PRESETS["slim"], {"sizes": "64x32:30,128x64:70"}), {"iterations": 1})


def test_a_network_for_one_size_is_refused_before_any_picture_is_read(
    samples: tuple[Sample, ...], tmp_path: Path
) -> None:
    config = replace(
        GROWING,
        architecture=Architecture("timm/mixer_s32_224", fusion=False, taps=None),
    )
    with pytest.raises(ValueError, match=r"cannot take pictures of 32x16|cannot be cut into stages"):
        train(samples, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_growth_changes_nothing_else(samples: tuple[Sample, ...], tmp_path: Path) -> None:
    """One stretch at the network's size is the training without sizes."""
    one = replace(SMALL, sizes=((32, 16, 8),))
    assert_same_weights(train(samples, tmp_path / "a", SMALL), train(samples, tmp_path / "b", one))


def test_a_training_that_the_sizes_cut_short_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for sizes, told in (("128x64:10", True), ("64x32:17000,128x64:1000", False)):
        with contextlib.suppress(SystemExit):
            cli.main(["train", "none", str(tmp_path / "run"), "--preset", "slim", "--sizes", sizes, "--show-settings"])
        err = " ".join(capsys.readouterr().err.split())
        assert ("training ends after 10 iterations, where the sizes end, instead of 18,000" in err) == told
