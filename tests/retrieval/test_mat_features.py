"""The .mat files of the released code: written and read alike, scored alike, refused with a reason."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from dare import Benchmark, Embeddings, evaluate, open_benchmark
from dare.retrieval.embeddings import EmbeddingsError
from dare.retrieval.mat_features import read_mat_features, write_mat_features

FILES = ["_1", "_2", "_3", "_4", "_fusion"]


@pytest.fixture(scope="module")
def benchmark(market: Path) -> Benchmark:
    return open_benchmark(market)


def random_embeddings(benchmark: Benchmark, stages: int = 4, fused: bool = True) -> Embeddings:
    """Vectors of all pictures, in an order that is not the benchmark's; those of one person are a little alike."""
    random = np.random.default_rng(0)
    samples = [*benchmark.query, *benchmark.gallery, *benchmark.train]
    samples = [samples[row] for row in random.permutation(len(samples))]
    people = np.asarray([sample.person for sample in samples])
    looks = random.normal(size=(people.max() + 2, 6))

    def draw(dimensions: int) -> NDArray[np.float32]:
        noisy = 0.7 * looks[people, :dimensions] + random.normal(size=(len(people), dimensions))
        return noisy.astype(np.float32)

    return Embeddings(
        tuple(draw(dimensions) for dimensions in (2, 3, 5, 6)[:stages]),
        draw(4) if fused else None,
        benchmark.identify(samples),
        people,
        np.asarray([sample.camera for sample in samples]),
    )


@pytest.fixture
def made(benchmark: Benchmark) -> Embeddings:
    return random_embeddings(benchmark)


@pytest.fixture
def folder(benchmark: Benchmark, made: Embeddings, tmp_path: Path) -> Path:
    write_mat_features(tmp_path / "features", made, benchmark)
    return tmp_path / "features"


def test_files_and_variables_are_called_as_in_the_released_code(
    benchmark: Benchmark, made: Embeddings, tmp_path: Path
) -> None:
    splits = ("train", "query", "gallery")
    write_mat_features(tmp_path / "f", made, benchmark, splits)
    names = sorted(path.name for path in (tmp_path / "f").iterdir())
    assert names == sorted(f"{split}_features{file}.mat" for split in ("train", "query", "test") for file in FILES)
    for split, theirs in zip(splits, ("train", "query", "test"), strict=True):
        content = loadmat(tmp_path / "f" / f"{theirs}_features_3.mat")
        matrix = content[f"feature_{theirs}_new"]
        assert matrix.shape == (5, len(getattr(benchmark, split)))  # (D, N)
        assert matrix.dtype == np.float32
        names = sorted(path.name for sample in getattr(benchmark, split) for path in sample.images)
        by_name = {id.rpartition("/")[2]: row for row, id in enumerate(made.ids)}
        np.testing.assert_array_equal(matrix, made.stages[2][[by_name[name] for name in names]].T)


@pytest.mark.parametrize("splits", [("query", "gallery"), ("train",), ("gallery", "train", "query")])
def test_embeddings_come_back_bit_for_bit(
    benchmark: Benchmark, made: Embeddings, tmp_path: Path, splits: tuple[str, ...]
) -> None:
    write_mat_features(tmp_path / "f", made, benchmark, splits)
    back = read_mat_features(tmp_path / "f", benchmark, splits)
    samples = [sample for split in splits for sample in getattr(benchmark, split)]
    before = made.find(benchmark.identify(samples))
    assert (back.ids, back.names) == (before.ids, before.names)
    np.testing.assert_array_equal(back.people, before.people)
    np.testing.assert_array_equal(back.cameras, before.cameras)
    for after, vectors in zip((*back.stages, back.fused), (*before.stages, before.fused), strict=True):
        np.testing.assert_array_equal(after, vectors)


