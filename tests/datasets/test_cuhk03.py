"""CUHK03 with the new protocol: two forms, two kinds of boxes."""

from pathlib import Path

import numpy as np
import pytest
from conftest import save_picture
from layouts import cuhk03_splits, make_cuhk03, make_cuhk03_np

from dare.datasets import Sample, cuhk03, open_benchmark


def test_labels_and_splits_come_from_the_matlab_file(tmp_path: Path) -> None:
    labels = np.arange(101, 121)[:, None]
    benchmark = cuhk03(make_cuhk03(tmp_path, labels=labels))
    pictures = tmp_path / "images_detected"
    assert benchmark.name == "cuhk03-detected"
    assert benchmark.train[0] == Sample((pictures / "1_001_1_01.png",), 101, 1)
    assert [sample.images[0].name for sample in benchmark.query] == [
        f"1_{person:03d}_{camera}_01.png" for person in (4, 5) for camera in (1, 2)
    ]
    assert [(sample.person, sample.camera) for sample in benchmark.gallery] == [(114, 1), (116, 2), (118, 1), (120, 2)]
    assert benchmark.identify(benchmark.query[:1]) == ("images_detected/1_004_1_01.png",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camId": np.full((20, 1), 2)}, "expected the camera in third place of its name"),
        ({"labels": np.ones((20, 1))}, "person 1 is both trained on and tested"),
        ({"labels": np.full((20, 1), 1e300)}, "expected whole numbers in labels"),
    ],
)
def test_splits_that_contradict_themselves_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cuhk03(make_cuhk03(tmp_path, **changes))


def test_indices_in_any_order_give_samples_ordered_by_file_name(tmp_path: Path) -> None:
    backwards = cuhk03_splits()["train_idx"][::-1].T
    assert cuhk03(make_cuhk03(tmp_path / "b", train_idx=backwards)).train[0].images[0].name == "1_001_1_01.png"


def test_pictures_may_lie_where_the_authors_code_puts_them(tmp_path: Path) -> None:
    make_cuhk03(tmp_path, "labeled")
    (tmp_path / "images_labeled").rename(tmp_path / "cuhk03_labeled")
    assert cuhk03(tmp_path, "labeled").gallery[0].images[0].parent.name == "cuhk03_labeled"


def test_the_archive_is_read_from_its_top_too(tmp_path: Path) -> None:
    root = make_cuhk03_np(tmp_path / "cuhk03-np")
    assert cuhk03(root, "labeled") == cuhk03(root / "labeled", "labeled")
    assert cuhk03(root, "labeled").name == "cuhk03-labeled"
    with pytest.raises(ValueError, match=r"holds detected boxes, expected labeled ones; give the other folder"):
        cuhk03(root / "detected", "labeled")
    with pytest.raises(ValueError, match=r"detected and with labeled boxes; say which are meant: --layout cuhk03-det"):
        open_benchmark(root)


def test_counts_that_differ_from_the_published_ones_are_noted(tmp_path: Path) -> None:
    assert cuhk03(make_cuhk03(tmp_path / "d")).notes == (
        "train has 12 images, CUHK03 as published 7365",
        "query has 4 images, CUHK03 as published 1400",
        "gallery has 4 images, CUHK03 as published 5332",
    )
    labeled = cuhk03(make_cuhk03(tmp_path / "l", "labeled"), "labeled")
    assert "train has 12 images, CUHK03 as published 7368" in labeled.notes
    assert "gallery has 4 images, CUHK03 as published 5328" in labeled.notes
    assert any("as published 7365" in note for note in cuhk03(make_cuhk03_np(tmp_path / "np")).notes)


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    root = make_cuhk03(tmp_path)
    for name in ("1_001_1_01.png", "1_002_2_02.png"):
        (root / "images_detected" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of the 12 pictures .* lists are not in .*_detected, .* 1_001_1_01"):
        cuhk03(root)


def test_the_raw_file_alone_is_refused_and_the_message_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "cuhk03_release").mkdir()
    (tmp_path / "cuhk03_release" / "cuhk-03.mat").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"cuhk-03.mat isn't read: take its pictures out, or get the archive"):
        open_benchmark(tmp_path)
    save_picture(tmp_path / "images_detected" / "1_001_1_01.png")
    with pytest.raises(FileNotFoundError, match=r"found no cuhk03_new_protocol_config_detected.mat; cuhk-03"):
        open_benchmark(tmp_path)


def test_other_boxes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boxes must be 'detected' or 'labeled', got 'drawn'"):
        cuhk03(tmp_path, "drawn")  # type: ignore[arg-type]
