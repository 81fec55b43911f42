"""A file is replaced whole or stays as it was."""

import errno
from pathlib import Path

import pytest

from dare.files import replacing, replacing_folder


def test_the_new_content_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    for content in (b"one", b"two"):
        with replacing(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"one"
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_a_failure_leaves_the_old_content_and_no_trace(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def write_half(path: Path) -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise error

    for place in (path, tmp_path / "new" / "deep" / "a.txt"):
        with pytest.raises(type(error)):
            write_half(place)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def filled(folder: Path, text: str) -> None:
    with replacing_folder(folder) as new:
        (new / "a.txt").write_text(text)


def test_a_folder_takes_the_old_ones_place_also_through_a_link(tmp_path: Path) -> None:
    filled(tmp_path / "deep" / "folder", "one")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "folder")
    filled(tmp_path / "link", "two")
    assert (tmp_path / "deep" / "folder" / "a.txt").read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "link"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]


def test_a_folder_may_hold_folders(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "folder") as new:
        (new / "deep").mkdir()
        (new / "deep" / "a.txt").write_text("one")
    assert (tmp_path / "folder" / "deep" / "a.txt").read_text() == "one"


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "folder", "one")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "folder"):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "x" / "y"):
        raise ZeroDivisionError
    move, moved = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        moved.append(self)
        if len(moved) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(OSError, match=r"Input/output error while writing.*folder"):
        filled(tmp_path / "folder", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "a.txt").read_text() == "one"
