"""A gallery in a folder keeps what it said it keeps, forgets what it said it forgot, and tells what is wrong."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import reseal
from gallery import crash_writer

from dare.gallery import folder
from dare.gallery import rows as rows_module
from dare.gallery import table as table_module
from dare.gallery.entry import Entry
from dare.gallery.lance import LanceGallery
from dare.gallery.lock import FolderLock
from dare.gallery.opening import create_gallery, open_gallery
from dare.gallery.store import GalleryChangedError, GalleryError, GalleryLockedError, UnknownGalleryError

MODEL = "a" * 64
DIMENSIONS = (32, 16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a gallery, ü 50%20 #1?"
    create_gallery(path, model=MODEL, dimensions=DIMENSIONS, model_path=["run"], names=["early", "late"]).close()
    return path


@pytest.fixture
def writer(path: Path) -> Iterator[LanceGallery]:
    gallery = LanceGallery(path)
    yield gallery
    gallery.close()


@pytest.fixture
def reader(path: Path) -> Iterator[LanceGallery]:
    gallery = LanceGallery(path)
    yield gallery
    gallery.close()


def vectors(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(count, size)).astype(np.float32) for size in DIMENSIONS]


def entries(count: int, first: int = 0) -> list[Entry]:
    return [Entry(f"id {number}", number % 7, 0, None, f"{number}.jpg") for number in range(first, first + count)]


def nearest(gallery: LanceGallery, vector: np.ndarray, count: int = 1) -> list[str]:
    ids: list[str] = gallery.search(0, vector[None], count).ids[0].tolist()
    return ids


def files(path: Path) -> Iterator[bytes]:
    for file in path.rglob("*"):
        if file.is_file():
            yield file.read_bytes()


def is_left(path: Path, what: bytes) -> bool:
    return any(what in content for content in files(path))


def test_what_a_gallery_is_made_with_is_there_when_it_is_opened_again(path: Path) -> None:
    gallery = LanceGallery(path)
    assert (gallery.model, gallery.dimensions) == (MODEL, DIMENSIONS)
    assert (gallery.model_path, gallery.names, gallery.path) == (("run",), ("early", "late"), path)
    gallery.close()


def test_exits_without_names_are_numbered(tmp_path: Path) -> None:
    gallery = create_gallery(tmp_path, model=MODEL, dimensions=DIMENSIONS)
    assert gallery.names == ("exit 1", "exit 2")


def test_the_gallery_of_a_network_with_one_space_says_so_and_is_smaller(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    size = {}
    for space in ("own", "shared"):
        gallery = create_gallery(tmp_path / space, model=MODEL, dimensions=(64,) * 4, space=space)  # type: ignore[arg-type]
        gallery.add([rows] * (4 if space == "own" else 1), entries(1000))
        gallery.close()
        size[space] = sum(map(len, files(tmp_path / space)))
        again = LanceGallery(tmp_path / space)
        assert (again.space, again.dimensions) == (space, (64,) * 4)
        assert nearest(again, rows[7]) == ["id 7"]
        again.forget(ids=["id 7"])
        assert is_left(tmp_path / space, rows[8].tobytes())
        assert not is_left(tmp_path / space, rows[7].tobytes())
        again.close()
    assert size["shared"] < 0.35 * size["own"]
    own, shared = (json.loads((tmp_path / space / "gallery.json").read_text()) for space in ("own", "shared"))
    assert own.keys() == {"format", "model", "dimensions", "model_path", "names", "table", "sha256"}
    assert own["format"] == 1
    assert (shared["format"], shared["space"]) == (2, "shared")
    columns = table_module.connect(tmp_path / "shared").open_table(shared["table"]).schema.names
    assert [name for name in columns if name.startswith("exit")] == ["exit_3"]


def test_nothing_of_lancedb_is_loaded_before_a_gallery_is_opened() -> None:
    code = "import sys, dare, dare.gallery.opening; assert 'lancedb' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_one_writes_and_the_lock_ends_with_its_holder(path: Path, reader: LanceGallery) -> None:
    vector = vectors(1)
    code = (
        "import sys; from dare import Entry, open_gallery; import numpy as np\n"
        "gallery = open_gallery(sys.argv[1])\n"
        f"for line in sys.stdin:\n  gallery.add([np.ones((1, d)) for d in {DIMENSIONS}], [Entry(line)])\n"
        "  print('added', flush=True)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for count in (1, 2):
            other.stdin.write(f"{count}\n")
            other.stdin.flush()
            assert other.stdout.readline() == "added\n"
            assert reader.count() == reader.labels().people.size == reader.vectors(1).shape[0] == count
            assert nearest(reader, np.ones(32)) == ["1\n"]
        for change in (
            lambda: reader.add(vector, entries(1)),
            lambda: reader.remove(["1\n"]),
            reader.forget,
        ):
            with pytest.raises(GalleryLockedError, match=rf"process {other.pid} is writing") as refusal:
                change()
            assert refusal.value.code == "gallery_locked"
        other.kill()
    reader.add(vector, entries(1))
    assert reader.count() == 3


def test_a_second_writer_in_one_process_is_refused_until_the_first_closes(path: Path, writer: LanceGallery) -> None:
    second = LanceGallery(path)
    writer.add(vectors(1), entries(1))
    with pytest.raises(GalleryLockedError, match=str(os.getpid())):
        second.remove(["id 0"])
    writer.close()
    assert second.remove(["id 0"]) == 1
    assert writer.count() == 0
    second.close()


def test_a_reader_is_not_fooled_when_the_last_entry_is_taken_back(path: Path, reader: LanceGallery) -> None:
    """Sequences tell readers what is new: they must not be given out again by the next writer."""
    rows = vectors(4)
    for names in (("a", "b"), ("c", "d")):
        gallery = LanceGallery(path)
        gallery.add([part[:2] for part in rows], [Entry(name) for name in names])
        assert nearest(reader, rows[0][1]) == [names[1]]
        gallery.remove(names)
        gallery.close()
    gallery.add([part[2:] for part in rows], [Entry("e"), Entry("f")])
    gallery.remove(["f"])
    gallery.close()
    gallery.add([part[1:2] for part in rows], [Entry("g")])
    gallery.close()
    assert nearest(reader, rows[0][1], 3) == ["g", "e"]


def test_every_answer_is_of_one_version(path: Path, writer: LanceGallery, reader: LanceGallery) -> None:
    writer.add([rows * 0 + 1 for rows in vectors(50)], entries(50))
    seen, stop = set(), threading.Event()

    def search() -> None:
        while not stop.is_set():
            seen.add(tuple(np.unique(reader.search(0, np.ones((1, 32)), 100).distances.round(3))))
            assert len(np.unique(reader.vectors(1))) == 1

    thread = threading.Thread(target=search)
    thread.start()
    for number in range(2, 12):
        writer.add([rows * 0 + number for rows in vectors(50)], entries(50))
        if number % 4 == 0:
            writer.forget()
    stop.set()
    thread.join()
    assert nearest(reader, np.ones(32))
    assert all(len(distances) == 1 for distances in seen), seen
    assert len(seen) > 1


def test_a_search_does_not_wait_for_a_change(writer: LanceGallery, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.add(vectors(5), entries(5))
    flushing, go_on = threading.Event(), threading.Event()
    flush = folder.sync_below

    def slow(*arguments: Any) -> set[str]:
        flushing.set()
        assert go_on.wait(10)
        return flush(*arguments)

    monkeypatch.setattr(folder, "sync_below", slow)
    thread = threading.Thread(target=writer.forget)
    thread.start()
    assert flushing.wait(10)
    assert nearest(writer, vectors(5)[0][3]) == ["id 3"]
    go_on.set()
    thread.join()


def test_nothing_is_left_of_who_is_forgotten(path: Path, writer: LanceGallery, reader: LanceGallery) -> None:
    rows, random = vectors(3000), np.random.default_rng(1)
    names = [f"{random.bytes(8).hex()}.jpg" for _ in range(3000)]
    people = [5000 if place in (1234, 2999) else place % 50 for place in range(3000)]
    everyone = [Entry(name, person, picture=f"/{name}") for name, person in zip(names, people, strict=True)]
    # Most in one batch, of which LanceDB's own cleaning would not erase a single row; two alone, in plain text.
    for part in (slice(0, 2998), slice(2998, 2999), slice(2999, 3000)):
        writer.add([exit[part] for exit in rows], everyone[part])
    writer.remove([names[7], names[2998]])
    writer.add([exit[2000:2001] * 2 for exit in rows], [everyone[100]])
    gone = {1234: "forgotten", 2999: "forgotten, alone", 7: "removed", 2998: "removed, alone", 100: "replaced"}
    assert nearest(reader, rows[0][1234]) == [names[1234]]
    assert all(is_left(path, exit[place].tobytes()) for place in gone for exit in rows)
    assert all(is_left(path, names[place].encode()) for place in (2998, 2999))

    assert writer.forget(people=[5000]) == 2
    for place, fate in gone.items():
        assert not any(is_left(path, exit[place].tobytes()) for exit in rows), fate
        assert place == 100 or not is_left(path, names[place].encode()), fate
    assert is_left(path, rows[1][5].tobytes())
    assert nearest(reader, rows[0][1234]) != [names[1234]]
    assert reader.count() == 2996
    assert set(reader.get(names)) == {name for place, name in enumerate(names) if place == 100 or place not in gone}
    assert nearest(reader, rows[0][2000] * 2) == [names[100]]

    writer.remove([names[8]])
    assert writer.forget(ids=[names[8]]) == 0
    assert not is_left(path, rows[0][8].tobytes())
    assert np.array_equal(reader.vectors(1)[-1], rows[1][2000] * 2)


@pytest.mark.parametrize("read_before", [True, False])
def test_a_reader_whose_files_are_deleted_while_it_reads_answers_from_what_is_left(
    path: Path, writer: LanceGallery, reader: LanceGallery, monkeypatch: pytest.MonkeyPatch, read_before: bool
) -> None:
    rows = vectors(9)
    writer.add(rows, entries(9))
    if read_before:
        reader.vectors(0)
    else:
        reader.close()
    stale = [folder.read(path)]
    assert writer.forget(people=[0]) == 2
    read = folder.read
    monkeypatch.setattr(folder, "read", lambda path: stale.pop() if stale else read(path))
    np.testing.assert_array_equal(reader.vectors(0), rows[0][[1, 2, 3, 4, 5, 6, 8]])
    assert not stale


@pytest.mark.parametrize(("kills", "forget_every"), [(5, 11), (3, 2)], ids=["changes", "forgetting"])
@pytest.mark.heavy
def test_a_killed_writer_loses_nothing_and_tears_nothing(tmp_path: Path, kills: int, forget_every: int) -> None:
    path, first = tmp_path / "gallery", 0
    state: crash_writer.State = {}
    crash_writer.create(path)
    for kill in range(kills):
        done = crash_writer.kill_writer(path, first, forget_every, seed=kill)
        state, first = crash_writer.state_after(path, state, first, done, forget_every)
    gallery = open_gallery(path)
    gallery.remove(["not there"])
    gallery.close()
    assert sorted(file.suffix for file in path.iterdir()) == [".json", ".lance", ".lock", ".log", ".rows"]


def leave_what_a_kill_leaves(path: Path) -> None:
    shutil.copytree(next(path.glob("*.lance")), path / "entries-9-00000000.lance")
    (path / ".gallery.json.abc").write_text("{}")
    (path / "gallery.pid").write_text("1")


def test_what_a_killed_one_left_is_swept_by_the_next_writer_not_by_readers(path: Path, writer: LanceGallery) -> None:
    writer.add(vectors(5), entries(5))
    writer.close()
    leave_what_a_kill_leaves(path)
    gallery = LanceGallery(path)
    assert gallery.count() == 5
    assert (path / "entries-9-00000000.lance").exists()
    gallery.add(vectors(1), entries(1))
    gallery.close()
    assert sorted(file.suffix for file in path.iterdir()) == [".json", ".lance", ".lock", ".log", ".rows"]


@pytest.mark.filterwarnings("ignore:optimize:UserWarning")
def test_many_small_changes_are_joined_and_readers_stay_right(
    path: Path, writer: LanceGallery, reader: LanceGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "MANY_COMMITS", 8)
    monkeypatch.setattr(table_module, "KEPT_FOR", timedelta(0))  # worse for readers than it ever is
    rows = vectors(40)
    for number in range(40):
        writer.add([part[number : number + 1] for part in rows], entries(1, number))
        if number % 9 == 0:
            assert nearest(reader, rows[0][number]) == [f"id {number}"]
    assert len(list(path.glob("*.lance/data/*"))) < 20
    assert len(list(path.glob("*.lance/_versions/*"))) < 20
    np.testing.assert_array_equal(reader.vectors(1), rows[1])


@pytest.fixture
def no_room() -> Iterator[Callable[[int], None]]:
    """Lets no file grow beyond a number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size if size else before[0], before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("change", ["add", "replace", "forget"])
