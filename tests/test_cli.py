"""The command: what it prints, what it leaves, how it fails."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, make_market, reseal, save_picture

import dare
from dare import cli
from dare.cli.training import Common, _settings, _with_teacher


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command line."""
    try:
        cli.main([str(word) for word in words])
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_market(tmp_path_factory.mktemp("data") / "market", train_people=6)


@pytest.fixture(scope="module")
def model(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with contextlib.suppress(SystemExit):
        cli.main(["train", str(market), str(folder), *TINY])
    assert (folder / "model.safetensors").exists()
    return folder


def test_check_says_what_is_there(capsys: pytest.CaptureFixture[str], market_folder: Path) -> None:
    (market_folder / "query" / "Thumbs.db").write_text("x")
    status, out, _ = run(capsys, "data", "check", market_folder)
    assert status == 0
    assert "read as market1501" in out
    cells = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "│" in line]
    table = {row[1]: row[2:5] for row in cells}
    assert table["people"] == ["3", "3", "3"]
    assert table["cameras"] == ["3", "2", "2"]
    assert table["images"] == ["18", "6", "8"]
    assert table["junk (person -1)"] == ["0", "0", "1"]
    assert table["distractors (person 0)"] == ["0", "0", "1"]
    assert "query: ignored 1 other file (Thumbs.db)" in out
    assert "bounding_box_train has 18 images, Market-1501 as published 12936" in out


def test_check_names_unreadable_pictures(capsys: pytest.CaptureFixture[str], market_folder: Path) -> None:
    bad = market_folder / "query" / "0004_c1s1_000001_00.jpg"
    bad.write_bytes(b"")
    status, out, _ = run(capsys, "data", "check", market_folder)
    assert status == 3
    assert f"unreadable: {bad}: empty file" in out
    assert "1 unreadable pictures; training and embedding refuse them" in out


def test_brackets_in_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = make_market(tmp_path / "my [old] crops[/x]")
    status, out, _ = run(capsys, "data", "check", root)
    assert status == 0
    assert "my [old] crops[/x]" in out


