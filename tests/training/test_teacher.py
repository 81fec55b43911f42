"""A teacher's vectors: of a picture's views, projected, kept, and refused where they cannot be followed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import save_picture

from dare import open_runner
from dare.datasets import Benchmark, market1501
from dare.images.preparation import Preparation, prepare
from dare.images.reading import read_resized
from dare.models.checkpoints import Architecture, Checkpoint, load_checkpoint
from dare.models.dare import count_macs
from dare.runners.runner import Runner
from dare.training.config import TrainConfig
from dare.training.teacher import TEACHER_FILE, VIEWS, teach
from dare.training.train import train

SIZE = Preparation(64, 32)


@pytest.fixture(scope="module")
def teacher() -> Runner:
    torch.manual_seed(3)
    model = Architecture("tiny", embedding_dim=12, hidden_dim=16).build().eval()
    return open_runner(Checkpoint(model, Architecture(), SIZE, count_macs(model, 64, 32), {}, "d" * 64), "eager")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return [save_picture(folder / f"{number}.jpg", number) for number in range(40)]


class Other:
    """A runner with vectors of its own making."""

    preparation, digest, precision = SIZE, "other", "fp32"

    def __init__(self, vectors: Callable[[int], np.ndarray]) -> None:
        self._vectors = vectors

    def embed(self, images: np.ndarray) -> tuple[list[np.ndarray], None]:
        return [self._vectors(len(images))], None


def by_loop(teacher: Runner, path: Path) -> np.ndarray:
    """The mean over shifted and mirrored views, pixel by pixel."""
    picture, each = read_resized(path, 64, 32), []
    for down, right, mirrored in VIEWS:
        shown = np.empty_like(picture)
        for y in range(64):
            for x in range(32):
                column = 31 - x if mirrored else x
                source = min(max(y - 2 * down, 0), 63), min(max(column - right, 0), 31)
                shown[y, x] = picture[source]
        fused = teacher.embed(prepare(shown[None], SIZE))[1]
        assert fused is not None
        each.append(fused[0] / np.linalg.norm(fused[0]))
    mean = np.mean(each, axis=0)
    return mean / np.linalg.norm(mean)


def test_vectors_are_the_mean_of_views_and_of_length_one(teacher: Runner, paths: list[Path], tmp_path: Path) -> None:
    found = teach(teacher, paths[:5], 12, 5, tmp_path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [by_loop(teacher, path) for path in paths[:5]], atol=1e-5)


def test_longer_vectors_are_projected_and_keep_what_they_can_of_their_cosines(
    teacher: Runner, paths: list[Path], tmp_path: Path
) -> None:
    whole, projected = teach(teacher, paths, 12, 30, tmp_path / "a"), teach(teacher, paths, 5, 30, tmp_path / "b")
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, rtol=1e-5)
    values, directions = np.linalg.eigh(whole[:30].T.astype(float) @ whole[:30])
    wanted = whole @ directions[:, np.argsort(values)[::-1][:5]]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(projected @ projected.T, wanted @ wanted.T, atol=1e-4)


def test_fewer_labelled_pictures_than_dimensions_keep_their_cosines(
    teacher: Runner, paths: list[Path], tmp_path: Path
) -> None:
    whole, projected = teach(teacher, paths[:6], 12, 3, tmp_path / "a"), teach(teacher, paths[:6], 5, 3, tmp_path / "b")
    assert projected.shape == (6, 5)
    np.testing.assert_allclose(projected[:3] @ projected[:3].T, whole[:3] @ whole[:3].T, atol=1e-4)


def test_vectors_are_kept_for_the_same_pictures_and_teacher(teacher: Runner, paths: list[Path], tmp_path: Path) -> None:
    first = teach(teacher, paths[:5], 12, 5, tmp_path)
    other: Any = Other(lambda count: np.ones((count, 12), np.float32))
    other.digest = teacher.digest
    np.testing.assert_array_equal(teach(other, paths[:5], 12, 5, tmp_path), first)  # what is kept, not what it makes
    assert not np.array_equal(teach(other, paths[:4], 12, 4, tmp_path), first[:4])


def test_teachers_that_cannot_be_followed_are_refused(paths: list[Path], tmp_path: Path) -> None:
    short: Any = Other(lambda count: np.ones((count, 4), np.float32))
    with pytest.raises(
        ValueError, match="have 4 dimensions, the network's 6; train with an embedding_dim of at most 4"
    ):
        teach(short, paths[:3], 6, 3, tmp_path)
    empty: Any = Other(lambda count: np.full((count, 6), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"gives NaN or infinity for .*0\.jpg"):
        teach(empty, paths[:3], 6, 3, tmp_path)
    assert not (tmp_path / TEACHER_FILE).exists()


@pytest.mark.heavy
def test_a_network_comes_near_its_teacher_and_resumes_bit_for_bit(
    crowd: Path, teacher: Runner, paths: list[Path], tmp_path: Path
) -> None:
    benchmark: Benchmark = market1501(crowd)
    config = TrainConfig(
        architecture=Architecture("tiny", hidden_dim=32, embedding_dim=12, unit=True),
        weights=None,
        preparation=SIZE,
        people=6,
        images=2,
        generated_images=4,
        iterations=40,
        learning_rate=3e-3,
        terms=(("teacher", 1.0),),
        space="shared",
        precision="fp32",
    )

    def run(name: str, **settings: Any) -> Checkpoint:
        return train(benchmark.train, tmp_path / name, config, generated=paths, teacher=teacher, **settings)

    whole = run("whole")
    rows = np.genfromtxt(tmp_path / "whole" / "metrics.csv", delimiter=",", names=True, deletechars="")
    assert rows["loss_teacher_fusion"][-1] < 0.6 * rows["loss_teacher_fusion"][0]
    assert whole.training["generated"] == 40
    assert teacher.digest in whole.training["teacher"]
    run("halves", should_stop=iter([False] * 19 + [True]).__next__)
    halves = run("halves", resume=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, halves.model.state_dict()[name]), name
    assert load_checkpoint(tmp_path / "whole").architecture.unit


def test_a_teacher_and_its_term_belong_together(crowd: Path, teacher: Runner, tmp_path: Path) -> None:
    benchmark, config = (
        market1501(crowd),
        TrainConfig(architecture=Architecture("tiny"), weights=None, preparation=SIZE),
    )
    with pytest.raises(ValueError, match="belong together"):
        train(benchmark.train, tmp_path / "a", config, teacher=teacher)
    with pytest.raises(ValueError, match="belong together"):
        train(benchmark.train, tmp_path / "b", replace(config, terms=(("teacher", 1.0),)))
