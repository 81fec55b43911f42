"""Every gallery answers as a slow loop over all pairs does."""

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dare.datasets.listing import label_number
from dare.gallery.entry import Entry, Where
from dare.gallery.memory import MemoryGallery
from dare.gallery.opening import create_gallery
from dare.gallery.store import LONGEST_SQUARE, Gallery, MismatchError
from dare.retrieval.distances import Space

MODEL = "a" * 64
DIMENSIONS = (3, 5)
SAME_SIZE = (4, 4, 4)

Build = Callable[[Path, tuple[int, ...], Space], Gallery]
GALLERIES: dict[str, Build] = {
    "memory": lambda _, dimensions, space: MemoryGallery(MODEL, dimensions, space),
    "lance": lambda folder, dimensions, space: create_gallery(folder, model=MODEL, dimensions=dimensions, space=space),
}


@pytest.fixture(params=GALLERIES.values(), ids=GALLERIES)
def build(request: pytest.FixtureRequest) -> Build:
    made: Build = request.param
    return made


@pytest.fixture
def gallery(build: Build, tmp_path: Path) -> Iterator[Gallery]:
    gallery = build(tmp_path / "gallery", DIMENSIONS, "own")
    yield gallery
    gallery.close()


@pytest.fixture
def shared(build: Build, tmp_path: Path) -> Iterator[Gallery]:
    """Of a network of three exits whose vectors lie in one space."""
    gallery = build(tmp_path / "shared", SAME_SIZE, "shared")
    yield gallery
    gallery.close()


def random_vectors(count: int, seed: int = 0, dimensions: tuple[int, ...] = DIMENSIONS) -> list[np.ndarray]:
    """Of whole numbers, so that many distances are equal."""
    random = np.random.default_rng(seed)
    return [random.integers(1, 4, (count, size)).astype(np.float32) for size in dimensions]


def random_entries(count: int, seed: int = 0) -> list[Entry]:
    random = np.random.default_rng(seed)
    return [
        Entry(
            f"c{number}/bild {number} ü.jpg",
            None if random.random() < 0.2 else int(random.integers(0, 6)),
            None if random.random() < 0.2 else int(random.integers(0, 4)),
            None if random.random() < 0.2 else float(random.integers(0, 100)),
            f"/pictures/{number}.jpg",
            "" if random.random() < 0.5 else "Łucja",
        )
        for number in range(count)
    ]


def allowed(entry: Entry, where: Where | None) -> bool:
    if where is None:
        return True
    return (
        (where.cameras is None or entry.camera in where.cameras)
        and (entry.camera is None or entry.camera not in where.not_cameras)
        and (where.people is None or entry.person in where.people)
        and (where.not_seen is None or (entry.person, entry.camera) != where.not_seen)
        and entry.id not in where.not_ids
        and (where.since is None or (entry.time is not None and entry.time >= where.since))
        and (where.until is None or (entry.time is not None and entry.time <= where.until))
    )


def by_loop(
    vectors: np.ndarray, entries: list[Entry], query: np.ndarray, count: int, where: Where | None
) -> list[tuple[float, str]]:
    pairs = [
        (float(np.sqrt(np.square(vector.astype(np.float64) - query).sum())), place)
        for place, (vector, entry) in enumerate(zip(vectors, entries, strict=True))
        if allowed(entry, where)
    ]
    return [(distance, entries[place].id) for distance, place in sorted(pairs)[:count]]


FILTERS = [
    None,
    Where(cameras=(1, 2)),
    Where(not_cameras=(0, 3)),
    Where(people=(2,)),
    Where(not_seen=(2, 1)),
    Where(since=20.0, until=60.0),
    Where(cameras=(1,), people=(1, 3), since=50.0),
    Where(people=(99,)),
    Where(not_ids=("c3/bild 3 ü.jpg", "c9/bild 9 ü.jpg", "not there")),
    Where(people=(2,), not_ids=("c3/bild 3 ü.jpg",)),
]


