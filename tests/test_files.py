"""A file is replaced whole or stays as it was; what a schema refuses is one line with file, place, expected, got."""

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dare.files import compiled, replacing, replacing_folder, said, sealed, unsealed


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


class Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    count: int = Field(ge=1)
    kind: Literal["near", "far"] = "near"

    @model_validator(mode="after")
    def few(self) -> "Inner":
        if self.kind == "far" and self.count > 3:
            raise ValueError("far away there are 3 at most")
        return self


class Outer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    inner: dict[str, Inner]


class Both(Outer):
    other: int


def test_a_file_that_lacks_several_things_is_of_another_kind() -> None:
    with pytest.raises(ValidationError) as raised:
        Both.model_validate({"something": 1})
    assert said(raised.value, "f.json") == "f.json lacks inner, other, so it is another kind of file"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({}, "f.json: expected inner, which is missing; add it"),
        ({"inner": {"a": {}}}, "f.json: inner.a: expected count, which is missing; add it"),
        ({"inner": {"a": {"count": 0}}}, "f.json: inner.a.count: expected at least 1, got 0"),
        ({"inner": {"a": {"count": "2"}}}, "f.json: inner.a.count: expected a valid integer, got '2'"),
        ({"inner": {"a": {"count": 2, "kind": "x"}}}, "f.json: inner.a.kind: expected 'near' or 'far', got 'x'"),
        ({"inner": {"a": {"count": 2, "x": 1}}}, "f.json: inner.a.x is unknown; leave it out, or correct its name"),
        ({"inner": {"a": {"count": 4, "kind": "far"}}}, "f.json: inner.a: far away there are 3 at most"),
        ({"inner": {"a": {"count": -(10**5000)}}}, "got a number with too many digits"),
        ([], "f.json: expected a valid dictionary or instance of Outer, got []"),
    ],
)
def test_what_is_refused_is_one_line(content: Any, line: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(content)
    assert said(raised.value, "f.json").endswith(line)
    assert "\n" not in said(raised.value, "f.json")


def test_broken_json_is_one_line_too() -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate_json('{"inner": ')
    assert said(raised.value, "f.json").startswith("f.json isn't valid JSON: EOF while parsing")


def twice(number: int) -> int:
    return 2 * number


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba may write neither beside the module nor to the user's folder."""
    from numba.core import caching

    def refuse(self: object) -> None:
        raise OSError("read-only")

    for name in ("InTreeCacheLocator", "UserWideCacheLocator"):  # older versions put _ before their names
        locator = getattr(caching, name, None) or getattr(caching, f"_{name}")
        monkeypatch.setattr(locator, "ensure_cache_path", refuse)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")


@pytest.mark.usefixtures("read_only")
def test_what_is_compiled_is_kept_in_a_folder_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert compiled()(twice)(4) == 8
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert any(folder.rglob("*.nbc"))


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("what", ["nowhere", "others may write"])
def test_without_any_place_it_is_compiled_all_the_same(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone" if what == "nowhere" else tmp_path))
    if what != "nowhere":
        (theirs := tmp_path / f"dare-numba-{os.getuid()}").mkdir()
        theirs.chmod(0o777)
    assert compiled()(twice)(4) == 8
    assert not any(tmp_path.rglob("*.nbc"))


def test_a_seal_holds_until_anything_changes() -> None:
    content = json.dumps({"numbers": [1.5, -2], "text": "sha256"}, indent=1).encode()
    whole = sealed(content)
    assert json.loads(whole) == json.loads(content) | {"sha256": json.loads(whole)["sha256"]}
    body, holds = unsealed(whole)
    assert holds
    assert json.loads(body) == json.loads(content)
    assert unsealed(content) == (content, False)
    for place in range(len(whole) - 2):  # the last two close the object
        for bit in (1, 16):
            other = bytearray(whole)
            other[place] ^= bit
            found, holds = unsealed(bytes(other))
            try:
                same = json.loads(found) == json.loads(content)
            except ValueError:
                continue
            assert not holds or same, other
    again = json.dumps(json.loads(whole) | {"numbers": [1.5, 2]}).encode()
    assert unsealed(again)[1] is False
    assert json.loads(unsealed(again)[0]) == {"numbers": [1.5, 2], "text": "sha256"}


def test_what_killed_saves_left_is_swept_and_a_save_at_work_is_not(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".a.json.0a1b2c3d", ".a.json.zzzzzzzz", ".b.json.0a1b2c3d"))
    folder = tmp_path / ".a.json.11111111"
    folder.mkdir()
    for path in (old, young, other, folder / "x"):
        path.write_text("x")
    for path in (old, other, folder):
        os.utime(path, (0, 0))
    with replacing(tmp_path / "a.json") as file:
        file.write(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.json.zzzzzzzz", ".b.json.0a1b2c3d", "a.json"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "can be written to"), (errno.EACCES, "change its permissions")],
)
@pytest.mark.parametrize("write", [replacing, replacing_folder])
def test_a_write_that_fails_names_the_path_and_what_to_do(write: Any, number: int, advice: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "it"
    with pytest.raises(OSError, match=f"while writing; .*{advice}.*{path}") as error, write(path):
        raise OSError(number, os.strerror(number), str(tmp_path / ".it.tmp"))
    assert error.value.errno == number
    assert list(tmp_path.iterdir()) == []
