"""What every reader promises: labels, splits, order, ids, and one clear line where something cannot be right."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import make_market, save_picture
from layouts import (
    cuhk03_splits,
    make_cuhk03,
    make_cuhk03_np,
    make_dukemtmc,
    make_mars,
    make_msmt17,
)
from scipy.io import savemat

from dare.datasets import BENCHMARKS, Benchmark, open_benchmark


def make_folder(root: Path) -> Path:
    for split in ("train", "query", "gallery"):
        for person in (1, 2):
            save_picture(root / split / f"{person:04d}_c{person}_1.jpg", person)
            save_picture(root / split / f"{person:04d}_c{person + 1}_1.jpg", person)
    return root


def make_synthetic(root: Path) -> Path:
    make_market(root)
    (root / "synthetic.json").write_text("{}")
    return root


LAYOUTS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "market1501": ("market1501", make_market),
    "cuhk03 detected": ("cuhk03-detected", make_cuhk03),
    "cuhk03 labeled": ("cuhk03-labeled", lambda root: make_cuhk03(root, "labeled")),
    "cuhk03-np detected": ("cuhk03-detected", lambda root: make_cuhk03_np(root / "cuhk03-np") / "detected"),
    "cuhk03-np labeled": ("cuhk03-labeled", lambda root: make_cuhk03_np(root / "cuhk03-np") / "labeled"),
    "dukemtmc": ("dukemtmc", make_dukemtmc),
    "msmt17 V1": ("msmt17", lambda root: make_msmt17(root / "MSMT17_V1").parent),
    "msmt17 V2": ("msmt17", lambda root: make_msmt17(root, ("mask_train_v2", "mask_test_v2"))),
    "mars": ("mars", make_mars),
    "synthetic": ("synthetic", make_synthetic),
    "folder": ("folder", make_folder),
}
"""What is tested -> name in `BENCHMARKS`, and what makes the files."""


def test_every_reader_is_in_the_table() -> None:
    assert {name for name, _ in LAYOUTS.values()} == {*BENCHMARKS}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The reader's name, and a folder for it."""
    name, make = request.param
    return name, make(tmp_path / "data")


def splits(benchmark: Benchmark) -> list[tuple[object, ...]]:
    return [benchmark.train, benchmark.query, benchmark.gallery]


def test_the_folder_says_which_data_set_it_is(layout: tuple[str, Path]) -> None:
    name, root = layout
    found = open_benchmark(root)
    assert found.name == (root.name if name.startswith("folder") else name)
    assert found == open_benchmark(str(root), name)


def test_labels_are_numbers_and_every_picture_is_there(layout: tuple[str, Path]) -> None:
    name, root = layout
    for split in splits(BENCHMARKS[name](root)):
        assert split
        for sample in split:
            assert type(sample.person) is int
            assert type(sample.camera) is int
            assert sample.camera > 0
            assert all(image.is_file() for image in sample.images)


def test_splits_are_ordered_by_file_name_and_have_ids_of_their_own(layout: tuple[str, Path]) -> None:
    name, root = layout
    benchmark = BENCHMARKS[name](root)
    for split in splits(benchmark):
        ids = benchmark.identify(split)
        assert list(ids) == sorted(set(ids))
        for id, sample in zip(ids, split, strict=True):
            assert benchmark.root / id == sample.images[0]
            assert list(sample.images) == sorted(set(sample.images))


def test_nobody_to_test_on_is_trained_on_and_everybody_asked_for_has_a_match(layout: tuple[str, Path]) -> None:
    name, root = layout
    benchmark = BENCHMARKS[name](root)
    assert all(sample.person >= 0 for sample in benchmark.train)
    if not name.startswith("folder"):  # whose user decides
        assert not {sample.images for sample in benchmark.train} & {sample.images for sample in benchmark.gallery}
    seen = {(sample.person, sample.camera) for sample in benchmark.gallery}
    for query in benchmark.query:
        assert any(person == query.person and camera != query.camera for person, camera in seen)


def test_an_empty_folder_is_refused_by_every_reader(layout: tuple[str, Path], tmp_path: Path) -> None:
    name, _ = layout
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected|no pictures in") as refused:
        BENCHMARKS[name](tmp_path / "empty")
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_missing_is_named(layout: tuple[str, Path]) -> None:
    name, root = layout
    if name.startswith("folder"):
        return  # it takes what is there
    below = [path for path in root.rglob("*") if path.is_dir() and path.name != "MSMT17_V1" and path.name[0] != "0"]
    for folder in below:
        aside = folder.rename(folder.with_name("aside"))
        with pytest.raises(FileNotFoundError, match=r"expected .* found no .*; ") as refused:
            open_benchmark(root, name)
        assert folder.name in str(refused.value)
        aside.rename(folder)


MATLAB = {"mars": "info/query_IDX.mat", "cuhk03-detected": "cuhk03_new_protocol_config_detected.mat"}


@pytest.mark.parametrize(("name", "make"), [("mars", make_mars), ("cuhk03-detected", make_cuhk03)])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "isn't a MATLAB file, or is damaged; take the official file"),
        (b"<!DOCTYPE html>" + 500 * b" ", "isn't a MATLAB file, or is damaged; take the official file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + 500 * b"\x00", "is a MATLAB file of version 7.3"),
    ],
)
def test_what_is_no_matlab_file_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], Path], content: bytes, message: str
) -> None:
    root = make(tmp_path)
    (root / MATLAB[name]).write_bytes(content)
    with pytest.raises(ValueError, match=f"{Path(MATLAB[name]).name} {message}"):
        open_benchmark(root)


