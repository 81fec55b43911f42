"""The scan over coarse copies finds what a slow loop in float64 finds, whatever the vectors are like."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dare.gallery.columns import Columns, Names
from dare.gallery.copies import Copies, Vectors, centre_of, copy_queries, copy_rows, padded
from dare.gallery.dots import dots
from dare.gallery.entry import Entry, Where
from dare.gallery.memory import MemoryGallery
from dare.gallery.search import EVERYBODY, Nearest, nearest_rows, search_rows
from dare.gallery.store import LONGEST_SQUARE


def clustered(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    return random.normal(size=(9, size))[random.integers(9, size=count)] + 0.01 * random.normal(size=(count, size))


def of_all_lengths(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """From the shortest to the longest that a gallery takes, as far as float32 goes."""
    vectors = random.normal(size=(count, size))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * 10 ** random.uniform(-22, np.log10(np.sqrt(LONGEST_SQUARE)) - 0.01, (count, 1))


def sorted_towards_the_first(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    vectors = random.normal(size=(count, size))
    return vectors[np.argsort(-np.linalg.norm(vectors - vectors[0], axis=1))]


KINDS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "random": lambda random, count, size: random.normal(size=(count, size)),
    "clustered": clustered,
    "of all lengths": of_all_lengths,
    "equal": lambda random, count, size: np.repeat(random.normal(size=(1, size)), count, 0),
    "duplicates": lambda random, count, size: random.normal(size=(5, size))[random.integers(5, size=count)],
    "whole numbers": lambda random, count, size: random.integers(1, 4, (count, size)),
    "denormal": lambda random, count, size: random.integers(1, 9, (count, size)) * 2.0**-149,
    "tiny differences": lambda random, count, size: 1000 + 1e-3 * random.normal(size=(count, size)),
    "one far out": lambda random, count, size: np.concatenate(
        [random.normal(size=(count, size)), 1e18 + np.eye(1, size)]
    ),
    "sorted": sorted_towards_the_first,
}


def by_loop(rows: np.ndarray, query: np.ndarray, allowed: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances = np.asarray([np.sqrt(np.square(row.astype(np.float64) - query).sum()) for row in rows])
    places = np.flatnonzero(allowed)
    places = places[np.argsort(distances[places], kind="stable")][:k]
    return places, distances[places]


def search(rows: np.ndarray, queries: np.ndarray, k: int, masks: np.ndarray | None = None) -> Nearest:
    """With masks, the m-th is that of query m, and the queries beyond look at everything."""
    vectors = Vectors(rows.shape[1])
    vectors.append(rows)
    matrix = vectors.matrix()
    masks = np.zeros((0, len(rows)), np.bool_) if masks is None else masks
    numbers = np.full(len(queries), EVERYBODY)
    numbers[: len(masks)] = np.arange(len(masks))
    return nearest_rows(queries, matrix, masks, numbers, min(k, len(rows)))


def check(rows: np.ndarray, queries: np.ndarray, k: int, masks: np.ndarray | None = None) -> None:
    nearest = search(rows, queries, k, masks)
    for number, query in enumerate(queries):
        has_mask = masks is not None and number < len(masks)
        allowed = masks[number] if has_mask else np.ones(len(rows), bool)
        places, distances = by_loop(rows, query, allowed, k + 1)
        found, mine = (
            nearest.places[number, : nearest.found[number]],
            nearest.distances[number, : nearest.found[number]],
        )
        np.testing.assert_allclose(mine, distances[:k], rtol=1e-12)
        # Sums in another order may swap rows whose distances differ by a rounding, but not those of equal rows.
        clear = np.diff(distances) > 1e-12 * distances[1:]
        certain = np.append(True, clear) & np.append(clear, True)
        certain = certain[: len(found)]
        np.testing.assert_array_equal(found[certain], places[: len(found)][certain])
        assert allowed[found].all()
        same = (rows[found[1:]] == rows[found[:-1]]).all(1)
        assert (np.diff(found)[same] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("count", "size", "k"), [(7, 1, 10), (700, 3, 5), (3000, 20, 10), (1500, 100, 40), (600, 2048, 3)]
)
def test_nothing_near_is_lost(kind: str, count: int, size: int, k: int) -> None:
    random = np.random.default_rng(count)
    rows = KINDS[kind](random, count, size).astype(np.float32)
    queries = np.concatenate([rows[:2], KINDS[kind](random, 1, size)[:1].astype(np.float32)])
    check(rows, queries, k)
    masks = np.zeros((2, len(rows)), np.bool_)
    masks[0, [1, len(rows) // 2, len(rows) - 1]] = True
    masks[1] = random.random(len(rows)) < 0.3
    check(rows, queries, k, masks)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(list(KINDS)),
    count=st.integers(1, 600),
    size=st.integers(1, 70),
    k=st.integers(1, 60),
)
def test_nothing_near_is_lost_in_small_sets_of_any_shape(seed: int, kind: str, count: int, size: int, k: int) -> None:
    random = np.random.default_rng(seed)
    rows = KINDS[kind](random, count, size).astype(np.float32)
    queries = rows[random.integers(len(rows), size=2)].copy()
    queries[1] += np.float32(random.choice([0, 1e-6, 1.0])) * queries[1, ::-1]
    check(rows, queries, k, random.random((1, len(rows))) < 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_copies_are_no_smaller_than_they_are(kind: str) -> None:
    random = np.random.default_rng(3)
    rows = KINDS[kind](random, 200, 37).astype(np.float32)
    centre, copies = centre_of(rows), Copies.room(len(rows), 37)
    copy_rows(rows, centre, copies)
    exact = rows.astype(np.longdouble) - centre
    near = copies.codes[:, :37] * copies.scales[:, None].astype(np.longdouble)
    assert (np.sqrt(np.square(exact - near).sum(1)) <= copies.errors).all()
    np.testing.assert_array_equal(copies.squares, np.square(copies.codes.astype(int)).sum(1))
    coarse = copy_queries(rows, centre)
    near = coarse.codes[:, :37] * coarse.steps[:, None].astype(np.longdouble)
    assert (np.sqrt(np.square(exact - near).sum(1)) <= coarse.errors).all()


@pytest.mark.parametrize("size", [1, 32, 33, 64, 96, 128, 200, 2048])
def test_products_are_whole_numbers_without_overflow(size: int) -> None:
    random = np.random.default_rng(size)
    largest = min(2**15 - 1, (2**31 - 1) // (127 * size))
    codes = random.choice([-127, 127, 3], (263, padded(size))).astype(np.int8)
    queries = random.choice([-largest, largest, 7], (2, padded(size))).astype(np.int16)
    codes[:, size:] = queries[:, size:] = 0
    codes[5, :size], queries[1, :size] = 127, largest
    sums = np.empty(264, np.int32)
    for start, stop in ((0, 263), (4, 5), (1, 8)):
        dots(codes, start, stop, queries, 1, sums)
        np.testing.assert_array_equal(sums[: stop - start], codes[start:stop].astype(int) @ queries[1].astype(int))


def test_copies_keep_up_with_rows_that_come_and_go() -> None:
    random = np.random.default_rng(1)
    vectors, rows = Vectors(9), np.zeros((0, 9), np.float32)
    first = vectors.matrix()
    for count in (5, 3, 40, 1, 2, 300):
        more = random.normal(size=(count, 9)).astype(np.float32)
        vectors.append(more)
        rows = np.concatenate([rows, more])
        if count == 1:
            kept = random.random(len(rows)) < 0.7
            vectors.keep(kept)
            rows = rows[kept]
        matrix = vectors.matrix()
        np.testing.assert_array_equal(matrix.rows, rows)
        fresh = Copies.room(len(rows), 9)
        copy_rows(rows, matrix.centre, fresh)
        for array, expected in zip(matrix.copies, fresh, strict=True):
            np.testing.assert_array_equal(array, expected)
    assert len(first.rows) == 0


def test_many_equal_rows_need_no_more_memory_than_the_answer() -> None:
    vectors = Vectors(32)
    vectors.append(np.ones((60_000, 32), np.float32))
    ids = pa.array(map(str, range(60_000)))
    columns = Columns(ids, *(np.full(60_000, -1) for _ in range(3)), Names([], [], {}))
    matrix, query = vectors.matrix(), np.full((1, 32), 2, np.float32)
    tracemalloc.start()
    hits = search_rows(query, matrix, columns, 5, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert hits.ids.tolist() == [["0", "1", "2", "3", "4"]]
    assert peak < 2**20


def test_many_queries_get_the_lists_that_each_gets_alone() -> None:
    random = np.random.default_rng(2)
    gallery = MemoryGallery("a" * 64, (16,))
    gallery.add([random.normal(size=(500, 16))], [Entry(str(number), number % 50) for number in range(500)])
    queries = random.normal(size=(150, 16))
    filters = [None if n % 3 else Where(people=(n % 50, 1), not_ids=("1", "51")) for n in range(150)]
    together = gallery.search(0, queries, 7, where=filters)
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(gallery.search, 0, queries[n : n + 1], 7, where=filters[n]) for n in range(150)]
    for number, job in enumerate(jobs):
        alone, hits = job.result(), together.of(number)
        assert hits.ids.tolist() == alone.ids.tolist()
        np.testing.assert_array_equal(hits.distances, alone.distances)
        assert hits.complete.tolist() == alone.complete.tolist()


def test_vectors_of_too_many_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 131072 dimensions"):
        MemoryGallery("a" * 64, (2**17 + 1,))