@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("exit", [0, 1])
def test_a_search_finds_what_a_loop_finds_ties_included(gallery: Gallery, exit: int, count: int) -> None:
    vectors, entries = random_vectors(60), random_entries(60)
    for start in range(0, 60, 25):
        part = slice(start, start + 25)
        gallery.add([rows[part] for rows in vectors], entries[part])
    queries = random_vectors(len(FILTERS), seed=1)[exit]
    together = gallery.search(exit, queries, count, where=FILTERS)
    assert len(together) == len(FILTERS)
    for number, where in enumerate(FILTERS):
        expected = by_loop(vectors[exit], entries, queries[number], count, where)
        alone = gallery.search(exit, queries[number : number + 1], count, where=where)
        for hits in (together.of(number), alone.of(0)):
            assert hits.ids[0].tolist() == [id for _, id in expected]
            np.testing.assert_allclose(hits.distances[0], [distance for distance, _ in expected], rtol=1e-12)
            who = [next(e for e in entries if e.id == id) for _, id in expected]
            assert [p if p >= 0 else None for p in hits.people[0].tolist()] == [e.person for e in who]
            assert [c if c >= 0 else None for c in hits.cameras[0].tolist()] == [e.camera for e in who]
            assert hits.complete.tolist() == [sum(allowed(e, where) for e in entries) <= count]


@pytest.mark.parametrize("exit", [0, 1, 2])
def test_in_one_space_every_exit_searches_the_vectors_of_the_last_ties_included(shared: Gallery, exit: int) -> None:
    (*_, last), entries = random_vectors(60, dimensions=SAME_SIZE), random_entries(60)
    for start in range(0, 60, 25):
        part = slice(start, start + 25)
        shared.add([last[part]], entries[part])
    shared.add([last[:5] + 1], entries[:5])  # replaces them, behind the others
    stored, order = np.concatenate([last[5:], last[:5] + 1]), entries[5:] + entries[:5]
    gone = [entry.id for entry in order[10:13]]
    assert shared.remove(gone) == 3
    kept = [place for place, entry in enumerate(order) if entry.id not in gone]
    stored, order = stored[kept], [order[place] for place in kept]
    queries = random_vectors(len(FILTERS), seed=1, dimensions=SAME_SIZE)[exit]
    together = shared.search(exit, queries, 20, where=FILTERS)
    for number, where in enumerate(FILTERS):
        expected = by_loop(stored, order, queries[number], 20, where)
        assert together.of(number).ids[0].tolist() == [id for _, id in expected]
        np.testing.assert_allclose(together.of(number).distances[0], [d for d, _ in expected], rtol=1e-12)
    np.testing.assert_array_equal(shared.vectors(exit), stored)
    assert shared.forget(people=[2]) == sum(entry.person == 2 for entry in order)
    left = [place for place, entry in enumerate(order) if entry.person != 2]
    np.testing.assert_array_equal(shared.vectors(exit), stored[left])


def test_in_one_space_entries_have_a_single_vector(shared: Gallery) -> None:
    three = [np.ones((1, size), np.float32) for size in SAME_SIZE]
    assert (shared.space, shared.dimensions) == ("shared", SAME_SIZE)
    with pytest.raises(MismatchError, match=r"holds vectors of the last exit only, .* got 3"):
        shared.add(three, [Entry("a", 1)])
    with pytest.raises(MismatchError, match=r"expected vectors \(N, 4\) at exit 2"):
        shared.add([np.ones((1, 5))], [Entry("a", 1)])
    shared.add(three[2:], [Entry("a", 1)])
    assert shared.search(0, three[0], 5).ids.tolist() == [["a"]]
    with pytest.raises(ValueError, match="exits are 0 to 2, got 3"):
        shared.search(3, three[0], 1)
    with pytest.raises(ValueError, match="exits are 0 to 2, got -1"):
        shared.vectors(-1)