@pytest.mark.parametrize(("name", "make"), [("mars", make_mars), ("cuhk03-detected", make_cuhk03)])
def test_a_matlab_file_without_its_variables_is_refused(
    tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    root = make(tmp_path)
    savemat(root / MATLAB[name], {"other": np.zeros(3)})
    with pytest.raises(ValueError, match=r"has no .*, found other; take the official file"):
        open_benchmark(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.ones((19, 1))}, "for each of 20 names in filelist, got 19 labels and 20 camId"),
        ({"camId": np.ones((3, 7))}, "got 20 labels and 21 camId"),
        ({"labels": np.full((20, 1), 1.5)}, "expected whole numbers in labels"),
        ({"labels": np.full((20, 1), np.nan)}, "expected whole numbers in labels"),
        ({"labels": cuhk03_splits()["filelist"]}, "expected whole numbers in labels"),
        ({"filelist": np.ones((20, 1))}, "expected a text in every cell of filelist"),
        ({"train_idx": np.array([[0, 1, 2]])}, "train_idx has the index 0, expected 1 to 20"),
        ({"gallery_idx": np.array([[14, 21]])}, "gallery_idx has the index 21, expected 1 to 20"),
        ({"query_idx": np.array([[13, 13]])}, "query_idx has an index twice"),
        ({"query_idx": np.array([[13, 14]])}, "a picture is in two of train_idx, query_idx, gallery_idx"),
        ({"query_idx": np.zeros((0, 1))}, "query_idx is empty"),
    ],
)
def test_splits_of_cuhk03_that_cannot_be_right_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        open_benchmark(make_cuhk03(tmp_path, **changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "variable", "value", "message"),
    [
        ("tracks_test_info", "track_test_info", np.ones((3, 3)), r"of shape \(tracklets, 4\).*got \(3, 3\)"),
        ("tracks_test_info", "track_test_info", np.zeros((0, 4)), r"got \(0, 4\)"),
        ("tracks_train_info", "track_train_info", np.full((1, 4), 0.5), "expected whole numbers in track_train_info"),
        (
            "tracks_train_info",
            "track_train_info",
            np.array([[1, 99, 1, 1]]),
            "tracklet 1 has the frames 1 to 99 of 16 that are listed; train_name.txt is of another version",
        ),
        ("tracks_train_info", "track_train_info", np.array([[0, 3, 1, 1]]), "tracklet 1 has the frames 0 to 3"),
        ("tracks_train_info", "track_train_info", np.array([[3, 2, 1, 1]]), "tracklet 1 has the frames 3 to 2"),
        (
            "tracks_train_info",
            "track_train_info",
            np.array([[1, 3, 1, 1]]),
            "the tracklets have 3 frames, and 16 are listed; train_name.txt is of another version",
        ),
        (
            "tracks_train_info",
            "track_train_info",
            np.array([[1, 8, 1, 1], [9, 16, 3, 1]]),
            "tracklet 1 is of person 1 at camera 1, and 0001C2T0002F001.jpg is listed as its frame",
        ),
        ("query_IDX", "query_IDX", np.array([[1, 8]]), "query_IDX has the index 8, expected 1 to 7"),
        ("query_IDX", "query_IDX", np.array([[2, 2]]), "query_IDX has an index twice"),
        ("query_IDX", "query_IDX", np.zeros((1, 0)), "query_IDX is empty"),
    ],
)
def test_lists_of_mars_that_do_not_fit_each_other_are_refused(
    tmp_path: Path, file: str, variable: str, value: np.ndarray, message: str
) -> None:
    root = make_mars(tmp_path)
    savemat(root / "info" / f"{file}.mat", {variable: value})
    with pytest.raises(ValueError, match=message) as refused:
        open_benchmark(root)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list_train.txt", "", "list_train.txt lists no pictures for train"),
        ("list_query.txt", "\n", "list_query.txt lists no pictures for test"),
        ("list_query.txt", "0000/0000_002_01_0303morning_0016_2.jpg\n", "line 1: expected a picture and its person"),
        ("list_query.txt", "0000/0000_002_01_0303morning_0016_2.jpg 7\n", "line 1: expected a picture and its person"),
        ("list_query.txt", "\n0000/0000-002-01.jpg 0\n", "line 2: expected a picture and its person"),
        ("list_query.txt", 2 * "0000/0000_002_01_0303morning_0016_2.jpg 0\n", "lists 0000/.* twice"),
    ],
)
def test_lists_of_msmt17_that_cannot_be_right_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    root = make_msmt17(tmp_path)
    (root / name).write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        open_benchmark(root)
    assert "\n" not in str(refused.value)


def test_links_lead_out_of_the_folder_only_if_that_is_asked_for(layout: tuple[str, Path], tmp_path: Path) -> None:
    name, root = layout
    before = open_benchmark(root, name)
    image = (before.query or before.train)[0].images[0]
    away = tmp_path / "away" / image.name
    away.parent.mkdir()
    image.rename(away)
    image.symlink_to(away)
    with pytest.raises(ValueError, match=f"leads out of .*--layout {name}-outside"):
        open_benchmark(root, name)
    assert open_benchmark(root, f"{name}-outside").query == before.query
    image.unlink()
    away.rename(root / "kept aside")
    image.symlink_to(root / "kept aside")  # links within the folder are followed
    assert open_benchmark(root, name).query == before.query