def test_a_write_that_fails_changes_nothing_and_the_next_one_works(
    path: Path, writer: LanceGallery, no_room: Callable[[int], None], change: str
) -> None:
    rows = vectors(1000)
    writer.add(rows, entries(1000))
    act = {
        "add": lambda: writer.add(vectors(1000, 1), entries(1000, 1000)),
        "replace": lambda: writer.add(vectors(1000, 1), entries(1000, 10)),
        "forget": lambda: writer.forget(people=[3]),
    }[change]
    no_room(30_000)
    with pytest.raises(OSError, match="File too large, the gallery could not be changed") as failure:
        act()
    no_room(0)
    assert (failure.value.errno, failure.value.filename) == (errno.EFBIG, str(path))
    assert writer.count() == 1000
    np.testing.assert_array_equal(writer.vectors(0), rows[0])
    assert len(list(path.glob("*.lance"))) == 1
    act()
    assert writer.count() == {"add": 2000, "replace": 1010, "forget": 857}[change]


@pytest.mark.parametrize(("place", "what"), [(folder, "sync_below"), (os, "fsync")], ids=["flushed", "logged"])
def test_a_change_that_cannot_be_flushed_is_taken_back(
    path: Path, writer: LanceGallery, reader: LanceGallery, monkeypatch: pytest.MonkeyPatch, place: Any, what: str
) -> None:
    writer.add(vectors(5), entries(5))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(place, what, fail)
        for change in (lambda: writer.add(vectors(3), entries(3, 9)), lambda: writer.remove(["id 1"]), writer.forget):
            with pytest.raises(OSError, match="Input/output"):
                change()
    assert reader.count() == writer.count() == 5
    writer.add(vectors(3), entries(3, 9))
    assert reader.count() == 8


