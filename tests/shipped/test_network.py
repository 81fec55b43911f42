"""Shipped networks are found by name, and their files are those that were shipped."""

from pathlib import Path

import pytest
from exports import images, slim
from shipping import TORCH, finish

from dare import load_checkpoint, open_runner
from dare.models.checkpoints import save_checkpoint
from dare.shipped import network
from dare.shipped.card import MODEL, ShippedError
from dare.shipped.network import NETWORKS, ShippedNetwork, is_name, located, shipped_at, shipped_names

MOST_BYTES = 30_000_000


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a network called tiny, for torch alone; the working directory is empty."""
    folder = tmp_path / "networks" / "tiny"
    folder.mkdir(parents=True)
    save_checkpoint(folder / MODEL, slim(), half=True)
    finish(folder, [TORCH])
    monkeypatch.setattr(network, "NETWORKS", folder.parent)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_a_name_stands_for_the_folder_and_any_path_for_itself(shipped: Path) -> None:
    assert shipped_names() == ["tiny"]
    assert located("tiny") == located(Path("tiny")) == shipped
    for other in ("small", "runs/tiny", "tiny/model.safetensors", "../tiny", "..", ".", ""):
        assert located(other) == Path(other)
        assert not is_name(other)
        assert shipped_at(other) is None


def test_what_is_at_hand_wins_over_a_name(shipped: Path) -> None:
    Path("tiny").mkdir()
    assert is_name("tiny")
    assert located("tiny") == Path("tiny")
    assert shipped_at("tiny") is None
    assert shipped_at(shipped) is not None


def test_a_folder_that_is_made_like_one_needs_no_name(shipped: Path, tmp_path: Path) -> None:
    shipped.rename(tmp_path / "elsewhere")
    assert shipped_names() == []
    assert open_runner(tmp_path / "elsewhere").digest == load_checkpoint(tmp_path / "elsewhere").digest


def test_the_checkpoint_is_had_by_name(shipped: Path) -> None:
    checkpoint = load_checkpoint("tiny")
    runner = open_runner("tiny", "eager")
    assert runner.digest == checkpoint.digest
    assert [v.tolist() for v in runner.exits(images(1))] == [
        v.tolist() for v in open_runner(checkpoint, "eager").exits(images(1))
    ]


def test_files_that_are_missing_or_changed_are_named(shipped: Path) -> None:
    tiny = ShippedNetwork.at(shipped)
    assert tiny.checked(MODEL) == shipped / MODEL
    content = (shipped / MODEL).read_bytes()
    (shipped / MODEL).write_bytes(content[:-1])
    with pytest.raises(ShippedError, match=r"tiny/model.safetensors is damaged: its SHA-256 .*install dare-reid again"):
        open_runner("tiny")
    (shipped / MODEL).unlink()
    with pytest.raises(ShippedError, match=r"tiny/model.safetensors is missing; install dare-reid again"):
        open_runner("tiny")


def test_a_name_that_nobody_knows_is_answered_with_those_that_are(shipped: Path) -> None:
    with pytest.raises(ValueError, match=r"no checkpoint at tinny; .*or the name of a shipped network: tiny$"):
        open_runner("tinny")


def test_what_this_version_ships_is_whole_and_small() -> None:
    size = 0
    for name in shipped_names():
        found = ShippedNetwork.at(NETWORKS / name)
        assert found.card.name == name
        for place in found.card.files:
            size += found.checked(place).stat().st_size
    assert size <= MOST_BYTES


def test_the_wheel_takes_the_package_with_all_that_is_in_it() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert settings == {"targets": {"wheel": {"packages": ["src/dare"]}}}
    # Hatch leaves out what git ignores, and these patterns name nothing that networks are made of.
    patterns = (root / ".gitignore").read_text().split()
    assert all(pattern.startswith("/") or pattern.endswith("/") for pattern in patterns)
