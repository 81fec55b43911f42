"""Embeddings: rows, ids and labels travel together, to disk and back."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dare.retrieval.embeddings import Embeddings, EmbeddingsError, pool

RANDOM = np.random.default_rng(0)


def make(count: int = 4, fused: bool = True) -> Embeddings:
    stages = tuple(RANDOM.normal(size=(count, dim)).astype(np.float32) for dim in (3, 5))
    ids = tuple(f"query/{number}.jpg" for number in range(count))
    people, cameras = np.arange(count), np.arange(count) % 2
    return Embeddings(stages, stages[1] if fused else None, ids, people, cameras, model="abc")


@pytest.mark.parametrize("fused", [True, False])
def test_they_go_to_disk_and_back(tmp_path: Path, fused: bool) -> None:
    made = make(fused=fused)
    made.save(tmp_path / "e.npz")
    loaded = Embeddings.load(tmp_path / "e.npz")
    for before, after in zip(made.exits(), loaded.exits(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert (loaded.ids, loaded.model, len(loaded)) == (made.ids, "abc", 4)
    np.testing.assert_array_equal(loaded.people, made.people)
    assert (loaded.fused is None) == (not fused)


def test_the_fused_vectors_take_the_last_stages_place() -> None:
    made = make()
    assert [vectors.shape[1] for vectors in made.exits()] == [3, 5]
    assert made.exits()[1] is made.fused
    assert make(fused=False).exits()[1] is not None


def test_in_spaces_of_their_own_vectors_are_compared_with_their_like() -> None:
    query, gallery = make(), make(7)
    for pairs, mine, theirs in (
        (query.against(gallery), query.vectors(), gallery.vectors()),
        (query.exits_against(gallery), query.exits(), gallery.exits()),
    ):
        assert [(id(q), id(g)) for q, g in pairs] == [(id(q), id(g)) for q, g in zip(mine, theirs, strict=True)]
    assert list(map(id, gallery.entries())) == list(map(id, gallery.exits()))


@pytest.mark.parametrize("fused", [True, False])
def test_in_one_space_all_vectors_are_compared_with_those_of_the_last_exit(tmp_path: Path, fused: bool) -> None:
    def one_space(count: int) -> Embeddings:
        stages = tuple(RANDOM.normal(size=(count, 5)).astype(np.float32) for _ in range(3))
        total = stages[0] + stages[1] if fused else None
        return Embeddings(stages, total, tuple(map(str, range(count))), range(count), range(count), space="shared")

    query, gallery = one_space(4), one_space(7)
    last = id(gallery.fused if fused else gallery.stages[-1])
    assert len(query.against(gallery)) == 3 + fused
    assert [(id(q), id(g)) for q, g in query.against(gallery)] == [(id(q), last) for q in query.vectors()]
    assert [(id(q), id(g)) for q, g in query.exits_against(gallery)] == [(id(q), last) for q in query.exits()]
    assert list(map(id, gallery.entries())) == [last]
    gallery.save(tmp_path / "e.npz")
    assert Embeddings.load(tmp_path / "e.npz").space == gallery.rows([2, 1]).space == "shared"


def test_a_space_that_cannot_be_is_refused_and_without_one_there_are_several(tmp_path: Path) -> None:
    made = make()
    with pytest.raises(EmbeddingsError, match=r"share a space only if their vectors have one size, got \(3, 5, 5\)"):
        replace(made, space="shared")
    made.save(tmp_path / "e.npz")
    arrays = dict(np.load(tmp_path / "e.npz"))
    np.savez(tmp_path / "other.npz", **arrays | {"space": np.asarray("both")})
    with pytest.raises(EmbeddingsError, match=r"other.npz: the space of vectors is own or shared, got 'both'"):
        Embeddings.load(tmp_path / "other.npz")
    del arrays["space"]
    np.savez(tmp_path / "old.npz", **arrays)
    assert Embeddings.load(tmp_path / "old.npz").space == "own"


def test_vectors_from_elsewhere_need_only_vectors_and_ids(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", vectors=np.eye(2), ids=["a.jpg", "b.jpg"])
    loaded = Embeddings.load(tmp_path / "e.npz")
    assert loaded.exits()[0].shape == (2, 2)
    assert loaded.people.tolist() == [-1, -1]


def test_pictures_are_found_by_path_or_by_unique_name() -> None:
    made = make()
    assert made.find(["query/2.jpg", "query/0.jpg"]).people.tolist() == [2, 0]
    bare = Embeddings(made.stages, None, tuple("0123"), made.people, made.cameras)
    assert bare.find(["gallery/3", "query/1"]).people.tolist() == [3, 1]
    with pytest.raises(EmbeddingsError, match=r"query/9.jpg \(and 0 more of 2 pictures; there are embeddings of 4\)"):
        made.find(["query/1.jpg", "query/9.jpg"])
    with pytest.raises(EmbeddingsError, match="no embedding of gallery/1.jpg"):
        made.find(["gallery/1.jpg"])  # the row says query/: it is another picture
    with pytest.raises(EmbeddingsError, match="the name 1 may mean a/1 or b/1"):
        bare.find(["a/1", "b/1"])
    doubled = Embeddings(made.stages, None, ("a", "b", "a", "c"), made.people, made.cameras)
    with pytest.raises(EmbeddingsError, match=r"two embeddings have one id: a \(rows 0 and 2\)"):
        doubled.find(["b"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vectors": np.eye(2)}, "has no array 'ids' .* found vectors"),
        ({"ids": np.array(["a"]), "features": np.eye(1)}, r"has no array 'vectors' \(N, D\); found ids, features"),
        ({"ids": np.array(["a"]), "vectors": np.eye(2)}, r"expected \(1, D\) vectors, one per id, got \(2, 2\)"),
        ({"ids": np.array(["a"]), "vectors": np.ones(1)}, r"expected \(1, D\) vectors"),
        ({"ids": np.array(["a"]), "vectors": np.eye(1), "people": np.arange(3)}, "expected 1 people and cameras"),
        ({"ids": np.array(["a"]), "vectors": np.eye(1), "format": np.asarray(2)}, "another format"),
        ({"ids": np.asarray("a"), "vectors": np.eye(1)}, r"expected ids \(N,\), got shape \(\)"),
        ({"ids": np.array(["a"], object), "vectors": np.eye(1)}, "is not a readable .npz file of plain arrays"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(EmbeddingsError, match=message):
        Embeddings.load(tmp_path / "e.npz")


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingsError, match="no embeddings at"):
        Embeddings.load(tmp_path / "none.npz")
    make().save(tmp_path / "e.npz")
    content = (tmp_path / "e.npz").read_bytes()
    for damaged in (b"", b"hello", content[: len(content) // 2]):
        (tmp_path / "e.npz").write_bytes(damaged)
        with pytest.raises(EmbeddingsError, match="is not a readable|is an empty file"):
            Embeddings.load(tmp_path / "e.npz")
    np.savez_compressed(tmp_path / "e.npz", vectors=RANDOM.normal(size=(20, 8)), ids=[str(n) for n in range(20)])
    content = (tmp_path / "e.npz").read_bytes()
    for place in RANDOM.integers(0, len(content), 200):
        (tmp_path / "e.npz").write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with contextlib.suppress(EmbeddingsError):
            Embeddings.load(tmp_path / "e.npz")
    np.save(tmp_path / "one.npy", np.eye(2))
    with pytest.raises(EmbeddingsError, match="holds one array"):
        Embeddings.load(tmp_path / "one.npy")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", ["mean", "max"])
def test_each_run_of_rows_becomes_what_a_loop_makes_of_it(how: str, dtype: type) -> None:
    random = np.random.default_rng(0)
    counts = random.integers(1, 6, 20)
    vectors = random.normal(size=(counts.sum(), 7)).astype(dtype)
    pooled = pool(vectors, counts, how)
    assert pooled.dtype == dtype
    start = 0
    for row, count in zip(pooled, counts, strict=True):
        for dimension in range(7):
            values = [float(vectors[start + n, dimension]) for n in range(count)]
            expected = sum(values) / count if how == "mean" else max(values)
            assert row[dimension] == pytest.approx(expected, rel=1e-6, abs=1e-7)
        start += count


def test_single_rows_stay_as_they_are() -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    for how in ("mean", "max"):
        assert np.array_equal(pool(vectors, [1, 1, 1, 1], how), vectors)
    assert pool(vectors[:0], [], "mean").shape == (0, 3)


def test_many_like_values_keep_their_mean() -> None:
    # Summed in float32 this comes to 0.10000297.
    assert pool(np.full((100_000, 1), 0.1, np.float32), [100_000])[0, 0] == np.float32(0.1)


def test_what_does_not_fit_is_refused() -> None:
    vectors = np.zeros((3, 2), np.float32)
    for counts in ([1, 1], [4], [3, 0], [4, -1]):
        with pytest.raises(ValueError, match="runs of at least 1 row, 3 in all"):
            pool(vectors, counts)
    with pytest.raises(ValueError, match="pooling must be 'mean' or 'max', got 'median'"):
        pool(vectors, [3], "median")  # type: ignore[arg-type]


def test_embeddings_are_pooled_in_all_their_arrays() -> None:
    random = np.random.default_rng(1)
    stages = (random.normal(size=(4, 3)).astype(np.float32), random.normal(size=(4, 2)).astype(np.float32))
    whole = Embeddings(stages, stages[1] + 1, ("a", "b", "c", "d"), np.arange(4), np.arange(4) + 10)
    joined = whole.pooled([[2, 0], [3], [1]], "max")
    assert joined.ids == ("c", "d", "b")
    assert joined.people.tolist() == [2, 3, 1]
    assert joined.cameras.tolist() == [12, 13, 11]
    for pooled, rows in zip((*joined.stages, joined.fused), (*stages, stages[1] + 1), strict=True):
        assert pooled is not None
        assert np.array_equal(pooled, [np.maximum(rows[2], rows[0]), rows[3], rows[1]])


def test_a_file_says_how_tracklets_were_pooled(tmp_path: Path) -> None:
    vectors = np.zeros((1, 2), np.float32)
    for pooling in ("mean", "max", ""):
        Embeddings((vectors,), None, ("a",), [1], [1], pooling=pooling).save(tmp_path / "e.npz")
        assert Embeddings.load(tmp_path / "e.npz").pooling == pooling
    with pytest.raises(EmbeddingsError, match="pooling 'mean' or 'max', or '' if unknown, got 'median'"):
        Embeddings((vectors,), None, ("a",), [1], [1], pooling="median")
    # Before it was written it was always the mean; of vectors from elsewhere nothing is known.
    np.savez(tmp_path / "old.npz", stage_1=vectors, ids=["a"])
    assert Embeddings.load(tmp_path / "old.npz").pooling == "mean"
    np.savez(tmp_path / "elsewhere.npz", vectors=vectors, ids=["a"])
    assert Embeddings.load(tmp_path / "elsewhere.npz").pooling == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": np.zeros((3, 0), np.float32)}, r"expected \(3, D\) vectors, one per id, got \(3, 0\)"),
        ({"people": np.array([1, 2, 3j])}, "expected people as whole numbers of 64 bits, got complex128"),
        ({"people": np.array([0.5, 1, 2])}, "expected people as whole numbers of 64 bits, got float64"),
        ({"cameras": np.array([2**63, 1, 2], np.uint64)}, "expected cameras as whole numbers of 64 bits, got uint64"),
        ({"crops": np.array(-3)}, "expected at least 1 crop per image, got -3"),
        ({"crops": np.array(1.5)}, "expected crops as whole numbers"),
    ],
)
def test_files_that_say_something_impossible_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    whole = {"vectors": np.ones((3, 2), np.float32), "ids": np.array(["a", "b", "c"])}
    np.savez(tmp_path / "e.npz", **(whole | changes))
    with pytest.raises(EmbeddingsError, match=message):
        Embeddings.load(tmp_path / "e.npz")


def test_values_whose_squares_overflow_are_refused() -> None:
    large = make()
    large.stages[0][2, 1] = 1e19
    with pytest.raises(
        ValueError, match=r"the vector of query/2.jpg has a value beyond 1e\+18, and its square overflows"
    ):
        large.refuse_nan()
