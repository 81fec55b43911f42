"""Galleries on the command line: indexed, searched, streamed through, measured, forgotten."""

import contextlib
import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY, reseal, save_picture
from test_cli import run

from dare import Where, identify, open_gallery, open_runner
from dare.cli.options import parse_macs, parse_seconds
from dare.gallery.lance import LanceGallery


@pytest.fixture
def gallery(indexed: Path, tmp_path: Path) -> Path:
    """A copy, to change as one likes."""
    return Path(shutil.copytree(indexed, tmp_path / "gallery"))


def query(market: Path, number: int = 0) -> Path:
    return sorted((market / "query").iterdir())[number]


def test_indexing_passes_over_what_is_there_and_remembers_the_network(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    status, out, _ = run(capsys, "index", tmp_path / "g", "--model", model, "--images", market)
    assert status == 0
    assert "11 added, 0 there already, 0 unreadable, 1 junk; 11 entries" in out
    status, out, _ = run(capsys, "index", tmp_path / "g", "--images", market)
    assert status == 0
    assert "0 added, 11 there already" in out
    status, out, _ = run(capsys, "index", tmp_path / "g", "--images", market, "--split", "query")
    assert "10 added, 0 there already, 0 unreadable, 0 junk; 21 entries" in out
    status, out, _ = run(capsys, "index", tmp_path / "g", "--images", market, "--replace")
    assert "11 added, 0 there already" in out
    with contextlib.closing(open_gallery(tmp_path / "g")) as store:
        entry = store.get(["bounding_box_test/0007_c1s1_000002_01.jpg"])["bounding_box_test/0007_c1s1_000002_01.jpg"]
        assert (entry.person, entry.camera, entry.time) == (7, 1, None)
        assert Path(entry.picture) == market / "bounding_box_test" / "0007_c1s1_000002_01.jpg"


def test_pictures_of_nobody_known_and_unreadable_ones(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    for number in range(4):
        save_picture(tmp_path / "frames" / f"frame{number}.jpg", number)
    (tmp_path / "frames" / "broken.jpg").write_bytes(b"x")
    words = ["index", tmp_path / "g", "--model", model, "--images", tmp_path / "frames"]
    status, out, err = run(capsys, *words)
    assert status == 3
    assert "4 added, 0 there already, 1 unreadable" in out
    assert "left out: " in err
    assert "broken.jpg: not a picture" in err
    status, out, _ = run(capsys, "search", tmp_path / "g", tmp_path / "frames" / "frame2.jpg", "--count", "2")
    assert status == 0
    assert "person unknown  camera unknown  frame2.jpg" in out
    status, out, _ = run(capsys, "stream", tmp_path / "g", "--queries", tmp_path / "frames", "--mean-macs", "1G")
    assert status == 3
    assert "compared with all" in out
    assert "accuracy: unknown" in out
    assert "note: 1 pictures could not be read" in out
    assert "note: 4 queries are entries of the gallery" in out


def test_one_name_from_two_places_is_refused(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    for place in ("one", "two"):
        save_picture(tmp_path / place / "7_1.jpg", 3)
    words = ["index", tmp_path / "g", "--model", model, "--images"]
    assert run(capsys, *words, tmp_path / "one")[0] == 0
    status, _, err = run(capsys, *words, tmp_path / "two")
    assert status == 2
    assert "another prefix" in err
    assert run(capsys, *words, tmp_path / "two", "--prefix", "two/")[0] == 0
    status, out, _ = run(capsys, *words, tmp_path / "two", "--replace")
    assert "1 added, 0 there already" in out
    assert "2 entries" in out


def test_one_picture_is_one_however_its_path_is_written(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_picture(tmp_path / "p" / "7_1.jpg", 3)
    (tmp_path / "link").symlink_to(tmp_path / "p")
    (tmp_path / "sub").mkdir()
    run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "p")
    monkeypatch.chdir(tmp_path / "sub")
    for other in ("../p", tmp_path / "link"):
        status, out, _ = run(capsys, "index", "../g", "--images", other)
        assert (status, "0 added, 1 there already" in out) == (0, True)


def test_names_that_are_no_text_are_left_out_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    save_picture(tmp_path / "p" / "7_1.jpg", 3)
    shutil.copy(tmp_path / "p" / "7_1.jpg", tmp_path / "p" / "7_\udcff.jpg")
    status, out, err = run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "p")
    assert (status, "1 added, 0 there already, 1 unreadable" in out) == (3, True)
    assert "isn't valid UTF-8; rename the file" in err


def test_a_first_indexing_that_fails_leaves_no_gallery_and_one_cut_short_can_be_run_again(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    save_picture(tmp_path / "p" / "7_1.jpg", 3)
    words = ["index", tmp_path / "g", "--model", model, "--images", tmp_path / "p"]
    assert run(capsys, *words, "--batch-size", "0")[0] == 2
    assert not (tmp_path / "g").exists()
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "gallery.lock").touch()
    assert run(capsys, *words)[0] == 0
    status, _, err = run(capsys, "index", tmp_path / "p" / "7_1.jpg", *words[2:])
    assert (status, "is a file" in err) == (2, True)


def test_who_cannot_write_is_told_before_anything_is_embedded(
    capsys: pytest.CaptureFixture[str], market: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dare.identification import indexing

    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded in vain")

    monkeypatch.setattr(indexing, "embed", never)
    with contextlib.closing(LanceGallery(gallery)) as store:
        store.take_lock()
        status, _, err = run(capsys, "index", gallery, "--images", market, "--split", "query")
        assert status == 2
        assert f"process {os.getpid()} is writing to" in err


def test_named_people_are_shown_by_name_and_queries_do_not_find_themselves_without_cameras(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    for person, name in enumerate(("anna", "ben", "Łucja")):
        for number in range(3):
            save_picture(tmp_path / "p" / name / f"{number}.jpg", 10 * person + number)
    run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "p", "--prefix", "home/")
    _, out, _ = run(capsys, "search", tmp_path / "g", tmp_path / "p" / "anna" / "1.jpg", "--count", "1")
    assert "person anna " in out
    assert "home/anna/1.jpg" in out
    _, out, _ = run(capsys, "stream", tmp_path / "g", "--queries", tmp_path / "p", "--mean-macs", "9G", "--json")
    streamed = json.loads(out)
    run(capsys, "evaluate", tmp_path / "p", "--model", model, "--json", tmp_path / "e.json")
    evaluated = json.loads((tmp_path / "e.json").read_text())["results"][-1]
    assert streamed["rank1"] == pytest.approx(evaluated["rank1"])
    assert streamed["mAP"] == pytest.approx(evaluated["mAP"])
    _, out, _ = run(capsys, "stream", tmp_path / "g", "--queries", tmp_path / "p", "--mean-macs", "9G")
    assert "9 queries are entries of the gallery, and aren't compared with themselves" in out


def test_file_names_never_break_a_line(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    save_picture(tmp_path / "p" / "two\nlines\u202e.jpg", 3)
    run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "p")
    _, out, _ = run(capsys, "search", tmp_path / "g", tmp_path / "p" / "two\nlines\u202e.jpg")
    assert len(out.splitlines()) == 2
    assert out.count(r"two\nlines\u202e.jpg") == 2


def test_labels_that_changed_are_brought_up_to_date(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    save_picture(tmp_path / "a.jpg", 1)
    for time in ("2024-05-31T14:00:00Z", "1717164001"):
        (tmp_path / "list.csv").write_text(f"image,person,camera,time\na.jpg,anna,entrance,{time}\n")
        _, out, _ = run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "list.csv")
        assert "1 added" in out
        assert "1 entries" in out
    found = ["search", tmp_path / "g", tmp_path / "a.jpg", "--json", tmp_path / "out.json", "--since"]
    run(capsys, *found, "2024-05-31T14:00:01Z", "--person", "anna")
    assert len(json.loads((tmp_path / "out.json").read_text())[0]["hits"]) == 1
    run(capsys, *found, "2024-05-31T14:00:02Z")
    assert json.loads((tmp_path / "out.json").read_text())[0]["hits"] == []


def test_search_answers_by_the_full_network_at_an_exit_or_in_time(
    capsys: pytest.CaptureFixture[str], market: Path, indexed: Path, tmp_path: Path
) -> None:
    status, out, _ = run(capsys, "search", indexed, query(market), query(market, 3), "--count", "3")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"{query(market)}: fusion, ")
    assert [line.split()[0] for line in lines[1:4]] == ["1.", "2.", "3."]
    assert lines[4].startswith(f"{query(market, 3)}: fusion, ")
    for words, exit in ((["--exit", "2"], 1), (["--exit", "fusion"], 3), (["--deadline", "10s"], 3)):
        status, out, _ = run(capsys, "search", indexed, query(market), *words, "--json")
        assert status == 0
        answer = json.loads(out)[0]
        assert (answer["exit"], answer["deadline_met"]) == (exit, True)
        assert len(answer["hits"]) == 10
    status, _, err = run(capsys, "search", indexed, query(market), "--deadline", "1us")
    assert status == 2
    assert "give more time, or allow late answers (--allow-late)" in err
    status, out, _ = run(capsys, "search", indexed, query(market), "--deadline", "1us", "--allow-late")
    assert ": stage 1, " in out
    assert "too late" in out
    assert "times: prepacked" in out


def test_search_looks_where_it_is_told(capsys: pytest.CaptureFixture[str], market: Path, indexed: Path) -> None:
    for words, cameras, people in (
        (["--camera", "2"], {2}, {7, 8, 9, 10, 11, 0}),
        (["--not-camera", "2"], {1}, {7, 8, 9, 10, 11}),
        (["--person", "7", "--person", "9"], {1, 2}, {7, 9}),
    ):
        _, out, _ = run(capsys, "search", indexed, query(market), *words, "--count", "50", "--json")
        hits = json.loads(out)[0]["hits"]
        assert {hit["camera"] for hit in hits} == cameras
        assert {hit["person"] for hit in hits} == people


def test_the_page_of_a_search_holds_its_pictures_and_escapes_names(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    save_picture(tmp_path / "p" / name, 1)
    run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "p")
    status, _, _ = run(capsys, "search", tmp_path / "g", tmp_path / "p" / name, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert status == 0
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<img src=x" not in page
    assert "unknown person" in page


@pytest.mark.parametrize("policy", ["steered", "quantile", "chance"])
@pytest.mark.parametrize("allowed", ["paper", "other-cameras", "all"])
def test_a_stream_says_where_queries_left_what_it_cost_and_how_right_it_was(
    capsys: pytest.CaptureFixture[str], market: Path, indexed: Path, tmp_path: Path, policy: str, allowed: str
) -> None:
    words = ["--queries", market, "--policy", policy, "--allowed", allowed, "--answers", tmp_path / "a.csv"]
    status, out, _ = run(capsys, "stream", indexed, *words, "--mean-macs", "0.3M", "--json")
    assert status == 0
    found = json.loads(out)
    assert (found["queries"], found["scored"], found["unit"]) == (10, 10, "multiply-adds")
    assert sum(found["exits"].values()) == 10
    spent = sum(left * macs for left, macs in zip(found["exits"].values(), found["costs"], strict=True)) / 10
    assert found["spent"] == found["nominal"] == pytest.approx(spent)
    assert 0 <= found["rank1"] <= 1
    assert 0 <= found["static_mix"]["rank1"] <= 1
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 10
    assert [row["exit"] for row in rows].count("stage 1") == found["exits"]["stage 1"]


def test_a_stream_by_the_full_network_scores_as_an_evaluation_does(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, indexed: Path, tmp_path: Path
) -> None:
    _, out, _ = run(capsys, "stream", indexed, "--queries", market, "--mean-macs", "9G", "--json")
    found = json.loads(out)
    run(capsys, "evaluate", market, "--model", model, "--json", tmp_path / "e.json")
    fusion = json.loads((tmp_path / "e.json").read_text())["results"][-1]
    assert found["exits"] == {"stage 1": 0, "stage 2": 0, "stage 3": 0, "fusion": 10}
    assert found["rank1"] == pytest.approx(fusion["rank1"])
    assert found["mAP"] == pytest.approx(fusion["mAP"])
    best = max(result["mAP"] for result in json.loads((tmp_path / "e.json").read_text())["results"])
    assert found["static_mix"]["mAP"] <= best + 1e-9
    _, out, _ = run(capsys, "stream", indexed, "--queries", market, "--mean-macs", "9G")
    mix = {name: 100 * found["static_mix"][name] for name in ("rank1", "mAP")}
    assert f"static mix of the same cost: rank-1 {mix['rank1']:.1f}, mAP {mix['mAP']:.1f}" in out
    better = found["static_mix"]["mAP"] > found["mAP"] or found["static_mix"]["rank1"] > found["rank1"]
    assert ("letting random queries leave early would have been better" in out) == better


def test_times_are_measured_kept_and_used(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, indexed: Path, tmp_path: Path
) -> None:
    times = tmp_path / "times.json"
    status, out, _ = run(capsys, "calibrate", model, "--repeats", "3")
    assert status == 0
    assert "without search" in out
    words = ["calibrate", model, "--gallery", indexed, "--repeats", "3", "--out", times, "--threads", "1"]
    status, out, _ = run(capsys, *words)
    assert "with search in 11 entries" in out
    full = json.loads(times.read_text())["median"][-1]
    words = ["stream", indexed, "--queries", market, "--mean-time", f"{full}s", "--times", times]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "with search in 11 entries" in out
    assert "nominal, by the calibrated times" in out
    made = json.loads(times.read_text())
    times.write_text(json.dumps(made | {"median": [each / 1000 for each in made["median"]]}))
    reseal(times)
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert re.search(r"warning: a query took .* ms, not .* ms as calibrated: reading took", out.replace("\n", " "))
    times.write_text(json.dumps(made))
    reseal(times)
    status, _, _ = run(capsys, "search", indexed, query(market), "--deadline", "9s", "--times", times)
    assert status == 0
    times.write_text(times.read_text().replace(json.loads(times.read_text())["model"], "f" * 64))
    reseal(times)
    status, _, err = run(capsys, "search", indexed, query(market), "--deadline", "9s", "--times", times)
    assert status == 2
    assert "holds times of model ffffffffffff" in err
    times.write_text("{")
    status, _, err = run(capsys, "search", indexed, query(market), "--deadline", "9s", "--times", times)
    assert "isn't JSON, or it is damaged; write it again with dare calibrate" in err


def test_who_is_forgotten_is_gone(capsys: pytest.CaptureFixture[str], market: Path, gallery: Path) -> None:
    status, out, _ = run(
        capsys, "forget", gallery, "--person", "7", "--image", "bounding_box_test/0000_c2s1_000004_01.jpg"
    )
    assert status == 0
    assert "3 entries forgotten, 8 left" in out
    files = [path.read_bytes() for path in gallery.rglob("*") if path.is_file()]
    assert not any(b"0007_c1s1" in content or b"0000_c2s1" in content for content in files)
    _, out, _ = run(capsys, "search", gallery, query(market), "--count", "50", "--json")
    assert {hit["person"] for hit in json.loads(out)[0]["hits"]} == {8, 9, 10, 11}
    status, out, err = run(capsys, "forget", gallery, "--person", "7", "--person", "8", "--image", "no.jpg")
    assert (status, "2 entries forgotten, 6 left" in out) == (1, True)
    assert "the gallery has no person 7; it has 8, 9, 10, 11" in err
    assert "the gallery has no picture no.jpg; check the spelling" in err
    status, out, _ = run(capsys, "forget", gallery, "--person", "7")
    assert (status, "0 entries forgotten, 6 left" in out) == (1, True)


def test_a_cascade_of_networks_has_a_gallery_of_its_own(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    run(capsys, "train", market, other, *TINY, "--seed", "5")
    words = ["index", tmp_path / "g", "--model", model, "--model", other, "--images", market]
    status, out, _ = run(capsys, *words)
    assert (status, "11 added" in out) == (0, True)
    _, out, _ = run(capsys, "stream", tmp_path / "g", "--queries", market, "--mean-macs", "9G")
    assert "cascade of 2 networks" in out
    status, _, err = run(capsys, "search", tmp_path / "g", query(market), "--model", model)
    assert status == 2
    assert "give the network that the gallery was made with" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "NONE", "QUERY"], "there is no gallery"),
        (["search", "MARKET", "QUERY"], "gallery"),
        (["search", "GALLERY"], "no picture to search for; give at least one"),
        (["search", "GALLERY", "QUERY", "--deadline", "40"], "expected a positive time with its unit, such as 40ms"),
        (["search", "GALLERY", "QUERY", "--deadline", "0s"], "expected a positive time with its unit, such as 40ms"),
        (["search", "GALLERY", "QUERY", "--deadline", "nan"], "expected a positive time with its unit, such as 40ms"),
        (["search", "GALLERY", "QUERY", "--deadline", "-5ms"], "expected a positive time with its unit, such as 40ms"),
        (["search", "GALLERY", "QUERY", "--deadline", "1e308"], "positive"),
        (["search", "GALLERY", "QUERY", "--exit", "5"], "there is no exit '5'; choose 1 (stage 1), 2 (stage 2)"),
        (["search", "GALLERY", "QUERY", "--exit", "1", "--deadline", "1s"], "either --deadline or --exit"),
        (["search", "GALLERY", "QUERY", "--count", "0"], "--count"),
        (["search", "GALLERY", "QUERY", "--model", "NONE"], "give another place with --model"),
        (["search", "GALLERY", "QUERY", "--deadline", "1s", "--times", "NONE"], "dare calibrate writes it"),
        (["search", "GALLERY", "QUERY", "--since", "noon"], "noon"),
        (
            ["stream", "GALLERY", "--queries", "MARKET"],
            "give a budget, --mean-macs or --mean-time; the smallest possible budget is",
        ),
        (["stream", "GALLERY", "--queries", "MARKET", "--mean-macs", "nan"], "expected a positive number"),
        (["stream", "GALLERY", "--queries", "MARKET", "--mean-macs", "0"], "expected a positive number"),
        (["stream", "GALLERY", "--queries", "MARKET", "--mean-macs", "5"], "the smallest possible budget is"),
        (
            ["stream", "GALLERY", "--queries", "MARKET", "--mean-macs", "1G", "--mean-time", "1s"],
            "give either --mean-macs or --mean-time",
        ),
        (["stream", "GALLERY", "--queries", "MARKET", "--policy", "thresholds"], "needs a plan; give --plan FILE"),
        (["stream", "GALLERY", "--queries", "MARKET", "--plan", "NONE", "--policy", "quantile"], "no file at"),
        (
            ["stream", "GALLERY", "--queries", "MARKET", "--plan", "NONE", "--policy", "steered"],
            "follows no plan; choose",
        ),
        (
            ["stream", "GALLERY", "--queries", "MARKET", "--mean-macs", "1G", "--micro-batch", "0"],
            "--micro-batch",
        ),
        (["stream", "GALLERY", "--queries", "NONE", "--mean-macs", "1G"], "expected a folder of pictures"),
        (["index", "NONE", "--images", "MARKET"], "give --model to make one"),
        (["index", "GALLERY", "--images", "NONE"], "expected a folder of pictures"),
        (["forget", "GALLERY"], "nobody to forget; give --person or --image"),
        (["forget", "NONE", "--person", "1"], "there is no gallery"),
        (["gallery", "expire", "GALLERY", "--older-than", "3"], "expected an age with its unit, such as 30d"),
        (["gallery", "rename", "GALLERY", "ben", "Anna"], "the gallery has no person ben; it has"),
        (
            ["gallery", "rename", "GALLERY", "10", "11"],
            "has a person 11 already; to make them one",
        ),
        (["gallery", "merge", "GALLERY", "10"], "one person is nobody to merge"),
        (["gallery", "merge", "GALLERY", "7000", "10"], "the gallery has no person 7000; it has"),
        (["gallery", "restore", "MARKET", "NONE"], "isn't a gallery, it has no gallery.json"),
        (["gallery", "backup", "GALLERY", "MARKET"], "is not empty; give a folder that is empty"),
        (["gallery", "people", "NONE"], "there is no gallery"),
        (["gallery", "rename", "GALLERY", "10", "a" * 5000], "has at most 4096 bytes, got one that begins 'aaa"),
        (["gallery", "rename", "GALLERY", "10", "\udcff"], "isn't valid UTF-8"),
        (["gallery", "restore", "GALLERY", "rtsp://a/b"], "expected a gallery's folder"),
        (["calibrate", "NONE"], "NONE"),
        (["calibrate", "MODEL", "--repeats", "0"], "--repeats"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str],
    market: Path,
    model: Path,
    indexed: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
) -> None:
    places = {"GALLERY": indexed, "MARKET": market, "MODEL": model, "QUERY": query(market), "NONE": tmp_path / "NONE"}
    status, _, err = run(capsys, *(places.get(word, word) for word in words))
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1, err
    assert message in lines[0]
    assert not (tmp_path / "NONE").exists()


@pytest.mark.parametrize(
    ("text", "value"), [("40ms", 0.04), ("0.04s", 0.04), (" 2s", 2.0), ("5us", 5e-6), ("1e-2S", 0.01)]
)
def test_times_are_read_as_people_write_them(text: str, value: float) -> None:
    assert parse_seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(("text", "value"), [("1.2G", 1.2e9), ("800m", 8e8), ("1e9", 1e9), ("3k", 3e3), (".5M", 5e5)])
def test_costs_are_read_as_people_write_them(text: str, value: float) -> None:
    assert parse_macs(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "40 minutes", "1,2G", "0x10", "inf", "--5", "1e400"])