@pytest.mark.parametrize(("stages", "fused"), [(0, True), (1, False), (2, True), (3, False), (4, False)])
def test_networks_of_other_forms_come_back_too(benchmark: Benchmark, tmp_path: Path, stages: int, fused: bool) -> None:
    made = random_embeddings(benchmark, stages, fused)
    write_mat_features(tmp_path / "f", made, benchmark)
    assert (tmp_path / "f" / "query_features.mat").exists() == (stages == 0)
    back = read_mat_features(tmp_path / "f", benchmark, stages=max(1, stages))
    assert (len(back.stages), back.fused is not None, back.names) == (stages, fused, made.names)
    assert len(evaluate(back, benchmark).exits) == max(1, stages)


def test_what_the_released_simulation_needs_is_four_exits(
    benchmark: Benchmark, made: Embeddings, folder: Path, tmp_path: Path
) -> None:
    for split in ("query", "test"):
        (folder / f"{split}_features_4.mat").unlink()  # its readme asks for stages 1 to 3 and the fusion
    back = read_mat_features(folder, benchmark)
    assert back.names == ("stage 1", "stage 2", "stage 3", "fusion")
    for found, vectors in zip(back.exits(), made.find(back.ids).exits(), strict=True):
        np.testing.assert_array_equal(found, vectors)
    write_mat_features(tmp_path / "again", back, benchmark)
    assert {path.name for path in (tmp_path / "again").iterdir()} == {path.name for path in folder.iterdir()}


def official_evaluation(root: Path, query: Path, gallery: Path) -> tuple[float, float]:
    """mAP and rank-1 as Market_1501_evaluation.m takes them, entry by entry: from the .mat files and file names."""

    def labelled(split: str) -> list[tuple[int, int]]:
        names = sorted(path.name for path in (root / split).iterdir() if path.name[-3:] == "jpg")
        return [(int(name.split("_")[0]), int(name.split("_c")[1][0])) for name in names]

    columns = loadmat(gallery)["feature_test_new"].astype(float)
    queries, entries = labelled("query"), labelled("bounding_box_test")
    precisions, firsts = [], []
    for (person, camera), vector in zip(queries, loadmat(query)["feature_query_new"].astype(float).T, strict=True):
        good = {place for place, (whom, by) in enumerate(entries) if whom == person and by != camera}
        junk = {place for place, (whom, by) in enumerate(entries) if whom == -1 or (whom == person and by == camera)}
        area, old_recall, old_precision, found, passed = 0.0, 0.0, 1.0, 0, 0
        for place in np.argsort(np.sqrt(np.square(columns - vector[:, None]).sum(0)), kind="stable").tolist():
            if place in junk:
                continue
            if place in good:
                if not found:
                    firsts.append(passed)
                found += 1
            recall, precision = found / len(good), found / (passed + 1)
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision, passed = recall, precision, passed + 1
            if found == len(good):
                break
        precisions.append(area)
    return float(np.mean(precisions)), float(np.mean([first == 0 for first in firsts]))


def test_the_official_evaluation_and_ours_say_the_same_of_the_same_files(
    market: Path, benchmark: Benchmark, made: Embeddings, folder: Path
) -> None:
    ours = evaluate(read_mat_features(folder, benchmark), benchmark)
    stored = evaluate(made, benchmark)
    assert [result.name for result in ours.results] == ["stage 1", "stage 2", "stage 3", "stage 4", "fusion"]
    for result, before, file in zip(ours.results, stored.results, FILES, strict=True):
        precision, rank1 = official_evaluation(
            market, folder / f"query_features{file}.mat", folder / f"test_features{file}.mat"
        )
        assert 0 < precision < 1
        assert result.scores.mean_average_precision == pytest.approx(precision, abs=1e-12)
        assert result.scores.cmc(1) == pytest.approx(rank1, abs=1e-12)
        np.testing.assert_array_equal(result.scores.average_precision, before.scores.average_precision)


