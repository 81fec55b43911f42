"""Whom a network was trained on is known again."""

from pathlib import Path

import pytest

from dare.datasets.sample import JUNK, UNKNOWN, Sample
from dare.datasets.seen import DIGITS, people_seen, together, trained_on


@pytest.fixture
def people(tmp_path: Path) -> list[Sample]:
    """Five people with four pictures each."""
    samples = []
    for person in range(1, 6):
        for number in range(4):
            path = tmp_path / f"{person:04}_c{number}_000{number}.jpg"
            path.write_bytes(bytes([person, number]) + b"a picture" * 10_000)
            samples.append(Sample((path,), person, number))
    return samples


def seen_of(samples: list[Sample]) -> str:
    return people_seen((sample.person, path) for sample in samples for path in sample.images)


def test_eight_bytes_for_each_person_whatever_the_order(people: list[Sample]) -> None:
    seen = seen_of(people)
    assert len(seen) == 5 * DIGITS == 5 * 2 * 8
    assert seen_of(people[::-1]) == seen
    relabelled = [Sample(sample.images, 100 - sample.person, 7) for sample in people]
    assert seen_of(relabelled) == seen
    assert together(seen_of(people[:8]), seen_of(people[4:])) == seen


def test_people_are_known_again_from_some_pictures_and_new_ones_are_not(people: list[Sample], tmp_path: Path) -> None:
    seen = seen_of(people[:12])
    assert trained_on(people, seen).startswith("3 of 5 people here are among those the network was trained on")
    assert trained_on(people[12:], seen) == ""
    assert trained_on(people, "") == ""
    (elsewhere := tmp_path / "copies").mkdir()
    copies = []
    for sample in people[:4]:
        path = elsewhere / sample.images[0].name
        path.write_bytes(sample.images[0].read_bytes())
        copies.append(Sample((path,), 77, 1))
    assert trained_on(copies, seen).startswith("1 of 1 people")
    copies[0].images[0].write_bytes(b"another")
    for copy in copies[1:]:
        copy.images[0].write_bytes(b"another")
    assert trained_on(copies, seen) == ""  # names alone are no proof


def test_junk_unknown_people_and_missing_files_have_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")
    assert people_seen([(JUNK, path), (UNKNOWN, path), (3, tmp_path / "none.jpg")]) == ""


def test_pictures_of_one_name_are_told_by_their_content(tmp_path: Path) -> None:
    """Tracklets of several cameras may have the same names: any of them may come first."""
    pictures = []
    for camera in "ab":
        (tmp_path / camera).mkdir()
        (tmp_path / camera / "1.jpg").write_bytes(camera.encode())
        pictures.append((1, tmp_path / camera / "1.jpg"))
    assert people_seen(pictures) == people_seen(pictures[::-1]) != ""
