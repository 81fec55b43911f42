"""Small data sets and networks that tests share."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

# Two threads of torch on busy cores wait for each other; set before anything imports it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from PIL import Image

from dare import cli
from dare.files import sealed, unsealed

TINY = ["--preset=demo", "--height=32", "--width=16", "--iterations=4", "--threads=1"]
TINY += ["--set=embedding_dim=8", "--set=hidden_dim=8", "--set=people=3", "--set=images=2"]
"""Options of `dare train` for a network that takes no time."""


def reseal(file: Path) -> None:
    """Give a file the checksum of what stands in it now, as somebody would who means it."""
    file.write_bytes(sealed(unsealed(file.read_bytes())[0]))


def save_picture(path: Path, seed: int = 0, size: tuple[int, int] = (32, 64)) -> Path:
    """A JPEG of (width, height) whose colours depend on the seed."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 255, (8, 4, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(path, quality=95)
    return path


@pytest.fixture
def market_folder(tmp_path: Path) -> Path:
    """Six people, three for training, seen by three cameras, with junk and a distractor."""
    return make_market(tmp_path / "market")


def make_market(root: Path, train_people: int = 3, test_people: int = 3) -> Path:
    for person in range(1, train_people + 1):
        for camera in (1, 2, 3):
            for frame in (1, 2):
                name = f"{person:04d}_c{camera}s1_{frame:06d}_01.jpg"
                save_picture(root / "bounding_box_train" / name, 100 * person + 10 * camera + frame)
    for person in range(train_people + 1, train_people + test_people + 1):
        for camera in (1, 2):
            seed = 100 * person + camera
            save_picture(root / "query" / f"{person:04d}_c{camera}s1_000001_00.jpg", seed)
            save_picture(root / "bounding_box_test" / f"{person:04d}_c{camera}s1_000002_01.jpg", seed)
    save_picture(root / "bounding_box_test" / "-1_c1s1_000003_01.jpg", 7)
    save_picture(root / "bounding_box_test" / "0000_c2s1_000004_01.jpg", 8)
    return root


def make_crowd(root: Path, people: int = 12) -> Path:
    """People of whom each has colours of their own, under light that changes from picture to picture.

    The same people are trained on and looked for, in other pictures.
    """

    def save(folder: str, person: int, number: int) -> None:
        random = np.random.default_rng([person, number])
        colours = np.random.default_rng(person).integers(60, 196, (8, 4, 3)) * random.uniform(0.6, 1.4, 3)
        blocks = (colours + random.normal(0, 12, (8, 4, 3))).clip(0, 255).astype(np.uint8)
        path = root / folder / f"{person:04d}_c{number}s1_000001_01.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blocks).resize((32, 64), Image.Resampling.NEAREST).save(path, quality=95)

    for person in range(1, people + 1):
        for number in range(1, 11):
            save("bounding_box_train" if number < 7 else "query" if number < 9 else "bounding_box_test", person, number)
    return root


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people who can be told apart; not to be changed."""
    return make_crowd(tmp_path_factory.mktemp("data") / "crowd")


@pytest.fixture
def picture() -> Callable[..., Path]:
    return save_picture


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set to run commands on; not to be changed."""
    return make_market(tmp_path_factory.mktemp("data") / "market", train_people=6, test_people=5)


@pytest.fixture(scope="session")
def model(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was trained for a moment."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with contextlib.suppress(SystemExit):
        cli.main(["train", str(market), str(folder), *TINY])
    return folder


@pytest.fixture(scope="session")
def indexed(market: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of both; not to be changed."""
    gallery = tmp_path_factory.mktemp("galleries") / "gallery"
    with contextlib.suppress(SystemExit):
        cli.main(["index", str(gallery), "--model", str(model), "--images", str(market)])
    return gallery
