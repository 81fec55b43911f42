"""MSMT17: lists of pictures, two versions of the folders."""

import shutil
from pathlib import Path

import pytest
from layouts import MSMT17, make_msmt17

from dare.datasets import Sample, msmt17
from dare.evaluation.checking import check


def test_person_and_camera_come_from_the_list(tmp_path: Path) -> None:
    benchmark = msmt17(make_msmt17(tmp_path))
    train = tmp_path / "train"
    assert benchmark.train[0] == Sample((train / "0000" / "0000_000_01_0303morning_0008_0.jpg",), 0, 1)
    assert [(sample.person, sample.camera) for sample in benchmark.train] == [(0, 1), (0, 4), (1, 2), (1, 14)]
    assert [(sample.person, sample.camera) for sample in benchmark.query] == [(0, 1), (1, 15)]
    assert {sample.images[0].parents[1].name for sample in (*benchmark.query, *benchmark.gallery)} == {"test"}


def test_validation_pictures_are_trained_on_unless_it_is_said(tmp_path: Path) -> None:
    root = make_msmt17(tmp_path)
    without = msmt17(root, validation=False)
    assert len(without.train) == 2
    assert "list_val.txt is not trained on" in without.notes
    whole = msmt17(root)
    assert set(without.train) < set(whole.train)
    assert "train has 4 images, MSMT17 as published 32621" in whole.notes
    assert (without.query, without.gallery) == (whole.query, whole.gallery)


def test_person_0_is_a_person(tmp_path: Path) -> None:
    found = check(make_msmt17(tmp_path))
    assert found.splits["gallery"].people == 2
    assert found.splits["gallery"].distractors == 0
    assert found.unmatched == 0


def test_both_versions_are_the_same_but_for_their_folders(tmp_path: Path) -> None:
    one = msmt17(make_msmt17(tmp_path / "one" / "MSMT17_V1"))
    two = msmt17(make_msmt17(tmp_path / "two" / "MSMT17_V2", ("mask_train_v2", "mask_test_v2")).parent)
    assert two.root == tmp_path / "two" / "MSMT17_V2"
    assert [(s.person, s.camera, s.images[0].name) for s in one.gallery] == [
        (s.person, s.camera, s.images[0].name) for s in two.gallery
    ]


def test_missing_pictures_are_counted_and_their_list_is_named(tmp_path: Path) -> None:
    root = make_msmt17(tmp_path)
    (root / "train" / MSMT17["list_val.txt"][0].split()[0]).unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 pictures that list_val.txt lists are not in .*train"):
        msmt17(root)
    msmt17(root, validation=False)


def test_a_picture_in_both_lists_is_refused(tmp_path: Path) -> None:
    root = make_msmt17(tmp_path)
    (root / "list_val.txt").write_text(MSMT17["list_train.txt"][0])
    with pytest.raises(ValueError, match=r"list_train.txt and list_val.txt both list 0000_000_01"):
        msmt17(root)


def test_a_list_that_is_missing_is_named(tmp_path: Path) -> None:
    root = make_msmt17(tmp_path)
    (root / "list_gallery.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"found no list_gallery.txt; ask the authors"):
        msmt17(root)


def test_lists_that_cannot_be_the_official_ones_are_refused(tmp_path: Path) -> None:
    root = make_msmt17(tmp_path / "twins")
    shutil.copy(root / "list_gallery.txt", root / "list_query.txt")
    with pytest.raises(ValueError, match=r"list_query.txt and list_gallery.txt both list"):
        msmt17(root)
    root = make_msmt17(tmp_path / "elsewhere")
    (root / "list_query.txt").write_text("../train/0000_000_01_0303morning_0008_0.jpg 0\n")
    with pytest.raises(ValueError, match=r"which is not in .*test; take the official file"):
        msmt17(root)
    for version in ("MSMT17_V1", "MSMT17_V2"):
        make_msmt17(tmp_path / "both" / version)
    with pytest.raises(ValueError, match="holds both versions"):
        msmt17(tmp_path / "both")


def test_lists_may_begin_with_a_mark_and_have_wide_gaps(tmp_path: Path) -> None:
    root = make_msmt17(tmp_path)
    text = (root / "list_query.txt").read_text().replace(" ", "   ")
    (root / "list_query.txt").write_text(text, encoding="utf-8-sig")
    assert len(msmt17(root).query) == 2


def test_numbers_in_training_are_other_people_than_in_the_test(tmp_path: Path) -> None:
    assert msmt17(make_msmt17(tmp_path)).numbered_anew
