"""MARS: tracklets, listed by the files of the official evaluation."""

from pathlib import Path

import pytest
from layouts import MARS_TEST, MARS_TRAIN, make_mars

from dare.datasets import JUNK, mars


def test_a_tracklet_is_a_sample_with_its_frames_in_order(tmp_path: Path) -> None:
    benchmark = mars(make_mars(tmp_path))
    assert [(s.person, s.camera, len(s.images)) for s in benchmark.train] == MARS_TRAIN
    assert [image.name for image in benchmark.train[2].images] == [
        f"0003C1T0003F{frame:03d}.jpg" for frame in (1, 2, 3, 4)
    ]
    assert benchmark.train[2].images[0].parent == tmp_path / "bbox_train" / "0003"
    assert benchmark.identify(benchmark.train[2:3]) == ("bbox_train/0003/0003C1T0003F001.jpg",)


def test_all_test_tracklets_are_the_gallery_junk_distractors_and_queries_too(tmp_path: Path) -> None:
    benchmark = mars(make_mars(tmp_path))
    assert [(s.person, s.camera, len(s.images)) for s in benchmark.gallery] == MARS_TEST
    assert [(s.person, s.camera) for s in benchmark.query] == [(2, 1), (2, 4), (4, 2), (4, 5)]
    assert set(benchmark.query) < set(benchmark.gallery)
    assert benchmark.gallery[0].person == JUNK
    assert benchmark.gallery[0].images[0].parent.name == "00-1"


def test_counts_that_differ_from_the_published_ones_are_noted(tmp_path: Path) -> None:
    assert mars(make_mars(tmp_path)).notes == (
        "bbox_train has 6 tracklets, MARS as published 8298",
        "query_IDX.mat has 4 tracklets, MARS as published 1980",
        "bbox_test has 7 tracklets, MARS as published 12180",
    )


def test_junk_among_the_training_tracklets_is_not_trained_on(tmp_path: Path) -> None:
    benchmark = mars(make_mars(tmp_path, train=[(JUNK, 1, 2), (0, 1, 2), *MARS_TRAIN]))
    assert [(s.person, s.camera, len(s.images)) for s in benchmark.train] == MARS_TRAIN
    assert any("2 tracklets of junk and distractors (persons -1 and 0)" in note for note in benchmark.notes)


def test_missing_frames_are_one_line_that_says_where_and_how_many(tmp_path: Path) -> None:
    root = make_mars(tmp_path)
    for name in ("0002/0002C1T0003F002.jpg", "0002/0002C1T0003F004.jpg", "0004/0004C5T0007F001.jpg"):
        (root / "bbox_test" / name).unlink()
    with pytest.raises(FileNotFoundError) as refused:
        mars(root)
    assert str(refused.value) == (
        "2 of the 4 frames of the tracklet that begins with 0002/0002C1T0003F001.jpg are not in "
        f"{root / 'bbox_test'}, and 2 of 7 tracklets have gaps; unpack bbox_test again"
    )


def test_a_person_whose_folder_is_missing_counts_as_gaps(tmp_path: Path) -> None:
    root = make_mars(tmp_path)
    (root / "bbox_train" / "0005").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"2 of the 2 frames .* 0005/0005C1T0005F001.jpg .* 2 of 6 tracklets"):
        mars(root)


def test_a_list_of_names_that_is_missing_is_named(tmp_path: Path) -> None:
    root = make_mars(tmp_path)
    (root / "info" / "test_name.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no test_name.txt in .*info; take the official file, in liangzheng06/MARS-evaluation"
    ):
        mars(root)
    (root / "info" / "tracks_test_info.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"no tracks_test_info.mat in .*info"):
        mars(root)
    (make_mars(tmp_path) / "info" / "query_IDX.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"no query_IDX.mat in .*; .*, in liangzheng06/MARS-evaluation"):
        mars(root)


def test_queries_of_nobody_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"query_IDX.mat: 2 of 3 queries are junk or distractors; take the official"):
        mars(make_mars(tmp_path, queries=[1, 2, 3]))