def test_check_tells_of_missing_cameras(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number in range(3):
        save_picture(tmp_path / str(number // 2) / f"{number}.jpg", number)
    status, out, _ = run(capsys, "data", "check", tmp_path)
    assert status == 0
    assert "no camera numbers" in out
    assert "people with one image only" in out


def test_the_main_path_from_training_to_a_report(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    status, out, _ = run(capsys, "embed", market, tmp_path / "e.npz", "--model", model)
    assert status == 0
    assert "14 pictures, 4 exits" in out
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]
    shared = ["--report", tmp_path / "r.html", "--json", tmp_path / "r.json"]
    status, out, _ = run(capsys, "evaluate", market, "--model", model, *shared)
    assert status == 0
    assert "fusion" in out
    assert (tmp_path / "r.html").stat().st_size > 1000
    by_model = json.loads((tmp_path / "r.json").read_text())
    status, _, _ = run(capsys, "evaluate", market, "--embeddings", tmp_path / "e.npz", "--json", tmp_path / "s.json")
    assert status == 0
    by_embeddings = json.loads((tmp_path / "s.json").read_text())
    assert by_model["model"] == by_embeddings["model"]
    for first, second in zip(by_model["results"], by_embeddings["results"], strict=True):
        assert first["mAP"] == pytest.approx(second["mAP"])
        assert first["macs"] > 0
        assert second["macs"] is None


def test_ten_crops_cost_ten_times(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    macs = []
    for crops in (1, 10):
        run(capsys, "evaluate", market, "--model", model, "--crops", crops, "--json", tmp_path / "r.json")
        macs.append(json.loads((tmp_path / "r.json").read_text())["results"][0]["macs"])
    assert macs[1] == 10 * macs[0]


def test_vectors_from_elsewhere_are_scored_by_either_distance(
    capsys: pytest.CaptureFixture[str], market: Path, tmp_path: Path
) -> None:
    paths = [*(market / "query").iterdir(), *(market / "bounding_box_test").iterdir()]
    names = [path.relative_to(market).as_posix() for path in paths]
    vectors = np.random.default_rng(0).normal(size=(len(names), 16))
    np.savez(tmp_path / "e.npz", vectors=vectors, ids=names)
    for distance in ("euclidean", "cosine"):
        status, out, _ = run(capsys, "evaluate", market, "--embeddings", tmp_path / "e.npz", "--distance", distance)
        assert status == 0
        assert f"{distance} distance" in out.lower()
        assert "crops unknown; average precision by the official rule" in " ".join(out.split())
        assert "unknown" in out


def test_a_learnt_distance_takes_the_training_pictures(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    learn = ["--metric", "kissme=3"]
    status, out, _ = run(capsys, "evaluate", market, "--model", model, *learn, "--json", tmp_path / "r.json")
    assert status == 0
    assert "learnt distance (at the last by KISSME in " in out
    assert json.loads((tmp_path / "r.json").read_text())["metric"].startswith("KISSME")
    run(capsys, "embed", market, tmp_path / "e.npz", "--model", model)
    status, _, err = run(capsys, "evaluate", market, "--embeddings", tmp_path / "e.npz", *learn)
    assert status == 2
    assert "embed training pictures too: dare embed --split train --split query --split gallery" in err
    splits = [f"--split={name}" for name in ("train", "query", "gallery")]
    run(capsys, "embed", market, tmp_path / "e.npz", "--model", model, *splits)
    status, _, _ = run(
        capsys, "evaluate", market, "--embeddings", tmp_path / "e.npz", *learn, "--json", tmp_path / "s.json"
    )
    assert status == 0
    first, second = (json.loads((tmp_path / name).read_text())["results"] for name in ("r.json", "s.json"))
    assert [stage["mAP"] for stage in first] == pytest.approx([stage["mAP"] for stage in second])


def test_thresholds_are_found_and_two_pictures_compared(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    root = make_market(tmp_path / "many", train_people=1, test_people=12)
    thresholds = tmp_path / "t.json"
    shared = [root, "--false-match-rate", "0.1"]
    status, out, _ = run(capsys, "threshold", *shared, "--model", model, "--out", thresholds, "--plot", tmp_path / "p")
    assert status == 0
    assert "found on 6 people" in out
    assert "calibration error on the others, at a prior of 0.5" in out
    assert "compared by Euclidean distance; 1 crop" in out
    assert (tmp_path / "p.png").exists()
    run(capsys, "embed", root, tmp_path / "e.npz", "--model", model)
    again = ["--embeddings", tmp_path / "e.npz", "--out", tmp_path / "u.json"]
    assert run(capsys, "threshold", *shared, *again)[0] == 0
    first, second = (json.loads(path.read_text()) for path in (thresholds, tmp_path / "u.json"))
    assert first["model"] == second["model"]
    distances = [[at["threshold"]["distance"] for at in file["exits"]] for file in (first, second)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-5)

    pictures = sorted((root / "query").iterdir())[:2]
    words = ["compare", pictures[0], pictures[0], "--model", model, "--thresholds", thresholds]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert ": the same person" in out
    assert "fusion: distance 0, below the threshold" in out
    words[2] = pictures[1]
    status, out, _ = run(capsys, *words, "--exit", "2", "--prior", "0.01", "--json")
    verdict = json.loads(out)
    assert (verdict["exit"], verdict["exit_name"], verdict["prior"]) == (1, "stage 2", 0.01)
    assert verdict["same"] == (verdict["distance"] < verdict["threshold"])
    assert verdict["threshold"] == distances[0][1]
    status, _, err = run(capsys, "compare", *words[1:3], "--model", model, "--thresholds", tmp_path / "none.json")
    assert status == 2
    assert "dare threshold writes it, with --out" in err
    first["model"] = "b" * 64
    thresholds.write_text(json.dumps(first))
    reseal(thresholds)
    status, _, err = run(capsys, *words)
    assert status == 2
    assert "holds thresholds of model bbbbbbbbbbbb" in err


def test_vectors_of_unknown_networks_have_thresholds_but_no_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = make_market(tmp_path / "many", train_people=1, test_people=12)
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.jpg"))]
    np.savez(tmp_path / "e.npz", vectors=np.random.default_rng(0).normal(size=(len(names), 4)), ids=names)
    words = ["threshold", root, "--embeddings", tmp_path / "e.npz", "--false-match-rate", "0.1", "--distance", "cosine"]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "vectors" in out
    status, _, err = run(capsys, *words, "--out", tmp_path / "t.json")
    assert status == 2
    assert "don't say to which" in err
    assert not (tmp_path / "t.json").exists()


def test_reranked_distances_are_announced_with_their_settings(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    settings = ["--rerank", "k1=5,k2=2,variant=fast-reid,junk=false"]
    figures = []
    for words in ([], settings):
        status, out, _ = run(capsys, "evaluate", market, "--model", model, *words, "--json", tmp_path / "r.json")
        assert status == 0
        assert ("re-ranked: k1 5, k2 2, weight 0.3, variant fast-reid, without junk" in out) == bool(words)
        figures.append(json.loads((tmp_path / "r.json").read_text()))
    assert figures[0]["rerank"] is None
    assert figures[1]["rerank"] == {"k1": 5, "k2": 2, "weight": 0.3, "variant": "fast-reid", "junk": False}
    assert [row["macs"] for row in figures[0]["results"]] == [row["macs"] for row in figures[1]["results"]]


def test_one_set_trains_and_another_is_scored(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    other = make_market(tmp_path / "other", train_people=1, test_people=5)
    status, out, _ = run(capsys, "evaluate", other, "--model", model)
    assert status == 0
    assert "10 queries" in out


def test_no_valid_match_at_all_is_exit_status_1(
    capsys: pytest.CaptureFixture[str], market_folder: Path, model: Path
) -> None:
    for path in (market_folder / "bounding_box_test").glob("000[456]*"):
        path.unlink()
    status, out, err = run(capsys, "evaluate", market_folder, "--model", model)
    assert status == 1
    assert "no query has a valid match" in err
    assert "6 of 6 queries have no valid match" in out


def test_training_names_and_counts_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str], market_folder: Path, tmp_path: Path
) -> None:
    (market_folder / "bounding_box_train" / "0001_c1s1_000001_01.jpg").write_bytes(b"")
    (market_folder / "bounding_box_train" / "0002_c1s1_000009_01.jpg").symlink_to("nowhere")
    words = ["train", market_folder, tmp_path / "run", *TINY, "--skip-unreadable", "--memory-map"]
    status, out, err = run(capsys, *words)
    assert status == 0
    assert "left out:" in err
    assert "0001_c1s1_000001_01.jpg: empty file" in err
    assert "2 unreadable pictures were left out" in out


def test_one_camera_alone_cannot_be_scored_and_the_reason_is_said(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    for person in (1, 2):
        for number in (1, 2):
            save_picture(tmp_path / str(person) / f"c1_{number}.jpg", 10 * person + number)
    status, _, err = run(capsys, "evaluate", tmp_path, "--model", model)
    assert status == 1
    assert "queries and gallery are from one camera" in err
    assert "leave camera numbers out" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "ROOT"], "give --model, or --embeddings"),
        (["evaluate", "ROOT", "--model", "none"], "no checkpoint at none"),
        (
            ["evaluate", "none", "--model", "MODEL"],
            "expected a folder of pictures or a .csv file, found neither at none",
        ),
        (["evaluate", "ROOT", "--embeddings", "none.npz"], "no embeddings at none.npz"),
        (["train", "ROOT", "MODEL"], "holds a training already"),
        (["train", "ROOT", "OUT", "--backbone", "vgg", "--weights", "none"], "unknown backbone 'vgg'"),
        (["train", "ROOT", "OUT", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["evaluate", "ROOT", "--model", "MODEL", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["embed", "ROOT", "OUT/e.npz", "--model", "MODEL", "--batch-size", "0"], "--batch-size"),
        (["train", "ROOT", "OUT", "--set", "hidden_dim=0"], "hidden_dim: expected at least 1, got 0"),
        (["train", "ROOT", "OUT", "--backbone", "timm/swin_tiny_patch4_window7_224"], "cannot take pictures of"),
        (["train", "ROOT", "OUT", "--preset", "lite"], "starts from the teacher's weights (--weights teacher); give"),
        (["train", "ROOT", "OUT", "--set", "taps=[2, 7]"], "taps must name stages from 1 to 4"),
        (
            ["train", "ROOT", "OUT", "--iterations", "0"],
            "settings: iterations: expected at least 1, got 0",
        ),
        (["train", "ROOT", "OUT", "--set", "erasing"], "expected name=value, such as erasing=0.3, got 'erasing'"),
        (["train", "ROOT", "OUT", "--config", "ROOT/none.toml"], "No such file"),
        (["train", "ROOT", "OUT", "--init", "MODEL", "--weights", "none"], "weights and init both say"),
        (
            ["train", "ROOT", "OUT", "--init", "MODEL", "--backbone", "slim"],
            "is tiny, got backbone slim",
        ),
        (["train", "ROOT", "OUT", "--backbone", "tiny", "--weights", "f.pth"], "tiny starts from random weights only"),
        (["train", "ROOT", "OUT", "--set", "erasing=2"], "dare: settings: erasing"),
        (
            ["train", "ROOT", "OUT", "--set", "fusion_rate=-1"],
            "fusion_rate: expected at least 0, got -1",
        ),
        (["train", "ROOT", "OUT", "--set", "margin=nan"], "margin: expected a finite number"),
        (["train", "ROOT", "OUT", "--set", "hidden_dim=100000000000"], "hidden_dim: expected at most 65536"),
        (["evaluate", "ROOT", "--embeddings", "none.npz", "--crops", "10"], "belong to --model"),
        (["evaluate", "ROOT", "--model", "MODEL", "--metric", "mahalanobis"], "expected --metric kissme or xqda, or"),
        (["evaluate", "ROOT", "--model", "none", "--metric", "xqda=0"], "expected --metric kissme or xqda, or"),
        (["evaluate", "ROOT", "--model", "clip.mp4"], "no checkpoint at clip.mp4"),
        (["evaluate", "ROOT", "--model", "rtsp://camera/1"], "is the address of a video stream, expected a network"),
        (
            ["embed", "rtsp://camera/1", "OUT/e.npz", "--model", "MODEL"],
            "expected a folder of pictures or a .csv file; no",
        ),
        (["reproduce", "figure99", "--model", "MODEL", "--data", "ROOT"], "one of figure3, figure4, figure5, figure6"),
        (["threshold", "ROOT"], "give --model, or --embeddings"),
        (["threshold", "ROOT", "--model", "none"], "queries must show at least four, got 3"),
        (["threshold", "none", "--model", "none", "--false-match-rate", "2"], "a false match rate is between 0 and 1"),
        (["threshold", "none", "--model", "none", "--prior", "1"], "unknown option --prior; give it to dare compare"),
        (["train", "ROOT", "OUT", "--erasing", "0"], "unknown option --erasing; settings without an option are given"),
        (["evaluate", "ROOT", "--metric-dimensions", "3"], "unknown option --metric-dimensions; write --metric kissme"),
        (["evaluate"], "requires an argument; see dare evaluate --help"),
        (["compare", "a", "b", "--model", "none", "--thresholds", "none.json", "--prior", "0"], "a prior probability"),
        (["compare", "a.jpg", "b.jpg", "--model", "MODEL", "--thresholds", "none.json"], "no file at none.json"),
        (["evaluate", "ROOT", "--model", "none", "--rerank", "weight=2"], "dare: --rerank: weight must be from 0"),
        (
            ["evaluate", "ROOT", "--model", "none", "--rerank", "k1=many"],
            "--rerank: k1: expected a valid integer",
        ),
        (["evaluate", "ROOT", "--model", "none", "--rerank", "k3=5"], "--rerank has no setting 'k3'; choose k1, k2"),
        (["evaluate", "ROOT", "--model", "MODEL", "--rerank"], "expected at least 21 queries and gallery entries"),
        (["train", "ROOT", "OUT", "--threads", "0"], "threads must be at least 1"),
        (["embed", "ROOT", "OUT/e.npz", "--model", "ROOT"], "no checkpoint at"),
        (["data", "check", "none"], "found neither at none"),
        (["data", "synthetic", "OUT", "--set", "colour=1"], "unknown knob colour; choose"),
        (["data", "synthetic", "OUT", "--set", "train-people=2.7"], "train_people must be a whole number"),
        (["data", "synthetic", "OUT", "--set", "train_people=inf"], "train_people must be a whole number"),
        (["data", "hold-out", "ROOT", "OUT/e.npz", "--people", "5"], "5 of 6 training people cannot be held out"),
        (["data", "hold-out", "ROOT", "OUT/e.npz", "--people", "2"], "expected the name of a .csv file"),
        (["data", "hold-out", "ROOT", "OUT/e.csv", "--people", "2"], "must lie in a folder above the pictures"),
        (["evaluate", "ROOT", "--model", "MODEL", "--report", "ROOT"], "is a folder; expected the name of a file"),
        (["evaluate", "ROOT", "--model", "MODEL", "--json", "MODEL/model.safetensors/a.json"], "is not a folder"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    places = {"ROOT": market, "MODEL": model, "OUT": tmp_path / "out"}
    paths: list[str | Path] = []
    for word in words:
        place, _, rest = word.partition("/")
        paths.append(places[place] / rest if place in places else word)
    status, _, err = run(capsys, *paths)
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_unreadable_pictures_stop_an_evaluation_unless_skipped(
    capsys: pytest.CaptureFixture[str], market_folder: Path, model: Path
) -> None:
    (market_folder / "query" / "0004_c1s1_000001_00.jpg").write_bytes(b"")
    status, _, err = run(capsys, "evaluate", market_folder, "--model", model)
    assert status == 2
    assert "0004_c1s1_000001_00.jpg: empty file" in err
    status, out, err = run(capsys, "evaluate", market_folder, "--model", model, "--skip-unreadable")
    assert status == 0
    assert "5 queries" in out
    assert "1 pictures were left out" in out


def test_held_out_people_train_nothing_and_answer_each_other(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_market(tmp_path / "market", train_people=6)
    out = tmp_path / "held-out.csv"
    status, said, _ = run(capsys, "data", "hold-out", tmp_path / "market", out, "--people", "2")
    assert status == 0
    assert "24 training pictures, 6 queries, 6 gallery entries" in said
    status, said, _ = run(capsys, "data", "check", out)
    assert status == 0
    cells = [[cell.strip() for cell in line.split("│")] for line in said.splitlines() if "│" in line]
    assert ["people", "4", "2", "2"] in [row[1:5] for row in cells]
    status, said, _ = run(capsys, "train", out, tmp_path / "run", *TINY)
    assert status == 0
    status, said, _ = run(capsys, "evaluate", out, "--model", tmp_path / "run")
    assert status == 0
    assert "6 queries, 6 gallery entries" in said


def test_one_person_or_one_camera_is_said_and_fails(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    for number in range(4):
        save_picture(tmp_path / "one" / "ada" / f"c{number % 2}_{number}.jpg", number)
        save_picture(tmp_path / "camera" / str(number % 2) / f"c1_{number}.jpg", number)
    status, _, err = run(capsys, "evaluate", tmp_path / "one", "--model", model)
    assert status == 1
    assert "dare: queries and gallery show one person" in err
    _, out, _ = run(capsys, "data", "check", tmp_path / "one")
    assert "warning: queries and gallery show one person" in out
    assert "warning: all training pictures show one person" in out
    _, out, _ = run(capsys, "data", "check", tmp_path / "camera")
    assert "warning: queries and gallery are from one camera" in out


def test_no_file_is_overwritten_by_held_out_people(capsys: pytest.CaptureFixture[str], market_folder: Path) -> None:
    mine = market_folder.parent / "mine.csv"
    mine.write_text("precious")
    make_market(market_folder, train_people=6)
    status, _, err = run(capsys, "data", "hold-out", market_folder, mine, "--people", "2")
    assert status == 2
    assert "exists already" in err
    assert mine.read_text() == "precious"


def test_settings_are_shown_without_training(capsys: pytest.CaptureFixture[str], market: Path, tmp_path: Path) -> None:
    status, out, _ = run(capsys, "train", market, tmp_path / "run", *TINY, "--show-settings", "--set", "beta2=0.9")
    assert status == 0
    lines = out.splitlines()
    assert {'backbone = "tiny"', "people = 3", "height = 32", "beta2 = 0.9", "erasing = 0.0"} <= set(lines)
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_settings_and_goes_on_with_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    market = make_market(tmp_path / "market", train_people=6)
    run(capsys, "train", market, tmp_path / "run", *TINY, "--set", "erasing=0.25")
    kept = (tmp_path / "run" / "config.toml").read_text()
    assert {"erasing = 0.25", "iterations = 4", "embedding_dim = 8"} <= set(kept.splitlines())
    _, shown, _ = run(
        capsys, "train", market, tmp_path / "new", "--config", tmp_path / "run" / "config.toml", "--show-settings"
    )
    assert shown == kept
    status, out, err = run(capsys, "train", market, tmp_path / "run", "--threads=1", "--resume")
    assert (status, out) == (0, f"trained for 4 iterations; the model is in {tmp_path / 'run'}\n"), err
    status, _, err = run(capsys, "train", market, tmp_path / "run", "--threads=1", "--resume", "--preset=demo")
    assert status == 2
    assert "was trained with" in err
    for path in (market / "bounding_box_train").iterdir():
        path.write_bytes(b"")  # pictures are not read before settings are compared
    words = ["train", market, tmp_path / "run", "--threads=1", "--resume", "--set", "erasing=0.5"]
    status, _, err = run(capsys, *words)
    assert "resume.safetensors was trained with erasing=0.25, now it is 0.5; resume with" in err


def test_help_tells_a_newcomer_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        [],
        ["data"],
        ["data", "synthetic"],
        ["data", "check"],
        ["data", "hold-out"],
        ["train"],
        ["embed"],
        ["evaluate"],
        ["threshold"],
        ["compare"],
    ):
        status, out, _ = run(capsys, *words, "--help")
        assert status == 0
        assert "Usage: dare" in out


@pytest.mark.heavy
def test_sigterm_saves_and_exits_0_and_the_run_goes_on(market: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dare.cli", "train", str(market), str(tmp_path / "run"), *TINY, "--set=log_every=1"]
    words[words.index("--iterations=4")] = "--iterations=100000"
    metrics = tmp_path / "run" / "metrics.csv"

    def iterations() -> list[int]:
        lines = metrics.read_text().splitlines()[1:] if metrics.exists() else []
        return [int(line.split(",")[0]) for line in lines]

    def train_until_past(iteration: int, *more: str) -> str:
        with subprocess.Popen([*words, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                deadline = time.monotonic() + 120
                while not any(done > iteration for done in iterations()):
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                process.terminate()
                out, _ = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 0
        return out

    out = train_until_past(3)
    assert "go on with --resume" in out
    done = int(out.split("stopped after ")[1].split()[0])
    train_until_past(done, "--resume")
    assert iterations() == list(range(1, len(iterations()) + 1))


@pytest.mark.heavy
def test_a_file_size_limit_stops_a_training_with_one_line_and_no_half_file(market: Path, tmp_path: Path) -> None:
    limit = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    limit += "from dare import cli; cli.main()"
    words = [sys.executable, "-c", limit, "train", str(market), str(tmp_path / "run"), *TINY]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert str(tmp_path / "run" / "resume.safetensors") in done.stderr
    assert "Traceback" not in done.stderr
    assert "raise the limit of file sizes" in done.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.toml", "metrics.csv"]
    words = [sys.executable, "-c", limit, "train", str(market), str(tmp_path / "map"), *TINY, "--memory-map"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "File too large for the decoded pictures" in done.stderr
    assert list((tmp_path / "map").iterdir()) == []


def test_embeddings_that_lack_skipped_pictures_can_be_scored(
    capsys: pytest.CaptureFixture[str], market_folder: Path, model: Path, tmp_path: Path
) -> None:
    (market_folder / "query" / "0004_c1s1_000001_00.jpg").write_bytes(b"")
    words = ["embed", market_folder, tmp_path / "e.npz", "--model", model]
    assert run(capsys, *words)[0] == 2
    assert not (tmp_path / "e.npz").exists()
    assert run(capsys, *words, "--skip-unreadable")[0] == 0
    words = ["evaluate", market_folder, "--embeddings", tmp_path / "e.npz"]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert "no embedding of query/0004_c1s1_000001_00.jpg" in err
    status, out, _ = run(capsys, *words, "--skip-unreadable")
    assert status == 0
    assert "1 pictures were left out" in out


def test_a_trunk_may_start_from_the_teachers_file() -> None:
    teacher = Path("0277.xml")
    assert _with_teacher(_settings("lite", None, Common(), [], None), teacher).weights == "0277.xml"
    assert _with_teacher(_settings("lite", None, Common(weights="other.xml"), [], None), teacher).weights == "other.xml"


def test_the_command_is_ready_for_ctrl_c_before_its_modules_are_there(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cyclopts':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
    )
    source = str(Path(dare.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), source])}
    words = [sys.executable, "-m", "dare", "--help"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "dare: interrupted\n")


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "dare", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == dare.__version__


def test_a_message_that_repeats_what_was_given_is_cut(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = run(capsys, "train", tmp_path, tmp_path / "run", "--set", f"iterations={'9' * 50_000}")
    assert status == 2
    assert len(err) < 2500