def test_other_quantities_are_refused(text: str) -> None:
    for read in (parse_seconds, parse_macs):
        with pytest.raises(ValueError, match="expected a positive"):
            read(text)


def test_what_was_read_as_what_is_said_where_pictures_are_indexed(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    for number, name in enumerate(("Gallery/anna/a.jpg", "Gallery/@eaDir/a.jpg/thumb.jpg", "extra/b.jpg")):
        save_picture(tmp_path / "shop" / name, number)
    status, out, err = run(capsys, "index", tmp_path / "g", "--model", model, "--images", tmp_path / "shop")
    assert (status, "1 added" in out) == (0, True)
    assert "note: read as a folder in Gallery/: 1 picture of 1 person, 1 by the folders they lie in" in err
    assert "note: ignored beside Gallery/: extra/" in err
    assert "note: passed over what is hidden, or made by a NAS or an archiver: @eaDir" in err


def test_people_and_cameras_are_shown_and_asked_for_by_name(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    lines = ["image,person,camera"]
    for number, (person, camera) in enumerate([("anna", "till"), ("anna", "door"), ("bob", "till"), ("bob", "3")]):
        save_picture(tmp_path / f"{number}.jpg", number)
        lines.append(f"{number}.jpg,{person},{camera}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    shop = tmp_path / "shop"
    assert run(capsys, "index", shop, "--model", model, "--images", tmp_path / "list.csv")[0] == 0
    _, out, _ = run(capsys, "search", shop, tmp_path / "0.jpg", "--camera", "till", "--json")
    hits = json.loads(out)[0]["hits"]
    assert {(hit["name"], hit["camera_name"]) for hit in hits} == {("anna", "till"), ("bob", "till")}
    assert all((hit["person"], hit["camera"]) == (hit["name"], "till") for hit in hits)
    words = ["search", shop, tmp_path / "0.jpg", "--not-camera", "till", "--person", "bob"]
    _, out, _ = run(capsys, *words)
    assert "person bob      camera 3" in out
    assert "camera till" not in out
    _, out, _ = run(capsys, "search", shop, tmp_path / "0.jpg", "--html", tmp_path / "p.html")
    assert "camera till" in out
    assert "anna, camera till" in (tmp_path / "p.html").read_text()
    asked = (("--person", "ANA", "anna and 1 more"), ("--camera", "tll", "till"), ("--camera", "9", "3, door, till"))
    for option, name, there in asked:
        status, _, err = run(capsys, "search", shop, tmp_path / "0.jpg", option, name)
        assert status == 2
        assert f"the gallery has no {option[2:]} {name}; it has {there}" in err
    answers = tmp_path / "a.csv"
    words = ["stream", shop, "--queries", tmp_path / "list.csv", "--mean-macs", "9G", "--allowed", "all"]
    assert run(capsys, *words, "--answers", answers)[0] == 0
    found = [(row["person"], row["camera"]) for row in csv.DictReader(answers.read_text().splitlines())]
    assert found == [("anna", "till"), ("anna", "door"), ("bob", "till"), ("bob", "3")]
    with contextlib.closing(open_gallery(shop)) as store:
        answer = identify(tmp_path / "0.jpg", open_runner(model), store, where=Where(cameras=("till",)))
    assert sorted(answer.hits.names[0]) == ["anna", "bob"]
    assert set(answer.hits.camera_names[0]) == {"till"}
    (tmp_path / "list.csv").write_text("image,person,camera\n0.jpg,anna,tlil\n")
    words = ["stream", shop, "--queries", tmp_path / "list.csv", "--mean-macs", "9G", "--json"]
    status, out, _ = run(capsys, *words)
    assert status == 0
    (note,) = json.loads(out)["notes"][-1:]
    assert note.startswith(
        "the gallery has no camera tlil; it has till and 2 more; queries of such cameras are compared"
    )
    assert run(capsys, "forget", shop, "--person", "anna")[0] == 0
    assert "till" in (shop / "gallery.json").read_text()


def test_a_gallery_is_taken_care_of(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, picture: "Callable[..., Path]"
) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.jpg", number)
    (tmp_path / "list.csv").write_text(
        "image,person,camera,time\n0.jpg,anna,till,86400\n1.jpg,anna,door,172800\n2.jpg,bob,till,1e9\n3.jpg,7,3,\n"
    )
    shop, copy = tmp_path / "shop", tmp_path / "copy"
    assert run(capsys, "index", shop, "--model", model, "--images", tmp_path / "list.csv")[0] == 0
    assert run(capsys, "gallery", "backup", shop, copy)[1] == f"4 entries of {shop} copied to {copy}\n"
    assert run(capsys, "gallery", "rename", shop, "anna", "Anna Łu")[1] == "2 entries are Anna Łu now\n"
    assert run(capsys, "gallery", "merge", shop, "Anna Łu", "7", "bob")[1] == "2 entries are Anna Łu now\n"
    status, out, _ = run(capsys, "gallery", "people", shop, "--json")
    assert (status, json.loads(out)) == (
        0,
        [{"person": "Anna Łu", "entries": 4, "first": 86400.0, "last": 1e9, "cameras": ["3", "door", "till"]}],
    )
    assert "1970-01-02 00:00:00" in run(capsys, "gallery", "people", shop)[1]
    _, out, _ = run(capsys, "gallery", "info", shop, "--json")
    figures = json.loads(out)
    assert (figures["entries"], figures["people"], figures["changes"]) == (4, 1, 4)
    assert figures["last_change"]["what"] == "relabel"
    assert figures["seen"][1] == {
        "camera": "door", "day": "1970-01-03", "entries": 1, "first": 172800.0, "last": 172800.0, "people": ["Anna Łu"],
    }  # fmt: skip
    assert "4 entries of 1 known people" in run(capsys, "gallery", "info", shop)[1]
    _, out, _ = run(capsys, "gallery", "expire", shop, "--older-than", "520w")
    assert out == f"3 entries forgotten, 1 left in {shop}, 1 of them without a time\n"
    assert run(capsys, "gallery", "restore", copy, shop)[1] == f"1 entries in {shop}, 3 of the backup left out\n"
    status, out, _ = run(capsys, "gallery", "verify", shop)
    assert (status, out.partition(", ")[2]) == (0, "1 entries and 6 changes are as they were written\n")
    data = next(shop.glob("*.lance/data/*"))
    data.write_bytes(data.read_bytes()[:-1])
    status, out, err = run(capsys, "gallery", "verify", shop)
    assert (status, out) == (1, "")
    assert err == f"dare: {data} isn't as it was written; restore a backup\n"
