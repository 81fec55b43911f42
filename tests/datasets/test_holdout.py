"""Training people that are set aside to choose settings on."""

from pathlib import Path

import pytest

from dare.datasets import Benchmark, Sample, folder, market1501
from dare.datasets.holdout import hold_out, write_manifest


def test_held_out_people_are_new_to_training_and_unseen_by_the_test(market_folder: Path) -> None:
    whole = market1501(market_folder)
    with pytest.raises(ValueError, match="2 of 3 training people cannot be held out"):
        hold_out(whole, 2)
    samples = [
        Sample((market_folder / f"{person}_{camera}_{n}.jpg",), person, camera)
        for person in range(8)
        for camera in (1, 2)
        for n in range(3)
    ]
    split = hold_out(Benchmark("b", tuple(samples), whole.query, whole.gallery, market_folder), 3, seed=4)
    held = {sample.person for sample in split.query}
    assert len(held) == 3
    assert held == {sample.person for sample in split.gallery}
    assert held.isdisjoint(sample.person for sample in split.train)
    assert sorted((*split.train, *split.query, *split.gallery), key=lambda s: s.images) == samples
    assert sorted((s.person, s.camera) for s in split.query) == sorted((p, c) for p in held for c in (1, 2))
    other = hold_out(Benchmark("b", tuple(samples), (), (), market_folder), 3, seed=5)
    assert {sample.person for sample in other.query} != held


def test_a_manifest_reads_back_as_it_was(market_folder: Path) -> None:
    whole = market1501(market_folder)
    file = market_folder.parent / "all.csv"
    assert write_manifest(whole, file) == 18 + 6 + 8
    again = folder(file)
    for split in ("train", "query", "gallery"):
        assert getattr(again, split) == getattr(whole, split)
    assert again.cameras_known


def test_a_manifest_keeps_names(tmp_path: Path) -> None:
    lines = ["image,person,camera"]
    for number in range(16):
        (tmp_path / f"{number}.jpg").touch()
        lines.append(f"{number}.jpg,person {'abcd'[number % 4]},camera {number // 4 % 2}")
    (tmp_path / "all.csv").write_text("\n".join(lines))
    split = hold_out(folder(tmp_path / "all.csv"), 2)
    write_manifest(split, tmp_path / "split.csv")
    again = folder(tmp_path / "split.csv")
    assert set(again.names.values()) == {f"person {letter}" for letter in "abcd"}
    assert set(again.camera_names.values()) == {"camera 0", "camera 1"}
    assert (again.train, set(again.gallery)) == (split.train, set(split.gallery))


def test_without_cameras_the_first_picture_of_a_person_asks(tmp_path: Path) -> None:
    samples = tuple(Sample((tmp_path / f"{n}.jpg",), n // 3, n) for n in range(15))
    split = hold_out(Benchmark("b", samples, (), (), tmp_path, cameras_known=False), 2)
    assert [sample.camera % 3 for sample in split.query] == [0, 0]
    assert len(split.gallery) == 4
    write_manifest(split, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().splitlines()[0] == "image,person,split"


def test_tracklets_fit_into_no_manifest(tmp_path: Path) -> None:
    sample = Sample((tmp_path / "1.jpg", tmp_path / "2.jpg"), 1, 1)
    with pytest.raises(ValueError, match="one of 2 of a sample"):
        write_manifest(Benchmark("b", (sample,), (), (), tmp_path), tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()
