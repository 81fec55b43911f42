"""The Market-1501 layout: labels come from a file's own name, strangers are counted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import make_dukemtmc

from dare.datasets import DISTRACTOR, JUNK, Sample, market1501, open_benchmark


def test_labels_come_from_file_names(market_folder: Path) -> None:
    benchmark = market1501(market_folder)
    assert len(benchmark.train) == 18
    assert len(benchmark.query) == 6
    assert benchmark.train[0] == Sample(
        (market_folder / "bounding_box_train" / "0001_c1s1_000001_01.jpg",), person=1, camera=1
    )
    assert {sample.person for sample in benchmark.gallery} == {JUNK, DISTRACTOR, 4, 5, 6}


def test_parent_folders_say_nothing(market_folder: Path) -> None:
    moved = market_folder.rename(market_folder.with_name("0099_c9s1_run12_c3_backup"))
    assert {sample.camera for sample in market1501(moved).query} == {1, 2}
    assert {sample.person for sample in market1501(moved).query} == {4, 5, 6}


@pytest.mark.parametrize(
    ("name", "person", "camera"),
    [
        ("0002_c10s1_000451_03.jpg", 2, 10),
        ("1501_c123_f0046182.png", 1501, 123),
        ("0003_c2.JPG", 3, 2),
        ("12345_c1s1_000001_00.jpeg", 12345, 1),
    ],
)
def test_cameras_above_9_and_relatives_of_the_grammar(
    market_folder: Path, picture: Callable[..., Path], name: str, person: int, camera: int
) -> None:
    path = picture(market_folder / "query" / "x.jpg").rename(market_folder / "query" / name)
    assert Sample((path,), person, camera) in market1501(market_folder).query


def test_strangers_are_ignored_and_counted(market_folder: Path) -> None:
    for name in ("Thumbs.db", "0001_c1s1_000001_01.jpg.txt", "readme.jpg", "-2_c1s1_000001_01.jpg"):
        (market_folder / "query" / name).write_text("x")
    benchmark = market1501(market_folder)
    assert len(benchmark.query) == 6
    assert any("query: ignored 4 other files" in note for note in benchmark.notes)


def test_junk_in_the_training_folder_is_dropped(market_folder: Path, picture: Callable[..., Path]) -> None:
    picture(market_folder / "bounding_box_train" / "-1_c1s1_000001_01.jpg")
    assert all(sample.person != JUNK for sample in market1501(market_folder).train)


def test_counts_that_differ_from_the_published_ones_are_noted(market_folder: Path) -> None:
    notes = market1501(market_folder).notes
    assert "bounding_box_train has 18 images, Market-1501 as published 12936" in notes
    assert len(notes) == 3


def test_a_root_without_the_folders_is_refused(tmp_path: Path, market_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"found no bounding_box_train/, query/, bounding_box_test/"):
        market1501(tmp_path / "elsewhere")
    (market_folder / "query").rename(market_folder / "queries")
    with pytest.raises(FileNotFoundError, match=r"found no query/; give the folder that holds all three"):
        open_benchmark(market_folder)


def test_a_folder_without_pictures_is_refused(market_folder: Path) -> None:
    for path in (market_folder / "query").iterdir():
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no picture in .*query has a name like .*; it is empty; unpack it again"
    ):
        market1501(market_folder)


def test_one_name_with_two_contents_is_refused(market_folder: Path, picture: Callable[..., Path]) -> None:
    name = "0004_c1s1_000001_00.jpg"
    original = (market_folder / "query" / name).read_bytes()
    (market_folder / "bounding_box_test" / name).write_bytes(original)
    market1501(market_folder)  # a copy of the same picture is no conflict
    picture(market_folder / "bounding_box_test" / name, seed=99)
    with pytest.raises(ValueError, match="two different pictures have the same name"):
        market1501(market_folder)


def test_ids_are_paths_below_the_root(market_folder: Path) -> None:
    benchmark = market1501(market_folder)
    assert benchmark.identify(benchmark.query[:1]) == ("query/0004_c1s1_000001_00.jpg",)


def test_the_layout_is_recognised(market_folder: Path) -> None:
    assert open_benchmark(market_folder).name == "market1501"
    (market_folder / "synthetic.json").write_text("{}")
    assert open_benchmark(market_folder).name == "synthetic"
    assert open_benchmark(market_folder, "folder").name != "synthetic"
    with pytest.raises(ValueError, match="unknown layout 'mine'; choose market1501"):
        open_benchmark(market_folder, "mine")


def test_a_sample_needs_an_image() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        Sample((), 1, 1)


def test_dukemtmc_says_that_it_was_withdrawn(tmp_path: Path) -> None:
    benchmark = open_benchmark(make_dukemtmc(tmp_path))
    assert benchmark.name == "dukemtmc"
    assert [(sample.person, sample.camera) for sample in benchmark.query] == [
        (person, camera) for person in (2, 3, 4) for camera in (2, 5)
    ]
    assert "withdrawn by its authors in 2019" in benchmark.notes[0]
    assert benchmark.notes[1:] == (
        "bounding_box_train has 8 images, DukeMTMC-reID as published 16522",
        "query has 6 images, DukeMTMC-reID as published 2228",
        "bounding_box_test has 7 images, DukeMTMC-reID as published 17661",
    )
    assert market1501(tmp_path).gallery == benchmark.gallery
