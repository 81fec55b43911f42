"""The file of a small gallery's rows: read without LanceDB, and never in place of what the table says."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dare import Entry, create_gallery, open_gallery
from dare.gallery import rows as rows_module
from dare.gallery.lance import LanceGallery

SIZES = (3, 5)


def vectors(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(count, size)).astype(np.float32) for size in SIZES]


def entries(count: int, prefix: str = "") -> list[Entry]:
    return [Entry(f"{prefix}{n}", n % 3 or None, n % 2, float(n), f"/p/{n}.jpg", "Łucja") for n in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    gallery = create_gallery(tmp_path / "gallery", model="a" * 64, dimensions=SIZES)
    gallery.add(vectors(20), entries(20))
    gallery.remove(["7"])
    gallery.add(vectors(2, seed=1), entries(2))
    gallery.close()
    return tmp_path / "gallery"


def rows_file(path: Path) -> Path:
    (file,) = path.glob("*.rows")
    return file


def state(gallery: object) -> list[object]:
    """All that a gallery says."""
    assert isinstance(gallery, LanceGallery)
    found: list[object] = [gallery.count(), gallery.ids(), gallery.pictures(), gallery.get(["1", "7", "19"])]
    found += [gallery.labels().people.tolist(), *(gallery.vectors(exit).tolist() for exit in range(len(SIZES)))]
    hits = gallery.search(0, vectors(1, seed=9)[0], 5)
    return [*found, hits.ids.tolist(), hits.distances.tolist(), hits.people.tolist()]


def from_the_table(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    with monkeypatch.context() as patch:
        patch.setattr("dare.gallery.rows.open_kept", lambda *_: None)
        return state(open_gallery(path))


def test_it_says_what_the_table_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = from_the_table(path, monkeypatch)
    monkeypatch.setattr(LanceGallery, "_open", lambda *_: pytest.fail("the table was opened"))
    assert state(open_gallery(path)) == expected


def test_reading_needs_no_lancedb(path: Path) -> None:
    code = (
        "import sys; from dare import open_gallery; import numpy as np; gallery = open_gallery(sys.argv[1]);"
        "print(gallery.search(1, np.ones((1, 5), np.float32), 3).ids[0, 0], 'lancedb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"


def test_what_others_change_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = open_gallery(path), open_gallery(path)
    before = state(reader)
    writer.add(vectors(3, seed=2), entries(3, "new"))
    writer.remove(["1", "4"])
    writer.add(vectors(1, seed=3), [Entry("19", 8)])
    assert state(reader) == state(writer) == from_the_table(path, monkeypatch) != before
    assert not list(path.glob("*.rows"))  # none while it would be wrong
    writer.close()
    rows_file(path)
    assert state(open_gallery(path)) == state(reader)
    reader.close()


def test_forgotten_entries_are_in_no_file(path: Path) -> None:
    marker = entries(20)[5].picture.encode()
    assert marker in rows_file(path).read_bytes()
    reader, gallery = open_gallery(path), open_gallery(path)
    reader.count()
    gallery.forget(ids=["5"])
    for _ in range(2):
        assert not [file for file in path.rglob("*") if file.is_file() and marker in file.read_bytes()]
        gallery.close()
    assert "5" not in reader.ids()
    assert len(list(path.glob("*.rows"))) == 1


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, flip, lambda file: file.write_bytes(b""), lambda file: file.unlink()])
def test_a_damaged_or_missing_file_changes_nothing(
    path: Path, harm: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = from_the_table(path, monkeypatch)
    harm(rows_file(path))
    gallery = open_gallery(path)
    assert state(gallery) == expected
    gallery.remove([])
    gallery.remove(["not there"])  # whoever writes makes it anew
    gallery.close()
    assert rows_module.open_kept(path, rows_file(path).stem, dict(enumerate(SIZES))) is not None


def test_the_file_of_another_version_does_not_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rows_file(path).read_bytes()
    name = rows_file(path)
    with contextlib.closing(LanceGallery(path)) as gallery:
        gallery.add(vectors(1, seed=4), [Entry("later", 1)])
    name.write_bytes(old)
    assert "later" in open_gallery(path).ids()


def test_a_table_that_is_too_large_has_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MOST_BYTES", 1000)
    with contextlib.closing(LanceGallery(path)) as gallery:
        gallery.add(vectors(1, seed=4), [Entry("later", 1)])
    assert not list(path.glob("*.rows"))
    assert "later" in open_gallery(path).ids()


def test_where_it_cannot_be_written_the_gallery_is_complete_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with contextlib.closing(LanceGallery(path)) as gallery:
        gallery.add(vectors(1, seed=4), [Entry("later", 1)])
        monkeypatch.setattr(rows_module, "replacing", full)
    assert "No space left on device" in caplog.text
    monkeypatch.undo()
    assert "later" in open_gallery(path).ids()


def test_what_was_left_of_writing_is_swept(path: Path) -> None:
    file = rows_file(path)
    (path / f".{file.name}.abc").write_bytes(b"part")
    (path / "entries-77-0a1b2c3d.rows").write_bytes(b"of a table that is gone")
    with contextlib.closing(LanceGallery(path)) as gallery:
        gallery.take_lock()
    assert [place.name for place in path.glob("*.rows*")] == [file.name]
    assert not list(path.glob(".*"))


def test_rows_of_a_version_that_was_taken_back_are_not_kept(path: Path) -> None:
    with contextlib.closing(LanceGallery(path)) as gallery:
        gallery.add(vectors(1, seed=4), [Entry("taken back", 1)])
        min((path / f"{rows_table(path)}.lance" / "_versions").glob("*.manifest")).unlink()
    assert not list(path.glob("*.rows"))
    assert "taken back" not in open_gallery(path).ids()


def rows_table(path: Path) -> str:
    (table,) = path.glob("*.lance")
    return table.stem
