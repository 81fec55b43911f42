"""Several vectors become one."""

from pathlib import Path

import numpy as np
import pytest

from dare.retrieval.embeddings import Embeddings, EmbeddingsError
from dare.retrieval.pooling import pool


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
    with pytest.raises(EmbeddingsError, match="pooling by mean or max, or none that is known, got 'median'"):
        Embeddings((vectors,), None, ("a",), [1], [1], pooling="median")
    # Before it was written it was always the mean; of vectors from elsewhere nothing is known.
    np.savez(tmp_path / "old.npz", stage_1=vectors, ids=["a"])
    assert Embeddings.load(tmp_path / "old.npz").pooling == "mean"
    np.savez(tmp_path / "elsewhere.npz", vectors=vectors, ids=["a"])
    assert Embeddings.load(tmp_path / "elsewhere.npz").pooling == ""