def test_in_one_space_all_exits_search_one_matrix(build: Build, tmp_path: Path) -> None:
    """Of four exits: a quarter of the memory that is held, but for labels."""
    random, entries = np.random.default_rng(0), random_entries(3000)
    vectors = [random.normal(size=(3000, 64)).astype(np.float32) for _ in range(4)]

    def held(space: Space) -> int:
        gallery = build(tmp_path / space, (64,) * 4, space)
        gallery.add(vectors if space == "own" else vectors[-1:], entries)
        tracemalloc.start()
        for exit in range(4):
            gallery.search(exit, vectors[exit][:1], 3)
        if isinstance(gallery, MemoryGallery):  # which holds the rows already; their copies come with a search
            assert np.shares_memory(gallery.vectors(0), gallery.vectors(3)) == (space == "shared")
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        gallery.close()
        return size

    build(tmp_path / "warm", (64,), "own").search(0, vectors[0][:1], 1)  # what is loaded once is nobody's
    assert held("shared") < 0.4 * held("own")


@pytest.mark.parametrize(("dimensions", "space"), [((3, 5), "shared"), ((4, 4), "both")])
def test_a_space_that_cannot_be_is_refused(
    build: Build, dimensions: tuple[int, int], space: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"only if their vectors have one size|'?own'? or '?shared'?, got 'both'"):
        build(tmp_path / "gallery", dimensions, space)  # type: ignore[arg-type]
    assert not (tmp_path / "gallery").exists()


def test_names_are_stored_found_filtered_by_and_forgotten(gallery: Gallery) -> None:
    anna, till, vectors = label_number("anna"), label_number("till"), random_vectors(4)
    first, *others = [
        Entry("1", anna, till, name="anna", camera_name="till"),
        Entry("2", anna, 3, name="anna"),
        Entry("3", 7, till, camera_name="till"),
        Entry("4"),
    ]
    gallery.add([rows[:1] for rows in vectors], [first])
    gallery.add([rows[1:] for rows in vectors], others)  # an open reader learns new names too
    assert list(gallery.get(list("1234")).values()) == [first, *others]

    def found(where: Where | None = None) -> set[tuple[str, str, str]]:
        hits = gallery.search(0, vectors[0][:1], 4, where=where).of(0).first(4)
        return set(zip(hits.ids[0], hits.names[0], hits.camera_names[0], strict=True))

    everybody = {("1", "anna", "till"), ("2", "anna", "3"), ("3", "7", "till"), ("4", "", "")}
    assert found() == everybody
    assert {id for id, *_ in found(Where(cameras=("till",)))} == {"1", "3"}
    assert {id for id, *_ in found(Where(not_cameras=("till", "3")))} == {"4"}
    assert {id for id, *_ in found(Where(people=("anna", "7.0"), cameras=(3, "till")))} == {"1", "2", "3"}
    with pytest.raises(TypeError, match="expected several labels, got the text 'anna'; give a list"):
        gallery.forget(people="anna")
    assert gallery.forget(people=["anna", "nobody"]) == 2
    assert found() == everybody - {("1", "anna", "till"), ("2", "anna", "3")}


def test_unknown_people_never_merge(gallery: Gallery) -> None:
    gallery.add(random_vectors(4), [Entry(str(number)) for number in range(4)])
    people = gallery.search(0, random_vectors(1)[0], 4).people[0].tolist()
    assert len(set(people)) == 4
    assert max(people) < -1
    assert gallery.labels().people.tolist() == [-1] * 4


def test_adding_again_replaces_and_counts_as_added_last(gallery: Gallery) -> None:
    vectors = random_vectors(3)
    gallery.add(vectors, [Entry("a", 1), Entry("b", 2), Entry("c", 3)])
    moved = [rows[:1] * 0 + 3 for rows in vectors]
    gallery.add([np.concatenate([rows, rows]) for rows in moved], [Entry("a", 7, picture="new"), Entry("d", 3)])
    assert gallery.count() == 4
    assert gallery.get(["a", "x", "c"]) == {"a": Entry("a", 7, picture="new"), "c": Entry("c", 3)}
    hits = gallery.search(0, moved[0], 4)
    assert hits.ids[0].tolist().index("a") == hits.ids[0].tolist().index("d") - 1
    assert gallery.labels().people.tolist() == [2, 3, 7, 3]
    assert gallery.ids() == ["b", "c", "a", "d"]
    assert gallery.pictures() == ["", "", "new", ""]
    np.testing.assert_array_equal(gallery.vectors(1), np.concatenate([vectors[1][1:], moved[1], moved[1]]))