QUERY = "feature_query_new"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: {"feature_test_new": m},
            r"has no variable feature_query_new, found feature_test_new; write .* \(D, N\) again",
        ),
        (lambda m: {}, "found nothing"),
        (lambda m: {QUERY: m.T}, r"expected 10 columns .*, got shape \(10, 3\); it is transposed; save its transpose"),
        (lambda m: {QUERY: m[:, 1:]}, r"expected 10 columns of .*, one per query picture .*, got shape \(3, 9\)"),
        (lambda m: {QUERY: m[:2]}, r"of one size, got 2 in query_features_2.mat, 3 in test_features_2.mat"),
        (lambda m: {QUERY: m * 1j}, r"to be a matrix of real numbers \(D, N\), got complex64 of shape \(3, 10\)"),
        (lambda m: {QUERY: m[None]}, r"got float32 of shape \(1, 3, 10\)"),
        (lambda m: {QUERY: {"a": 1}}, "to be a matrix of real numbers"),
        (lambda m: {QUERY: "text"}, "to be a matrix of real numbers"),
        (lambda m: {QUERY: csc_matrix(m.astype(float))}, "as a full array, got csc_"),
        (lambda m: {QUERY: np.where(m == m[1, 4], np.nan, m)}, "query_features_2.mat: the vector of query/.* contains"),
        (lambda m: {QUERY: np.where(m == m[1, 4], np.inf, m)}, "contains NaN or infinity"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(benchmark: Benchmark, folder: Path, change: Any, message: str) -> None:
    file = folder / "query_features_2.mat"
    savemat(file, change(loadmat(file)[QUERY]))
    with pytest.raises(EmbeddingsError, match=message):
        read_mat_features(folder, benchmark)


def test_a_square_matrix_is_read_as_columns(benchmark: Benchmark, folder: Path) -> None:
    matrix = np.random.default_rng(1).normal(size=(10, 10))
    for split, count in (("query", 10), ("test", len(benchmark.gallery))):
        for file in FILES:
            path = folder / f"{split}_features{file}.mat"
            savemat(path, {f"feature_{split}_new": np.resize(matrix, (10, count))})
    np.testing.assert_array_equal(read_mat_features(folder, benchmark).stages[0][:10], matrix.T)


def test_the_vector_with_nan_is_named(benchmark: Benchmark, made: Embeddings, folder: Path, tmp_path: Path) -> None:
    file = folder / "test_features_fusion.mat"
    matrix = loadmat(file)["feature_test_new"]
    matrix[2, 5] = np.nan
    savemat(file, {"feature_test_new": matrix})
    whose = benchmark.identify(benchmark.gallery)[5]
    with pytest.raises(EmbeddingsError, match=f"test_features_fusion.mat: the vector of {re.escape(whose)} contains"):
        read_mat_features(folder, benchmark)
    fused = made.fused
    assert fused is not None
    damaged = np.where(np.asarray(made.ids)[:, None] == whose, np.float32(np.nan), fused)
    with pytest.raises(ValueError, match=f"the vector of {re.escape(whose)} contains NaN"):
        write_mat_features(tmp_path / "n", replace(made, fused=damaged), benchmark)
    assert not (tmp_path / "n").exists()


def test_what_is_no_mat_file_is_refused(benchmark: Benchmark, folder: Path) -> None:
    file = folder / "query_features_1.mat"
    content = file.read_bytes()
    for damaged in (b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(200), content[:200], content[:-40]):
        file.write_bytes(damaged)
        with pytest.raises(
            EmbeddingsError, match=r"query_features_1.mat isn't a MATLAB file, or is damaged; write .* again"
        ):
            read_mat_features(folder, benchmark)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    file.write_bytes(header + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(EmbeddingsError, match=r"is a MATLAB file of version 7.3, .*; save it with -v7"):
        read_mat_features(folder, benchmark)


def test_folders_that_lack_files_or_have_too_many_are_refused(
    benchmark: Benchmark, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(EmbeddingsError, match=r"no query_features_1.mat and no query_features.mat in"):
        read_mat_features(tmp_path / "nothing", benchmark)
    (folder / "query_features_4.mat").rename(tmp_path / "4.mat")
    with pytest.raises(EmbeddingsError, match=r"has query_features_1.mat, .*, but test_features_1.mat.*extract both"):
        read_mat_features(folder, benchmark)
    (tmp_path / "4.mat").rename(folder / "query_features_4.mat")
    with pytest.raises(
        EmbeddingsError, match=r"query_features of stages 1, 2, 3, 4, expected 1 to 3, .*say how many stages"
    ):
        read_mat_features(folder, benchmark, stages=3)
    for stages in (1, 2):
        (folder / f"query_features_{stages}.mat").unlink()
        with pytest.raises(EmbeddingsError, match="expected 1 to 4, or all but the last, beside the fusion"):
            read_mat_features(folder, benchmark)
    (folder / "query_features_fusion.mat").rename(folder / "query_features.mat")
    with pytest.raises(EmbeddingsError, match=r"holds query_features.mat and also query_features_3.mat; move one"):
        read_mat_features(folder, benchmark)
    for split in ("query", "test"):
        for path in folder.glob(f"{split}_features_[1f]*.mat"):
            path.unlink()
    (folder / "query_features.mat").unlink()
    with pytest.raises(EmbeddingsError, match="stages 3, 4, expected without a gap from 1"):
        read_mat_features(folder, benchmark)


def test_splits_without_pictures_unknown_ones_and_no_stages_are_refused(
    benchmark: Benchmark, made: Embeddings, folder: Path, tmp_path: Path
) -> None:
    for splits, got in ((["query", "test"], "query, test"), ([], "none")):
        with pytest.raises(ValueError, match=f"splits are train, query, gallery, got {got}"):
            read_mat_features(folder, benchmark, splits)
    with pytest.raises(ValueError, match="a network has at least 1 stage, got stages 0"):
        read_mat_features(folder, benchmark, stages=0)
    for call in (read_mat_features, lambda place, of, splits: write_mat_features(tmp_path / "n", made, of, splits)):
        with pytest.raises(ValueError, match="there are no train pictures in market1501; leave this split out"):
            call(folder, replace(benchmark, train=()), ["train"])


def test_tracklets_are_refused(benchmark: Benchmark, made: Embeddings, folder: Path, tmp_path: Path) -> None:
    first = benchmark.query[0]
    tracklets = replace(benchmark, query=(replace(first, images=first.images * 2), *benchmark.query[1:]))
    for call in (read_mat_features, lambda place, of: write_mat_features(tmp_path / "n", made, of)):
        with pytest.raises(ValueError, match=r"market1501 has tracklets, and .mat files are of pictures"):
            call(folder, tracklets)


def test_nothing_is_written_over_and_nothing_by_half(
    benchmark: Benchmark, made: Embeddings, folder: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="is there already; give a folder that is new or empty"):
        write_mat_features(folder, made, benchmark)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(EmbeddingsError, match="no embedding of "):
        write_mat_features(tmp_path / "n", made.rows(range(5)), benchmark)
    assert not (tmp_path / "n").exists()


def test_a_picture_that_is_query_and_gallery_entry_has_one_vector(picture: Any, tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "own" / str(number // 2) / f"{number}.jpg", number)
    own = open_benchmark(tmp_path / "own")
    assert own.query == own.gallery
    vectors = np.eye(4, dtype=np.float32)
    made = Embeddings((vectors,), None, own.identify(own.query), [0, 0, 1, 1], [1, 2, 3, 4])  # type: ignore[arg-type]
    write_mat_features(tmp_path / "f", made, own)
    assert read_mat_features(tmp_path / "f", own).ids == made.ids
    savemat(tmp_path / "f" / "test_features_1.mat", {"feature_test_new": 2 * vectors})
    with pytest.raises(EmbeddingsError, match=r"has two different vectors of 0/0.jpg, which is in two splits"):
        read_mat_features(tmp_path / "f", own)
