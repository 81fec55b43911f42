"""Damage is found wherever it is, a backup is one state of the gallery, and what was forgotten stays so."""

import errno
import itertools
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gallery import crash_writer

from dare.datasets.listing import label_number
from dare.gallery.care import backup, restore, verify
from dare.gallery.entry import Entry
from dare.gallery.lance import LanceGallery
from dare.gallery.log import LOG, Log
from dare.gallery.opening import create_gallery, open_gallery
from dare.gallery.seen import per_camera_and_day, per_person
from dare.gallery.store import GalleryError, GalleryLockedError, UnknownGalleryError

DAY = 86400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gallery after a few changes, with what LanceDB writes for each kind of them."""
    path = tmp_path / "a gallery, ü"
    gallery = create_gallery(path, model="a" * 64, dimensions=(16, 8))
    gallery.add(vectors(60), entries(60))
    gallery.add(vectors(10, 1), entries(10, 55))
    gallery.remove(["id 3"])
    gallery.forget(people=["Berta"])
    gallery.add(vectors(2, 2), entries(2, 80))
    gallery.remove(["id 80"])
    gallery.close()
    return path


def vectors(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(count, size)).astype(np.float32) for size in (16, 8)]


def entries(count: int, first: int = 0) -> list[Entry]:
    people = [(1, ""), (label_number("Anna"), "Anna"), (label_number("Berta"), "Berta"), (None, "")]
    return [
        Entry(f"id {n}", people[n % 4][0], n % 3, n * DAY / 10 if n % 5 else None, f"{n}.jpg", people[n % 4][1])
        for n in range(first, first + count)
    ]


def contents(gallery: Path) -> dict[str, tuple[Entry, bytes]]:
    store = open_gallery(gallery)
    rows = [store.vectors(exit) for exit in (0, 1)]
    ids = store.ids()
    return {
        id: (entry, b"".join(exit[place].tobytes() for exit in rows))
        for place, (id, entry) in enumerate(store.get(ids).items())
    }


def test_a_gallery_that_nobody_touched_is_as_it_was_written(path: Path) -> None:
    found = verify(path)
    assert (found.problems, found.notes) == ((), ())
    assert found.entries == len(contents(path)) == open_gallery(path).count()
    assert [line.what for line in Log(path).lines] == ["begin", "add", "add", "remove", "forget", "add", "remove"]
    assert [line.entries for line in Log(path).lines] == [0, 60, 10, 1, 16, 2, 1]
    with pytest.raises(UnknownGalleryError):
        verify(path / "nowhere")


def test_damage_of_any_file_is_found(path: Path, tmp_path: Path) -> None:
    chance = random.Random(0)
    files = [
        file
        for file in path.rglob("*")
        if file.is_file() and file.name not in ("gallery.lock", "latest_version_hint.json")
    ]
    kinds = {file.suffix for file in files}
    assert kinds == {".lance", ".manifest", ".txn", ".rows", ".json", ".log", ".arrow"}
    for file in files:
        whole = file.read_bytes()
        for damage in ("bit", "bit", "cut", "longer", "gone"):
            content = bytearray(whole)
            if damage == "bit":
                content[chance.randrange(len(content) - 1)] ^= 1 << chance.randrange(8)
            file.write_bytes(content[: chance.randrange(len(content) - 1)] if damage == "cut" else content)
            if damage == "longer":
                file.write_bytes(whole + b"x\n")
            if damage == "gone":
                file.unlink()
            needed = (file.suffix not in (".txn", ".rows") and file.parent.name != "_versions") or damage != "gone"
            try:
                found = verify(path)
            except UnknownGalleryError:
                assert (file.name, damage) == ("gallery.json", "gone")
            else:
                assert found.problems or found.notes or not needed, (file, damage)
                assert found.notes == () or file.name == LOG, (file, damage, found)
            file.write_bytes(whole)
    assert verify(path).problems == ()


def test_the_log_tells_lines_that_were_changed_taken_out_or_put_in(path: Path) -> None:
    log = path / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    for place, line in [*enumerate(lines)][1:-1:2]:
        for new in (
            [],
            [line, line],
            [lines[-1]],
            [b"{}\n"],
            [b"\xff\n"],
            [line.replace(b'"entries":', b'"entries":1')],
        ):
            if new == [line]:
                continue
            log.write_bytes(b"".join([*lines[:place], *new, *lines[place + 1 :]]))
            assert f"line {place + 1}" in " ".join(verify(path).problems) or f"line {place + 2}" in " ".join(
                verify(path).problems
            )
    log.write_bytes(b"".join(lines))
    assert verify(path).problems == ()


def test_the_log_holds_no_names_ids_or_vectors_and_says_who(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "guard")
    gallery = open_gallery(path)
    gallery.forget(people=["Anna"], ids=["id 7"])
    gallery.relabel({1: "Carla"})
    gallery.close()
    text = (path / LOG).read_text()
    assert not any(name in text for name in ("Anna", "Berta", "Carla", "id 7", "id 3"))
    *_, forgotten, relabelled = Log(path).lines
    assert forgotten.who.startswith("guard@")
    assert (forgotten.what, len(forgotten.asked)) == ("forget", 2 + forgotten.entries - 1)  # Anna, and the ids
    assert (relabelled.what, len(relabelled.asked)) == ("relabel", 2)


def test_a_line_cut_short_is_replaced_and_files_without_one_are_logged(path: Path) -> None:
    lines = (path / LOG).read_bytes().splitlines(keepends=True)
    (path / LOG).write_bytes(b"".join(lines[:-1]) + lines[-1][:50])
    found = verify(path)
    assert found.problems == ()
    assert "files of an unfinished change have no checksum" in found.notes[0]
    gallery = open_gallery(path)
    gallery.add(vectors(1, 9), entries(1, 99))
    gallery.close()
    assert [line.what for line in Log(path).lines[-2:]] == ["recover", "add"]
    assert verify(path).problems == verify(path).notes == ()


def test_a_gallery_without_a_log_gets_one_with_its_next_change(path: Path, tmp_path: Path) -> None:
    (path / LOG).unlink()
    assert "no log of changes yet" in verify(path).notes[0]
    backup(path, tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(path)
    (tmp_path / "copy" / LOG).unlink()
    restore(tmp_path / "copy", path)
    assert verify(path).problems == verify(path).notes == ()
    assert [line.what for line in Log(path).lines] == ["begin", "restore"]


def test_a_backup_is_a_gallery_with_the_same_entries_and_nothing_else(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "new" / "copy"
    before = contents(path)
    assert backup(path, copy) == len(before)
    assert contents(copy) == before
    assert verify(copy).problems == verify(copy).notes == ()
    assert list(itertools.islice(Log(copy).lines, 7)) == Log(path).lines
    removed = vectors(60)[0][3].tobytes()
    assert not any(removed in file.read_bytes() for file in copy.rglob("*") if file.is_file())
    with pytest.raises(GalleryError, match="already"):
        backup(path, copy)
    with pytest.raises(GalleryError, match="in the gallery itself"):
        backup(path, path / "copy")
    store = open_gallery(copy)
    store.add(vectors(1, 5), entries(1, 200))
    store.close()
    assert list(contents(copy)) == [*before, "id 200"]


def test_a_damaged_gallery_is_neither_backed_up_nor_restored(path: Path, tmp_path: Path) -> None:
    backup(path, tmp_path / "copy")
    for place in (path, tmp_path / "copy"):
        data = max(place.glob("*.lance/data/*"), key=lambda file: file.stat().st_size)
        content = bytearray(data.read_bytes())
        content[100] ^= 1
        data.write_bytes(content)
    with pytest.raises(GalleryError, match="isn't as it was written"):
        backup(path, tmp_path / "another")
    with pytest.raises(GalleryError, match="isn't as it was written"):
        restore(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "another").exists()
    assert not (tmp_path / "new").exists()


def test_every_backup_made_while_others_write_is_one_state(tmp_path: Path) -> None:
    path, done, stop = tmp_path / "gallery", [-1], threading.Event()
    crash_writer.create(path)
    gallery = open_gallery(path)

    def write() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            crash_writer.change(gallery, number, 7)
            done[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        bounds = []
        for number in range(6):
            first = done[0]
            backup(path, tmp_path / str(number))
            bounds.append((first, done[0] + 1))
    finally:
        stop.set()
        writer.join()
    gallery.close()
    assert verify(path).problems == ()
    states: list[crash_writer.State] = [{}]
    for number in range(bounds[-1][1] + 1):
        states.append(crash_writer.expected(states[-1], number, 7))
    for number, (first, last) in enumerate(bounds):
        copy = open_gallery(tmp_path / str(number))
        assert any(crash_writer.holds(copy, state) for state in states[first + 1 : last + 2]), number


@pytest.mark.parametrize("lost", ["nothing", "the table", "all but the log", "damaged"])
def test_what_was_forgotten_since_a_backup_stays_forgotten(path: Path, tmp_path: Path, lost: str) -> None:
    backup(path, tmp_path / "copy")
    before = contents(path)
    gallery, reader = open_gallery(path), open_gallery(path)
    assert reader.count() == len(before)
    gallery.add(vectors(1, 7), entries(1, 300))
    gallery.forget(people=["Anna"])
    gallery.forget(ids=["id 8", "id 16"])
    gallery.forget(before=1.2 * DAY)
    gallery.add([rows[:1] for rows in vectors(60)], [Entry("id 8", 1)])  # of another picture by now
    gallery.remove(["id 20"])
    gallery.close()
    if lost == "the table":
        shutil.rmtree(next(path.glob("*.lance")))
    if lost == "all but the log":
        for file in path.iterdir():
            if file.name != LOG:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
    if lost == "damaged":
        (path / "gallery.json").write_text("{")
    left = {
        id: value
        for id, value in before.items()
        if value[0].name != "Anna" and id not in ("id 8", "id 16") and not (value[0].time or DAY * 99) < 1.2 * DAY
    }
    assert "id 20" in left
    assert restore(tmp_path / "copy", path) == (len(left), len(before) - len(left))
    assert contents(path) == left
    assert list(left) == open_gallery(path).ids()
    assert verify(path).problems == verify(path).notes == ()
    if lost in ("nothing", "the table"):
        assert reader.count() == len(left)


@pytest.mark.parametrize("change", [{"Anna": "Carla"}, {1: "Carla", "Anna": "Carla"}], ids=["renamed", "merged"])
def test_who_got_another_name_before_being_forgotten_stays_forgotten(
    path: Path, tmp_path: Path, change: dict[int | str, str]
) -> None:
    before = contents(path)
    backup(path, tmp_path / "copy")
    gallery = open_gallery(path)
    gallery.relabel(change)
    count = gallery.forget(people=["Carla"])
    gallery.close()
    assert count > 10
    assert restore(tmp_path / "copy", path) == (len(before) - count, count)
    assert not {label_number("Anna"), label_number("Carla")} & {entry.person for entry, _ in contents(path).values()}


def test_nothing_is_restored_over_a_log_that_cannot_say_who_was_forgotten(path: Path, tmp_path: Path) -> None:
    backup(path, tmp_path / "copy")
    gallery = open_gallery(path)
    gallery.forget(people=["Anna"])
    gallery.close()
    before, log = contents(path), (path / LOG).read_text()
    for damaged in (log.replace('"what":"forget"', '"what":"fOrget"'), log.replace('"key":"', '"key":"0')):
        (path / LOG).write_text(damaged)
        with pytest.raises(GalleryError, match="nobody knows who was forgotten since the backup"):
            restore(tmp_path / "copy", path)
        assert contents(path) == before


@pytest.mark.parametrize("change", ["forget", "relabel"])
def test_a_damaged_table_is_not_written_anew_with_new_checksums(path: Path, change: str) -> None:
    data = max(path.glob("*.lance/data/*"), key=lambda file: file.stat().st_size)
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    gallery = open_gallery(path)
    with pytest.raises(GalleryError, match="isn't as it was written; restore a backup"):
        gallery.forget(people=["Anna"]) if change == "forget" else gallery.relabel({"Anna": "Carla"})
    gallery.close()
    assert verify(path).problems


@pytest.mark.parametrize("change", ["forget", "relabel", "restore"])
def test_a_change_that_cannot_be_logged_is_not_made(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    backup(path, tmp_path / "copy")
    gallery = open_gallery(path)
    gallery.add(vectors(1, 4), entries(1, 400))
    before = contents(path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    changes: dict[str, Callable[[], object]] = {
        "forget": lambda: gallery.forget(people=["Anna"]),
        "relabel": lambda: gallery.relabel({"Anna": "Carla"}),
        "restore": lambda: restore(tmp_path / "copy", path),
    }
    if change == "restore":
        gallery.close()
    with monkeypatch.context() as patch:
        patch.setattr("dare.gallery.log.Log.append", fail)
        with pytest.raises(OSError, match="No space left on device"):
            changes[change]()
    assert contents(path) == before
    gallery.close()
    assert verify(path).problems == ()


def test_a_missing_version_is_noticed(path: Path) -> None:
    min(path.glob("*.lance/_versions/*.manifest")).unlink()
    assert "is missing, and with it the newest change" in verify(path).problems[0]


def test_a_backup_is_restored_elsewhere_and_only_where_a_gallery_is_or_nothing(path: Path, tmp_path: Path) -> None:
    backup(path, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "elsewhere" / "new")
    assert contents(tmp_path / "elsewhere" / "new") == contents(path)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "picture.jpg").write_text("")
    for place in ("file", "full"):
        with pytest.raises(GalleryError, match="isn't a gallery"):
            restore(tmp_path / "copy", tmp_path / place)
    create_gallery(tmp_path / "other", model="a" * 64, dimensions=(16, 8)).close()
    with pytest.raises(GalleryError, match="is another gallery than the one that was backed up"):
        restore(tmp_path / "copy", tmp_path / "other")
    with pytest.raises(GalleryError, match="but a gallery in use; give the backup first"):
        restore(path, tmp_path / "copy")  # the wrong way round
    with pytest.raises(GalleryError, match="is the gallery itself"):
        restore(path, path)
    writer = LanceGallery(path)
    writer.take_lock()
    with pytest.raises(GalleryLockedError):
        restore(tmp_path / "copy", path)
    writer.close()


def test_a_restore_that_fails_leaves_nothing_and_what_a_kill_leaves_is_swept(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(path, tmp_path / "copy")
    before = contents(path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for place in (path, tmp_path / "new" / "place"):
        with monkeypatch.context() as patch:
            patch.setattr("dare.gallery.folder.write", die)
            with pytest.raises(KeyboardInterrupt):
                restore(tmp_path / "copy", place)
        assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, "copy"])
        assert len(list(path.glob("*.lance"))) == 1
    shutil.copytree(next(path.glob("*.lance")), path / "entries-9-00000000.lance")  # as a kill leaves it
    restore(tmp_path / "copy", path)
    assert contents(path) == before
    assert verify(path).problems == ()
    assert len(list(path.glob("*.lance"))) == 1


def test_who_is_in_a_gallery(tmp_path: Path) -> None:
    gallery = create_gallery(tmp_path / "g", model="a" * 64, dimensions=(16, 8))
    rows = [
        Entry("a", 2**48 + 1, 2**48 + 7, 10.0, name="Anna", camera_name="till"),
        Entry("b", 2**48 + 1, 2**48 + 7, DAY + 5, name="Anna", camera_name="till"),
        Entry("c", 10, 2**48 + 7, 20.0, camera_name="till"),
        Entry("d", 9, 3, None),
        Entry("e", None, 3, None),
        Entry("f", None, 3, 1e300),
        Entry("g", 9, None, 5.0),
        Entry("h", 2**49, None, None, name="9" * 4000),
    ]
    gallery.add(vectors(8), rows)
    seen = [(one.name, one.day, one.entries, len(one.others)) for one in per_camera_and_day(gallery)]
    assert seen == [
        ("3", "", 3, 3),
        ("till", "1970-01-01", 2, 2),
        ("till", "1970-01-02", 1, 1),
        ("", "", 1, 1),
        ("", "1970-01-01", 1, 1),
    ]
    people = [(one.name, one.entries, one.others, one.first, one.last) for one in per_person(gallery)]
    assert people == [
        ("9", 2, ("3", ""), 5.0, 5.0),
        ("10", 1, ("till",), 20.0, 20.0),
        ("9" * 4000, 1, ("",), None, None),
        ("Anna", 2, ("till",), 10.0, DAY + 5),
        ("", 2, ("3",), 1e300, 1e300),
    ]
    gallery.close()