def test_what_was_removed_or_forgotten_is_never_found(gallery: Gallery) -> None:
    vectors, entries = random_vectors(40), random_entries(40)
    gallery.add(vectors, entries)
    assert gallery.remove([entries[3].id, entries[5].id, "not there"]) == 2
    assert gallery.remove([]) == 0
    left = [entry for entry in entries if entry not in (entries[3], entries[5])]
    gone = [entry for entry in left if entry.person == 4 or entry.id == entries[0].id]
    assert gallery.forget(people=[4, 77], ids=[entries[0].id]) == len(gone)
    left = [entry for entry in left if entry not in gone]
    assert gallery.count() == len(left)
    kept = [entries.index(entry) for entry in left]
    np.testing.assert_array_equal(gallery.vectors(0), vectors[0][kept])
    assert gallery.search(0, vectors[0][:1], 100).ids[0].tolist() == [
        id for _, id in by_loop(vectors[0][kept], left, vectors[0][0], 100, None)
    ]
    assert gallery.forget(people=[4]) == 0


def test_entries_expire_by_their_time(gallery: Gallery) -> None:
    vectors, entries = random_vectors(40), random_entries(40)
    gallery.add(vectors, entries)
    old = [entry for entry in entries if entry.time is not None and entry.time < 30]
    assert gallery.forget(before=30, ids=[old[0].id]) == len(old) > 3
    left = [entry for entry in entries if entry not in old]
    assert gallery.ids() == [entry.id for entry in left]
    np.testing.assert_array_equal(gallery.vectors(1), vectors[1][[entries.index(entry) for entry in left]])
    assert gallery.forget(before=30) == 0


def test_people_get_other_labels_and_two_become_one(gallery: Gallery) -> None:
    vectors, entries = random_vectors(40), random_entries(40)
    gallery.add(vectors, entries)
    new = {1: (label_number("Anna"), "Anna"), 2: (5, ""), 3: (label_number("Zoë"), "Zoë")}
    changed = [entry for entry in entries if entry.person in new]
    assert gallery.relabel({1: " Anna ", "2": "005", 3: "Zoe\u0308", "nobody": "somebody"}) == len(changed)
    after = [
        replace(entry, person=new[entry.person][0], name=new[entry.person][1]) if entry.person in new else entry
        for entry in entries
    ]
    assert gallery.get(gallery.ids()) == {entry.id: entry for entry in after}
    assert gallery.ids() == [entry.id for entry in entries]
    hits = gallery.search(0, vectors[0][:1], 100, where=Where(people=("Anna", 5)))
    assert set(hits.people[0].tolist()) == {label_number("Anna"), 5}
    np.testing.assert_array_equal(gallery.vectors(0), vectors[0])
    for label in ("", " ", "-1"):
        with pytest.raises(ValueError, match="expected a person's name, or a number from 0 on"):
            gallery.relabel({"Anna": label})


def test_an_empty_gallery_answers_with_empty_lists(gallery: Gallery) -> None:
    hits = gallery.search(1, np.ones((2, 5), np.float32), 3)
    assert hits.ids.shape == hits.distances.shape == (2, 0)
    assert hits.complete.tolist() == [True, True]
    assert gallery.count() == 0
    assert gallery.ids() == []
    assert gallery.vectors(0).shape == (0, 3)
    assert gallery.labels().cameras.shape == (0,)


