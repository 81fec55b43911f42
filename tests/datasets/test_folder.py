"""A user's own pictures: folders, names, CSV files, with and without cameras."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dare.datasets import UNKNOWN, Benchmark, Sample, folder, open_benchmark
from dare.datasets.listing import label_number

Picture = Callable[..., Path]


def test_a_folder_per_person_serves_in_all_splits(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(["ada/1.jpg", "ada/2.jpg", "bob/1.jpg", "bob/deep/2.jpg"]):
        picture(tmp_path / name, number)
    benchmark = folder(tmp_path)
    assert benchmark.train == benchmark.query == benchmark.gallery
    ada, bob = label_number("ada"), label_number("bob")
    assert [sample.person for sample in benchmark.query] == [ada, ada, bob, bob]
    assert not benchmark.cameras_known
    assert any("no camera numbers" in note for note in benchmark.notes)
    assert any("every picture serves as" in note for note in benchmark.notes)


def test_without_cameras_each_distinct_picture_is_its_own_camera(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(["query/7/a.jpg", "gallery/7/b.jpg", "gallery/8/c.jpg"]):
        picture(tmp_path / name, number)
    copy = tmp_path / "gallery/7/copy.jpg"
    copy.write_bytes((tmp_path / "query/7/a.jpg").read_bytes())
    benchmark = folder(tmp_path)
    cameras = {sample.images[0].name: sample.camera for sample in (*benchmark.query, *benchmark.gallery)}
    assert cameras["a.jpg"] == cameras["copy.jpg"]
    assert len(set(cameras.values())) == 3
    assert [sample.person for sample in benchmark.gallery] == [7, 7, 8]
    assert benchmark.train == ()


def test_names_can_hold_person_and_camera(tmp_path: Path, picture: Picture) -> None:
    for name in ("0002_c3_000451.jpg", "0002_c12s1_000460.png", "0005_c3_x.jpg"):
        picture(tmp_path / "0009_c1_parent" / "gallery" / name).touch()
    benchmark = folder(tmp_path / "0009_c1_parent" / "gallery")
    assert [(s.person, s.camera) for s in benchmark.gallery] == [(2, 12), (2, 3), (5, 3)]
    assert benchmark.cameras_known


def test_cameras_for_some_pictures_only_are_refused(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1" / "c1_a.jpg")
    picture(tmp_path / "1" / "a.jpg")
    with pytest.raises(ValueError, match=r"1 pictures have a camera number and 1 don't, such as .*a\.jpg"):
        folder(tmp_path)


def test_other_files_are_ignored_and_counted(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1" / "a.jpg")
    (tmp_path / "1" / "Thumbs.db").write_text("x")
    (tmp_path / "1" / ".hidden.jpg").write_text("x")
    picture(tmp_path / ".cache" / "a.jpg")
    assert any("ignored 1 other file (1/Thumbs.db)" in note for note in folder(tmp_path).notes)
    assert len(folder(tmp_path).gallery) == 1


def write_csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_csv_file_lists_pictures(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(["a.jpg", "sub/b.jpg", "c,d.jpg"]):
        picture(tmp_path / name, number)
    table = write_csv(
        tmp_path / "mine.csv",
        "camera,person,image,split",
        "door,Łucja,a.jpg,query",
        "yard,Łucja,sub/b.jpg,gallery",
        'yard,Bo,"c,d.jpg",',
    )
    benchmark = folder(table)
    assert benchmark.name == "mine"
    lucja, bo, door, yard = (label_number(label) for label in ("Łucja", "Bo", "door", "yard"))
    assert [(s.person, s.camera) for s in benchmark.query] == [(lucja, door), (bo, yard)]
    assert [(s.person, s.camera) for s in benchmark.gallery] == [(lucja, yard), (bo, yard)]
    assert [s.images[0].name for s in benchmark.train] == ["c,d.jpg"]
    assert benchmark.identify(benchmark.gallery) == ("sub/b.jpg", "c,d.jpg")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,person", "a.jpg,1"], "needs the columns image and person"),
        ([""], "needs the columns image and person .* has nothing"),
        (["image,person"], "lists no pictures"),
        (["image,person", "a.jpg,"], "line 2: expected an image and a person"),
        (["image,person", "none.jpg,1"], "line 2: no picture at"),
        (["image,person", "a.jpg,1", "a.jpg,1"], r"lists a.jpg twice, in lines 2 and 3"),
        (["image,person,split", "a.jpg,1,query", "a.jpg,2,gallery"], "lines 2 and 3: a.jpg has two people"),
        (["image,person", "../a.jpg,1"], "is outside of the CSV file's folder"),
        (["image,person", "x/../a.jpg,1", "a.jpg,1"], "twice"),
        (["image,person", "a.jpg," + 140_000 * "x"], "line 2: not a line of a CSV file"),
        (["image,person,time", "a.jpg,1,20240531"], "line 2: a time is seconds since 1970 .* got .20240531"),
        (["image,person,time", "a.jpg,1,1717150000000"], "line 2: a time is seconds since 1970"),
        (["image,person,time", "a.jpg,1,-5"], "line 2: a time is seconds since 1970"),
        (["image,person,time", "a.jpg,1,noon"], "line 2: a time is seconds since 1970 or like .* got 'noon'"),
        (["image,person,time", "a.jpg,1,nan"], "line 2: a time is"),
        (["image,person", "a.jpg,-2"], r"people are numbered from 0 .* has person -2 \(line 2 \(a.jpg\)\)"),
        (["image,person,split", "a.jpg,1,test"], "split must be train, query, gallery or empty"),
    ],
)
def test_a_csv_file_that_cannot_be_right_is_refused(
    tmp_path: Path, picture: Picture, lines: list[str], message: str
) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        folder(write_csv(tmp_path / "mine.csv", *lines))


def test_a_csv_file_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes("image,person\na.jpg,Zoë\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"mine.csv, line 2: byte 0xeb isn't UTF-8"):
        folder(tmp_path / "mine.csv")


def test_numbers_too_long_for_64_bits_are_names(tmp_path: Path, picture: Picture) -> None:
    for number, person in enumerate(("1" * 20, "2" * 20)):
        picture(tmp_path / person / "a.jpg", number)
    assert [sample.person for sample in folder(tmp_path).query] == [label_number("1" * 20), label_number("2" * 20)]


def test_a_label_has_the_same_number_in_every_data_set(tmp_path: Path, picture: Picture) -> None:
    assert [label_number(label) for label in ("7", "-1", "0")] == [7, -1, 0]
    assert label_number("anna") == 375_309_733_296_278
    assert 2**48 <= min(label_number(str(n) + "x") for n in range(1000)) < 2**49
    picture(tmp_path / "one" / "bob" / "1.jpg")
    picture(tmp_path / "two" / "ada" / "1.jpg")
    picture(tmp_path / "two" / "bob" / "1.jpg")
    one, two = folder(tmp_path / "one").gallery, folder(tmp_path / "two").gallery
    assert one[0].person == two[1].person != two[0].person


def test_pictures_of_whom_nobody_knows_are_read_where_that_is_allowed(tmp_path: Path, picture: Picture) -> None:
    for name in ("f1.jpg", "c2_f2.jpg", "7_c1_f3.jpg"):
        picture(tmp_path / "mixed" / name)
    with pytest.raises(ValueError, match="give camera numbers to all of them or to none"):
        open_benchmark(tmp_path / "mixed", unlabelled=True)
    (tmp_path / "mixed" / "f1.jpg").unlink()
    with pytest.raises(ValueError, match=r"can't tell who .* shows"):
        open_benchmark(tmp_path / "mixed")
    found = open_benchmark(tmp_path / "mixed", unlabelled=True)
    assert [(s.person, s.camera) for s in found.gallery] == [(7, 1), (UNKNOWN, 2)]
    assert [s.person for s in found.train] == [7]
    picture(tmp_path / "a.jpg")
    table = write_csv(tmp_path / "mine.csv", "image", "a.jpg")
    with pytest.raises(ValueError, match="needs the columns image and person"):
        folder(table)
    assert [s.person for s in folder(table, unlabelled=True).gallery] == [UNKNOWN]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("12.5", 12.5), ("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T02:00:00+02:00", 0.0), ("1970-01-02", 86400.0)],
)
def test_times_are_seconds_since_1970(tmp_path: Path, picture: Picture, written: str, seconds: float) -> None:
    picture(tmp_path / "a.jpg")
    table = write_csv(tmp_path / "mine.csv", "image,person,time", f"a.jpg,1,{written}")
    assert folder(table).gallery[0].time == seconds


def test_links_to_folders_are_followed_once(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "ada").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "root")
    with pytest.raises(ValueError, match=r"ada is a link that leads out of .*root; .* --layout folder-outside"):
        folder(tmp_path / "root")
    found = open_benchmark(tmp_path / "root", "folder-outside")
    assert found.identify(found.query) == ("ada/a.jpg",)
    (tmp_path / "root" / "bob").symlink_to(tmp_path / "root" / "people")
    (tmp_path / "root" / "ada").unlink()
    picture(tmp_path / "root" / "people" / "b.jpg")
    assert len(folder(tmp_path / "root").query) == 2


def test_nothing_to_read_is_said_in_one_line(tmp_path: Path, picture: Picture) -> None:
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected a folder of pictures or a \.csv file"):
        folder(tmp_path / "none")
    picture(tmp_path / "portrait.jpg")
    with pytest.raises(ValueError, match=r"can't tell who .* shows"):
        folder(tmp_path)


def test_labels_that_are_one_number_are_refused(tmp_path: Path, picture: Picture) -> None:
    for name in ("1/a.jpg", "01/b.jpg", "2/c.jpg"):
        picture(tmp_path / name)
    with pytest.raises(ValueError, match="the labels 01 and 1 are the same number"):
        folder(tmp_path)


def test_a_benchmark_made_by_hand_finds_its_own_root(tmp_path: Path) -> None:
    query, gallery = Sample((tmp_path / "q/1.jpg",), 1, 1), Sample((tmp_path / "g/1.jpg",), 1, 2)
    benchmark = Benchmark("mine", (), (query,), (gallery,))
    assert benchmark.root == tmp_path
    assert benchmark.identify([query, gallery]) == ("q/1.jpg", "g/1.jpg")
    assert Benchmark("nothing", (), (), ()).notes == ()


def listed(tmp_path: Path, picture: Picture, text: str) -> Benchmark:
    for name in "abcd":
        picture(tmp_path / f"{name}.jpg")
    (tmp_path / "l.csv").write_text(text, encoding="utf-8")
    return folder(tmp_path / "l.csv")


def test_labels_are_the_same_in_whatever_form_they_are_written(tmp_path: Path, picture: Picture) -> None:
    composed, apart = "Ren\u00e9", "Rene\u0301"
    text = f"image, person ,camera\na.jpg,{composed},1.0\nb.jpg,{apart},1\nc.jpg,-1.0,2.0\nd.jpg,7.00,2\n"
    found = listed(tmp_path, picture, text)
    assert [sample.person for sample in found.gallery] == [label_number(composed)] * 2 + [-1, 7]
    assert [sample.camera for sample in found.gallery] == [1, 1, 2, 2]
    assert label_number(apart) == label_number(composed)
    picture(tmp_path / "people" / apart / "1.jpg")
    assert folder(tmp_path / "people").names == {label_number(composed): composed}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,person\na.jpg,1,2\n", "line 2: expected 2 cells as in the first line, got 3"),
        ("image,person,camera\na.jpg,1,2\nb.jpg,1\n", "line 3: expected 3 cells as in the first line, got 2"),
        ("image,person, person\na.jpg,1,2\n", "has the column person twice"),
        ('image,person,note\n\n\na.jpg,1,"two\nlines"\nb.jpg,,x\n', "line 6: expected an image and a person"),
        ("image,person,camra\na.jpg,1,1\n", "has a column camra, which would not be read; rename it to camera"),
        ("image,person,Split\na.jpg,1,train\n", "has a column Split, which would not be read; rename it to split"),
        ("image;person\na.jpg;1\n", "separated by commas, its first line has image;person"),
        ('image,person\na.jpg,1\n\nb.jpg,"1\nc.jpg,1\n', "line 4: not a line of a CSV file"),
        ("image,person,camera\na.jpg,1,1\n\nb.jpg,1,\n", "and 1 don't, such as line 4 (b.jpg)"),
        ("image,person\na.jpg,7\nb.jpg,07\n", "the labels 07 and 7 are the same number; write them alike"),
        ("image,person\na.jpg,7\nb.jpg,07\n", "line 3 (b.jpg) and line 2 (a.jpg)"),
        (
            "image,person\n../b.jpg,1\n",
            "line 2: ../b.jpg is outside of the CSV file's folder; put the file into a folder above all",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, picture: Picture, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        listed(tmp_path, picture, text)


def test_absolute_paths_are_found_from_a_relative_name(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "l.csv").write_text(f"image,person\n{tmp_path / 'a.jpg'},1\n")
    monkeypatch.chdir(tmp_path)
    found = folder("l.csv")
    assert found.identify(found.gallery) == ("a.jpg",)


def test_pictures_outside_of_the_csv_files_folder_are_read_where_that_is_asked_for(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    for number, name in enumerate(("one/a.jpg", "two/b.jpg")):
        picture(tmp_path / name, number)
    text = f"image,person,note\n../one/a.jpg,1,x\n{tmp_path / 'two/b.jpg'},2,\n"
    (tmp_path / "lists" / "l.csv").write_text(text)
    (tmp_path / "lists" / "linked.jpg").symlink_to(tmp_path / "one" / "a.jpg")
    monkeypatch.chdir(tmp_path / "lists")
    with pytest.raises(ValueError, match=r"line 2: ../one/a.jpg is outside .* or read it with --layout folder-outside"):
        open_benchmark("l.csv")
    found = open_benchmark("l.csv", "folder-outside")
    assert found.identify(found.gallery) == ("one/a.jpg", "two/b.jpg")
    assert "columns that aren't read: note" in found.notes
    write_csv(tmp_path / "lists" / "l.csv", "image,person", "linked.jpg,1")
    with pytest.raises(ValueError, match=r"line 2: linked\.jpg is outside"):
        folder("l.csv")


def test_a_folder_reached_by_a_link_is_the_folder(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "real" / "a.jpg")
    (tmp_path / "mount").symlink_to(tmp_path / "real")
    table = write_csv(tmp_path / "real" / "l.csv", "image,person", f"{tmp_path / 'mount/a.jpg'},1")
    found = folder(table)
    assert found.identify(found.gallery) == ("a.jpg",)


def test_what_was_taken_is_said(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(("Train/anna/c1_a.jpg", "Gallery/anna/c2_a.jpg", "Gallery/0007_c1_a.jpg")):
        picture(tmp_path / name, number)
    (tmp_path / "extra").mkdir()
    (tmp_path / "Train" / "notes.txt").write_text("x")
    notes = folder(tmp_path).notes
    assert notes[0] == (
        "read as a folder in Train/, Gallery/: 3 pictures of 2 people, 2 by the folders they lie in, "
        "1 by the beginnings of their names, of 2 cameras by c and a number in their names"
    )
    assert notes[1:] == (
        "ignored 1 other file (Train/notes.txt): not pictures",
        "ignored beside Train/, Gallery/: extra/",
    )


@pytest.mark.parametrize("name", ["Tran", "Dev", "Val", "Trina"])
def test_people_may_be_called_like_splits(tmp_path: Path, picture: Picture, name: str) -> None:
    picture(tmp_path / name / "a.jpg")
    assert len(folder(tmp_path).gallery) == 1
    picture(tmp_path / "anna" / "2024" / "a.jpg")
    picture(tmp_path / name / "2024" / "b.jpg")
    assert len(folder(tmp_path).gallery) == 3


@pytest.mark.parametrize("names", [("trian", "qurey", "galery"), ("training", "testing"), ("test", "anna"), ("val",)])
def test_splits_that_are_all_misspelt_are_no_people(tmp_path: Path, picture: Picture, names: tuple[str, ...]) -> None:
    for name in names:
        picture(tmp_path / name / "1" / "a.jpg")
    with pytest.raises(ValueError, match="which would not be read as a split; rename it to"):
        folder(tmp_path)


def test_folders_of_several_people_are_not_taken_for_one(tmp_path: Path, picture: Picture) -> None:
    for number, name in enumerate(("0001_c1s1_000001_00.jpg", "0002_c1s1_000002_00.jpg")):
        picture(tmp_path / "crops" / name, number)
    with pytest.raises(
        ValueError, match=r"crops would be taken for a person, but .* with several, such as 0001 and 0002"
    ):
        open_benchmark(tmp_path)
    assert len({sample.person for sample in open_benchmark(tmp_path, "folder").gallery}) == 1
    assert len({sample.person for sample in open_benchmark(tmp_path / "crops").gallery}) == 2


def test_folders_without_end_are_refused(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path.joinpath("1", *70 * "a", "a.jpg"))
    with pytest.raises(ValueError, match="has folders more than 64 levels deep"):
        folder(tmp_path)


@pytest.mark.parametrize("stray", ["queue", "val", "test", "galery", "Trian"])
def test_what_looks_like_a_misspelt_split_is_refused(tmp_path: Path, picture: Picture, stray: str) -> None:
    for name in ("Train", "QUERY", "gallery"):
        picture(tmp_path / name / "1" / f"{name}.jpg")
    assert [len(split) for split in (folder(tmp_path).train, folder(tmp_path).query)] == [1, 1]
    picture(tmp_path / "extra" / "1.jpg")
    assert any("extra" in note for note in folder(tmp_path).notes)
    picture(tmp_path / stray / "1" / "x.jpg")
    with pytest.raises(ValueError, match=f"has a folder {stray}/, which would not be read"):
        folder(tmp_path)


def test_what_a_nas_leaves_is_passed_over_and_that_is_said(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1" / "a.jpg")
    picture(tmp_path / "1" / "@eaDir" / "a.jpg" / "SYNOPHOTO_THUMB_M.jpg")
    picture(tmp_path / "#recycle" / "b.jpg")
    picture(tmp_path / "1" / ".thumbnails" / "b.jpg")
    found = folder(tmp_path)
    assert len(found.gallery) == 1
    for number, name in enumerate(("#3_x.jpg", "thumbnails_x.jpg")):  # names of files may begin like that
        picture(tmp_path / "1" / name, number)
    found = folder(tmp_path)
    assert len(found.gallery) == 3
    assert "passed over what is hidden, or made by a NAS or an archiver: #recycle, .thumbnails, @eaDir" in found.notes


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1" / "a.jpg")
    with (tmp_path / "1" / "b.jpg").open("wb") as file:
        file.truncate(2**36)  # a hole, which would fill memory
    assert len(folder(tmp_path).gallery) == 2