def test_a_gallery_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("nowhere", "there is no gallery"),
        ("file", "isn't a gallery"),
        ("empty", "isn't a gallery"),
    ):
        with pytest.raises(UnknownGalleryError, match=f"{message}.*`dare index`") as refusal:
            open_gallery(tmp_path / name)
        assert refusal.value.code == "unknown_gallery"
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "gallery.json isn't valid JSON"),
        (lambda text: text[:40], "gallery.json isn't valid JSON"),
        (lambda text: "[]", "gallery.json: expected an object"),
        (lambda text: "[" * 100_000, "gallery.json isn't valid JSON"),
        (
            lambda text: '{"format": 1}',
            "lacks model, dimensions, model_path, names, table, so it is another kind of file",
        ),
        (lambda text: text.replace('"format": 1', '"format": "1"'), "format: expected a valid integer, got '1'"),
        (lambda text: text.replace('"format": 1', '"format": 3'), "has format 3.*up to 2; update dare"),
        (lambda text: text.replace('"format": 1', '"format": 3, "new": 1'), "has format 3.*up to 2; update dare"),
        (lambda text: text.replace('"format": 1', '"format": 0'), "format: expected at least 1, got 0"),
        (lambda text: text.replace('"format": 1', '"format": 1, "new": 1'), "new is unknown; leave it out"),
        (
            lambda text: json.dumps(json.loads(text) | {"space": "both"}),
            "space: expected 'own' or 'shared', got 'both'",
        ),
        (lambda text: json.dumps(json.loads(text) | {"space": "shared"}), "only if their vectors have one size"),
        (lambda text: json.dumps(json.loads(text) | {"names": "ab"}), "names: expected a valid array, got 'ab'"),
        (lambda text: json.dumps(json.loads(text) | {"model_path": "run"}), "model_path: expected a valid array"),
        (
            lambda text: json.dumps(json.loads(text) | {"names": ["early", 2]}),
            "names.1: expected a valid string, got 2",
        ),
        (lambda text: text.replace(" 32,", " 31,"), "has other columns"),
        (lambda text: text.replace(" 32,", " 0,"), "dimensions.0: expected greater than 0, got 0"),
        (lambda text: text.replace(" 32,", " 1" + "0" * 400 + ","), "dimensions.0: expected"),
        (lambda text: text.replace('"late"', '"late", "latest"'), "a name for each"),
        (lambda text: text.replace("entries-1-", "../entries-1-"), "expected a table called like"),
        (lambda text: text.replace("entries-1-", "entries-2-"), r"lacks its table entries-2-\w+.lance"),
    ],
)
def test_a_damaged_description_is_told(path: Path, damage: Callable[[str], str], message: str) -> None:
    description = path / "gallery.json"
    description.write_text(damage(description.read_text()))
    if description.read_text().startswith("{\n"):
        reseal(description)
    with pytest.raises(GalleryError, match=message) as refusal:
        open_gallery(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("damaged", ["manifest", "data"])
@pytest.mark.parametrize("how", ["gone", "empty", "cut"])
def test_a_damaged_table_is_told_in_one_line_and_can_be_taken_back_by_one_change(
    path: Path, writer: LanceGallery, damaged: str, how: str
) -> None:
    for number in range(2):
        writer.add(vectors(50, number), entries(50, 50 * number))
    writer.close()
    for rows in path.glob("*.rows"):
        rows.unlink()  # which would be read instead
    newest = min(path.glob("*.lance/_versions/*.manifest"))
    file = (
        newest if damaged == "manifest" else max(path.glob("*.lance/data/*"), key=lambda file: file.stat().st_mtime_ns)
    )
    if how == "gone":
        file.unlink()
    else:
        os.truncate(file, 50 if how == "cut" else 0)
    if (damaged, how) != ("manifest", "gone"):
        with pytest.raises(GalleryError, match="could not be read") as refusal:
            LanceGallery(path).vectors(0)
        assert "\n" not in str(refusal.value)
        newest.unlink()
    np.testing.assert_array_equal(writer.vectors(0), vectors(50)[0])
    writer.add(vectors(1, 2), entries(1, 200))
    assert LanceGallery(path).count() == 51


def test_a_gallery_is_made_only_where_nothing_is(path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "picture.jpg").write_text("")
    for name, message in ((path.name, "already"), ("file", "is a file"), ("full", "not empty")):
        with pytest.raises(GalleryError, match=message):
            create_gallery(tmp_path / name, model=MODEL, dimensions=DIMENSIONS)
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["picture.jpg"]


def test_making_a_gallery_can_be_repeated_after_a_kill_but_never_costs_entries(
    path: Path, writer: LanceGallery
) -> None:
    (path / "gallery.json").unlink()
    again = create_gallery(path, model=MODEL, dimensions=DIMENSIONS)
    again.add(vectors(2), entries(2))
    again.close()
    (path / "gallery.json").unlink()
    with pytest.raises(GalleryError, match="not empty"):
        create_gallery(path, model=MODEL, dimensions=DIMENSIONS)


@pytest.mark.parametrize("how", ["gone", "another model", "damaged"])
def test_an_open_gallery_that_is_another_one_now_says_so(path: Path, reader: LanceGallery, how: str) -> None:
    reader.vectors(0)
    if how == "damaged":
        (path / "gallery.json").write_text("{")
    else:
        shutil.rmtree(path)
    if how == "another model":
        create_gallery(path, model="b" * 64, dimensions=DIMENSIONS).close()
    for act in (reader.count, lambda: reader.vectors(0), lambda: reader.add(vectors(1), entries(1))):
        with pytest.raises(GalleryChangedError) as refusal:
            act()
        assert refusal.value.code == "gallery_changed"
    assert path.exists() == (how != "gone")


def test_a_gallery_made_anew_from_the_same_network_is_simply_read(path: Path, reader: LanceGallery) -> None:
    reader.vectors(0)
    shutil.rmtree(path)
    again = create_gallery(path, model=MODEL, dimensions=DIMENSIONS)
    again.add(vectors(2), entries(2))
    again.close()
    assert reader.vectors(0).shape == (2, 32)


def test_ids_that_are_no_text_are_nowhere(writer: LanceGallery) -> None:
    writer.add(vectors(1), [Entry("?")])
    assert writer.get(["\udcff"]) == {}
    assert writer.remove(["\udcff"]) == writer.forget(ids=["\udcff"], people=[10**30, -1]) == 0
    assert json.loads((writer.path / "gallery.json").read_text())["format"] == 1


@pytest.mark.parametrize("what", ["folder", "lock"])
def test_a_writer_whose_lock_was_deleted_holds_none(path: Path, writer: LanceGallery, what: str) -> None:
    writer.add(vectors(1), entries(1))
    if what == "folder":
        shutil.rmtree(path)
        create_gallery(path, model=MODEL, dimensions=DIMENSIONS).close()
    else:
        (path / "gallery.lock").unlink()
    second = LanceGallery(path)
    second.add(vectors(1), entries(1, 1))
    with pytest.raises(GalleryLockedError):
        writer.add(vectors(1), entries(1, 2))
    second.add(vectors(1), entries(1, 3))
    second.close()
    writer.add(vectors(1), entries(1, 4))
    assert writer.count() == (3 if what == "folder" else 4)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_lets_a_change_come_to_its_end(writer: LanceGallery, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = folder.sync_below

    def interrupted(*arguments: Any) -> set[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return flush(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "sync_below", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.add(vectors(5), entries(5))
    assert writer.count() == 5
    writer.add(vectors(5), entries(5))
    assert writer.count() == 5
    assert writer.forget(ids=["id 3"]) == 1
    assert writer.get(["id 3"]) == {}


def test_a_reader_that_was_interrupted_reads_again(
    writer: LanceGallery, reader: LanceGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    writer.add(vectors(5), entries(5))
    reader.vectors(0)
    writer.add(vectors(5, 1), entries(5, 5))
    with monkeypatch.context() as patch:
        patch.setattr(rows_module, "_increasing", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.vectors(0)
    np.testing.assert_array_equal(reader.vectors(0), np.concatenate([vectors(5)[0], vectors(5, 1)[0]]))


def test_rows_are_put_in_order_however_they_are_read(
    writer: LanceGallery, reader: LanceGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = rows_module.read

    def backwards(*arguments: Any) -> Any:
        for batch in reversed(list(read(*arguments))):
            yield batch.take(np.arange(batch.num_rows)[::-1])

    monkeypatch.setattr(rows_module, "read", backwards)
    rows = vectors(15)
    for start in (0, 5, 10):
        writer.add([part[start : start + 5] for part in rows], entries(5, start))
        np.testing.assert_array_equal(reader.vectors(0), rows[0][: start + 5])
        assert reader.ids() == [entry.id for entry in entries(start + 5)]
        assert nearest(reader, rows[0][start + 1]) == [f"id {start + 1}"]
    np.testing.assert_array_equal(reader.vectors(1), rows[1])


def test_a_manifest_cut_anywhere_is_told_as_a_damaged_gallery(path: Path, writer: LanceGallery) -> None:
    writer.add(vectors(3), entries(3))
    writer.close()
    manifest = min(path.glob("*.lance/_versions/*.manifest"))
    whole = manifest.read_bytes()
    for length in range(0, len(whole), 7):
        manifest.write_bytes(whole[:length])
        with pytest.raises(GalleryError):
            LanceGallery(path).vectors(0)


def test_lancedb_words_its_errors_as_they_are_read(tmp_path: Path, no_room: Callable[[int], None]) -> None:
    """It gives only text: `plain_errors` finds the system's error number in it, the reason, and panics by name."""
    rows = pa.table({"number": np.arange(50_000)})
    table = table_module.connect(tmp_path).create_table("t", rows)
    no_room(30_000)
    with pytest.raises(RuntimeError, match=r"^lance error: LanceError\(IO\): File too large \(os error 27\), /"):
        table.add(rows)
    no_room(0)
    manifest = min((tmp_path / "t.lance" / "_versions").iterdir())
    whole, raised = manifest.read_bytes(), {}
    for length in range(0, len(whole), 7):
        manifest.write_bytes(whole[:length])
        with pytest.raises(BaseException) as failure:  # noqa: PT011 - a panic may be any
            table_module.connect(tmp_path).open_table("t")
        raised[type(failure.value).__name__] = str(failure.value)
    assert raised.keys() == {"RuntimeError", "RustPanic"}
    assert re.match(r"lance error: LanceError\(IO\): [^/]+, /", raised["RuntimeError"])
    manifest.write_bytes(whole)
    next((tmp_path / "t.lance" / "data").iterdir()).unlink()
    with pytest.raises(RuntimeError, match=r"^lance error: Not found: .*, /"):
        table_module.connect(tmp_path).open_table("t").to_arrow()


def test_zeros_are_not_taken_for_a_vector(path: Path, writer: LanceGallery) -> None:
    rows = vectors(512)
    writer.add(rows, entries(512))
    writer.close()
    next(path.glob("*.rows")).unlink()  # which would be read instead
    file = next(path.glob("*.lance/data/*"))
    content = bytearray(file.read_bytes())
    start = content.index(rows[0][100].tobytes())
    content[start : start + 128] = bytes(128)
    file.write_bytes(content)
    with pytest.raises(GalleryError, match=r"zero or not finite.*restore a backup or index again"):
        LanceGallery(path).vectors(0)


def test_of_two_who_make_a_gallery_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new"
    path.mkdir()
    lock = folder.writer_lock(path)
    lock.take()
    with pytest.raises(GalleryLockedError):
        create_gallery(path, model=MODEL, dimensions=DIMENSIONS)
    lock.release()
    take = FolderLock.take

    def late(lock: FolderLock) -> None:
        monkeypatch.undo()
        create_gallery(path, model=MODEL, dimensions=DIMENSIONS).close()
        take(lock)

    monkeypatch.setattr(FolderLock, "take", late)
    with pytest.raises(GalleryError, match="already"):
        create_gallery(path, model="b" * 64, dimensions=DIMENSIONS)
    assert open_gallery(path).model == MODEL


@pytest.mark.parametrize("name", ["a\nb", "above/a\nb", "\udcff"])
def test_a_gallery_that_cannot_be_made_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(GalleryError):
        create_gallery(tmp_path / name, model=MODEL, dimensions=DIMENSIONS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["s3://bucket/gallery", "file:///gallery", Path("gs://bucket")])
def test_an_address_is_no_folder(uri: str | Path) -> None:
    with pytest.raises(GalleryError, match="is an address"):
        create_gallery(uri, model=MODEL, dimensions=DIMENSIONS)
    with pytest.raises(GalleryError, match="is an address"):
        open_gallery(uri)