ONE = [np.ones((1, 3), np.float32), np.ones((1, 5), np.float32)]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (ONE[:1], "2 exits, got 1"),
        ([ONE[0], ONE[0]], r"expected vectors \(N, 5\) at exit 1"),
        ([ONE[0], ONE[1][0]], "got shape"),
        ([ONE[0], np.ones((2, 5))], "got 2 for 1"),
        ([ONE[0], ONE[1] * np.nan], "NaN or infinity"),
        ([ONE[0], ONE[1] * np.inf], "NaN or infinity"),
        ([ONE[0], ONE[1].astype(np.float64) * 1e300], "too long"),
        ([ONE[0] * 0, ONE[1]], "zero"),
        ([np.asarray([[1.8e19, 0, 0]]), ONE[1]], "too long"),
        ([ONE[0] * 1j, ONE[1]], "real numbers"),
        ([ONE[0].astype(str), ONE[1]], "real numbers"),
        ([ONE[0] > 0, ONE[1]], "real numbers"),
        ([np.ma.masked_array(ONE[0]), ONE[1]], "masked array"),
    ],
)
def test_vectors_that_cannot_belong_are_refused_and_nothing_changes(
    gallery: Gallery, vectors: list[np.ndarray], message: str
) -> None:
    gallery.add(ONE, [Entry("a", 1)])
    with pytest.raises(MismatchError, match=message):
        gallery.add(vectors, [Entry("b", 2)])
    assert gallery.get(["a", "b"]) == {"a": Entry("a", 1)}


def test_a_search_that_makes_no_sense_is_refused(gallery: Gallery) -> None:
    gallery.add(ONE, [Entry("a", 1)])
    with pytest.raises(ValueError, match="exits are 0 to 1, got 2"):
        gallery.search(2, ONE[0], 1)
    with pytest.raises(ValueError, match="count must be at least 1"):
        gallery.search(0, ONE[0], 0)
    with pytest.raises(MismatchError, match=r"\(N, 3\)"):
        gallery.search(0, ONE[1], 1)
    with pytest.raises(MismatchError, match="NaN"):
        gallery.search(0, ONE[0] * np.nan, 1)
    with pytest.raises(ValueError, match="one filter for each"):
        gallery.search(0, ONE[0], 1, where=[None, None])
    with pytest.raises(ValueError, match="two entries"):
        gallery.add([np.concatenate([rows, rows]) for rows in ONE], [Entry("b"), Entry("b")])


@pytest.mark.parametrize("scale", [1e-18, 1e-6, 1.0, 1e6, 1e15])
def test_near_ties_far_from_the_origin_are_told_apart(gallery: Gallery, scale: float) -> None:
    random = np.random.default_rng(5)
    rows = ((100 + random.normal(size=(400, 3)) * 1e-4) * scale).astype(np.float32)
    gallery.add([rows, np.ones((400, 5))], [Entry(str(number)) for number in range(400)])
    query = rows[7] + np.float32(1e-5 * scale)
    expected = by_loop(rows, [Entry(str(number)) for number in range(400)], query, 20, None)
    assert gallery.search(0, query[None], 20).of(0).ids[0].tolist() == [id for _, id in expected]


def test_rows_far_longer_than_the_query_are_told_apart() -> None:
    query = np.full((1, 64), 1e-3, np.float32)
    for seed in range(20):
        random = np.random.default_rng(seed)
        rows = (1000 + random.normal(size=(500, 64)) * 1e-3).astype(np.float32)
        gallery = MemoryGallery(MODEL, (64,))
        gallery.add([rows], [Entry(str(number)) for number in range(500)])
        nearest = np.linalg.norm(rows.astype(np.float64) - query, axis=1).argmin()
        assert gallery.search(0, query, 1).ids.tolist() == [[str(nearest)]]


def test_the_longest_vectors_are_compared_and_filters_hold(gallery: Gallery) -> None:
    length = np.float32(np.sqrt(LONGEST_SQUARE) * 0.9999)
    rows = np.diag([length, length, length])
    with pytest.raises(MismatchError, match="too long"):
        gallery.search(0, np.asarray([[1.8e19, 0, 0]]), 1)
    gallery.add([np.concatenate([rows, -rows]), np.ones((6, 5))], [Entry(str(n), n) for n in range(6)])
    everybody = [Entry(str(n), n) for n in range(6)]
    for where in (None, Where(people=(4, 5)), Where(people=(3,))):
        hits = gallery.search(0, rows[:1], 6, where=where)
        expected = by_loop(np.concatenate([rows, -rows]), everybody, rows[0], 6, where)
        assert hits.ids[0].tolist() == [id for _, id in expected]


