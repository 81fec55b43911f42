"""A folder is told by any part of a data set: its reader says what is missing, and nobody reads it as another."""

import shutil
from pathlib import Path

import pytest
from conftest import make_market, save_picture
from layouts import make_cuhk03, make_dukemtmc, make_mars, make_msmt17

from dare.datasets import layout_of, open_benchmark
from dare.datasets.listing import label_number


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
def test_cuhk03_without_its_splits_is_no_folder_of_people(tmp_path: Path, boxes: str) -> None:
    root = make_cuhk03(tmp_path, boxes)
    splits = next(root.glob("*.mat"))
    splits.unlink()
    with pytest.raises(FileNotFoundError, match=rf"found no {splits.name}"):
        open_benchmark(root)
    with pytest.raises(FileNotFoundError, match=rf"found no {splits.name}"):
        open_benchmark(root / f"images_{boxes}")


def test_cuhk03_with_both_kinds_of_boxes_asks_which_are_meant(tmp_path: Path) -> None:
    for boxes in ("detected", "labeled"):
        next(make_cuhk03(tmp_path, boxes).glob(f"*_{boxes}.mat")).unlink()
    with pytest.raises(ValueError, match="say which are meant"):
        open_benchmark(tmp_path)


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_without_its_lists_is_no_folder_of_people(tmp_path: Path, folders: tuple[str, str]) -> None:
    for file in make_msmt17(tmp_path, folders).glob("list_*.txt"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"found no list_train.txt, list_val.txt, list_query.txt"):
        open_benchmark(tmp_path)


def test_mars_without_its_pictures_says_which_folders_are_missing(tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(make_mars(tmp_path / split) / f"bbox_{split}")
        shutil.rmtree(tmp_path / split / f"bbox_{'test' if split == 'train' else 'train'}")
        with pytest.raises(FileNotFoundError, match=r"found no bbox_train/, bbox_test/"):
            open_benchmark(tmp_path / split)


def test_a_folder_is_the_same_however_its_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_market(tmp_path / "cuhk03-np" / "detected")
    monkeypatch.chdir(tmp_path / "cuhk03-np")
    assert open_benchmark("detected").name == "cuhk03-detected"
    monkeypatch.chdir("detected")
    assert open_benchmark(".").name == "cuhk03-detected"


def test_a_folder_above_published_data_sets_is_no_folder_of_people(tmp_path: Path) -> None:
    make_market(tmp_path / "data" / "market1501", 1, 1)
    (tmp_path / "data" / "runs").mkdir()
    with pytest.raises(
        ValueError, match=r"isn't a data set, it holds market1501/; give .*data/market1501, or --layout"
    ):
        open_benchmark(tmp_path / "data")
    assert {sample.person for sample in open_benchmark(tmp_path / "data", "folder").query} == {
        label_number("market1501")
    }
    for boxes in ("detected", "labeled"):  # either would do, so no reader's advice helps here
        make_market(tmp_path / "data" / "cuhk03-np" / boxes, 1, 1)
    with pytest.raises(ValueError, match=r"it holds cuhk03-np/ and market1501/; give .*data/cuhk03-np, or"):
        open_benchmark(tmp_path / "data", unlabelled=True)
    for person in ("4", "5"):
        save_picture(tmp_path / "data" / "query" / person / "a.jpg")
    assert len(open_benchmark(tmp_path / "data").query) == 2  # of one's own splits nothing else is read


def test_data_sets_two_levels_down_are_no_people(tmp_path: Path) -> None:
    make_market(tmp_path / "data" / "reid" / "market1501", 1, 1)
    with pytest.raises(ValueError, match=r"it holds reid/market1501/; give .*data/reid/market1501, or --layout"):
        open_benchmark(tmp_path / "data")
    for split in ("Train", "Query", "Gallery"):
        save_picture(tmp_path / "shops" / "one" / split / "4" / "a.jpg")
    with pytest.raises(ValueError, match=r"shops isn't a data set, it holds one/; give .*shops/one"):
        open_benchmark(tmp_path / "shops")
    assert len(open_benchmark(tmp_path / "shops" / "one").query) == 1


def test_msmt17_beside_other_data_sets_is_not_read_alone(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        (tmp_path / "data" / "MSMT17_V1" / folder).mkdir(parents=True)
    assert layout_of(tmp_path / "data") == "msmt17"
    make_market(tmp_path / "data" / "market1501", 1, 1)
    with pytest.raises(ValueError, match=r"isn't a data set, it holds .*market1501/; give "):
        layout_of(tmp_path / "data")


def test_dukemtmc_is_told_by_its_first_picture_whatever_lies_before_it(tmp_path: Path) -> None:
    root = make_dukemtmc(tmp_path)
    (root / "query" / "0.jpg").touch()
    for picture in (root / "query").glob("*_f*.jpg"):
        picture.rename(picture.with_suffix(".png"))
    assert open_benchmark(root).name == "dukemtmc"