def test_nobody_is_found_by_the_number_of_the_unknown(gallery: Gallery) -> None:
    gallery.add(random_vectors(3), [Entry("a"), Entry("b"), Entry("c", 1, 1)])
    query = random_vectors(1)[0]
    for where in (Where(people=(-1, -2, -3)), Where(cameras=(-1,))):
        assert gallery.search(0, query, 3, where=where).ids.shape == (1, 0)


def test_a_list_that_was_cut_is_not_complete(gallery: Gallery) -> None:
    gallery.add(random_vectors(4), [Entry(str(number), number) for number in range(4)])
    hits = gallery.search(0, random_vectors(2)[0], 4, where=[None, Where(people=(1, 2))])
    assert hits.complete.tolist() == [True, True]
    assert hits.first(4).complete.tolist() == [True, True]
    assert hits.first(3).complete.tolist() == [False, True]
    assert hits.first(1).complete.tolist() == [False, False]


def test_one_id_is_not_taken_for_several(gallery: Gallery) -> None:
    gallery.add(ONE, [Entry("1", 1)])
    for act in (
        lambda: gallery.remove("1"),
        lambda: gallery.forget(ids="1"),
        lambda: gallery.get("1"),
        lambda: Where(not_ids="1"),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match="give a list"):
            act()
    assert gallery.count() == 1


def test_vectors_that_are_handed_out_cannot_be_written_to(gallery: Gallery) -> None:
    gallery.add(ONE, [Entry("a")])
    with pytest.raises(ValueError, match="read-only"):
        gallery.vectors(0)[0] = 7
    with pytest.raises(ValueError, match="exits are 0 to 1"):
        gallery.vectors(-1)


def test_numbers_of_numpy_are_kept_as_numbers_of_python() -> None:
    entry = Entry("a", np.int64(3), np.uint8(2), np.float32(1.5))  # type: ignore[arg-type]
    assert [type(value) for value in (entry.person, entry.camera, entry.time)] == [int, int, float]
    assert entry == Entry("a", 3, 2, 1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 3},
        {"picture": None},
        {"name": b"x"},
        {"person": True},
        {"person": 1.0},
        {"camera": "1"},
        {"time": "1"},
        {"time": True},
        {"time": 1j},
    ],
    ids=str,
)
def test_labels_of_another_kind_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Entry(**{"id": "a"} | wrong)  # type: ignore[arg-type]


def test_labels_that_cannot_be_kept_are_refused() -> None:
    for wrong in (
        lambda: Entry(""),
        lambda: Entry("a", -1),
        lambda: Entry("a", camera=-3),
        lambda: Entry("a", time=float("nan")),
        lambda: Entry("\udcff.jpg"),
        lambda: Entry("a\0"),
        lambda: Entry("a", picture="b\0"),
        lambda: Entry("a", name="b\0"),
        lambda: Entry("ü" * 2049),
        lambda: Entry("a", time=10**400),
        lambda: Where(since=float("nan")),
    ):
        with pytest.raises(ValueError, match=r"id|numbered|time|UTF-8|NUL"):
            wrong()


def test_searches_beside_changes_see_one_state_or_another(gallery: Gallery) -> None:
    vectors, entries = random_vectors(300), random_entries(300)
    gallery.add([rows[:200] for rows in vectors], entries[:200])
    problems: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                hits = gallery.search(1, vectors[1][:3], 5)
                assert all(distance < 20 for distance in hits.distances.ravel())
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(200, 300, 20):
        gallery.add([rows[start : start + 20] for rows in vectors], entries[start : start + 20])
        gallery.remove([entry.id for entry in entries[start - 100 : start - 90]])
    done.set()
    for thread in threads:
        thread.join()
    assert not problems
    assert gallery.count() == 250
