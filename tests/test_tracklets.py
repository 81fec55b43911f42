"""Tracklets from their files to figures: MARS by the rules of its official evaluation, and by the command."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, save_picture
from layouts import make_mars
from test_cli import run

from dare import cli
from dare.datasets import mars
from dare.datasets.sample import Benchmark
from dare.evaluation.evaluate import evaluate
from dare.retrieval.embeddings import Embeddings

TEST = [(person, camera, length) for person in (2, 4, 6) for camera in (1, 2, 3) for length in (3, 2)]
TEST = [(-1, 1, 2), (-1, 2, 2), (0, 1, 3), (0, 3, 2), *TEST]
QUERIES = [5, 7, 9, 11, 13, 15, 17, 19, 21]  # the first tracklet of each person and camera


def official(distances: np.ndarray, benchmark: Benchmark) -> tuple[list[float], list[list[float]]]:
    """Average precision and cumulative matches of each query, entry by entry.

    The rules of MARS-evaluation: all test tracklets are ranked; junk (-1) and tracklets of the query's person and
    camera, itself among them, are passed over; tracklets of its person elsewhere are good; distractors are not.
    """
    precisions, curves = [], []
    for row, query in enumerate(benchmark.query):
        good = {
            column
            for column, entry in enumerate(benchmark.gallery)
            if entry.person == query.person and entry.camera != query.camera
        }
        passed_over = {
            column
            for column, entry in enumerate(benchmark.gallery)
            if entry.person == -1 or (entry.person == query.person and entry.camera == query.camera)
        }
        recall_before, precision_before, area, hits, seen = 0.0, 1.0, 0.0, 0, 0
        curve = [0.0] * len(benchmark.gallery)
        for column in np.argsort(distances[row], kind="stable").tolist():
            if column in passed_over:
                continue
            seen += 1
            if column in good:
                hits += 1
                curve[seen - 1 :] = [1.0] * (len(curve) - seen + 1)
            recall, precision = hits / len(good), hits / seen
            area += (recall - recall_before) * (precision_before + precision) / 2
            recall_before, precision_before = recall, precision
            if hits == len(good):
                break
        precisions.append(area)
        curves.append(curve)
    return precisions, curves


@pytest.mark.parametrize("seed", range(5))
def test_mars_scores_as_its_official_evaluation_does(tmp_path: Path, seed: int) -> None:
    benchmark = mars(make_mars(tmp_path, test=TEST, queries=QUERIES))
    assert len(benchmark.gallery) == 22
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(len(benchmark.gallery), 5)).astype(np.float32)
    labels = np.zeros(len(vectors))
    embeddings = Embeddings((vectors,), None, benchmark.identify(benchmark.gallery), labels, labels)
    scores = evaluate(embeddings, benchmark).results[0].scores

    rows = [benchmark.gallery.index(query) for query in benchmark.query]
    distances = np.array([[((vectors[q].astype(float) - g) ** 2).sum() for g in vectors] for q in rows])
    assert np.count_nonzero(distances == 0) == len(rows)  # every query finds itself first, if it were allowed to
    precisions, curves = official(distances, benchmark)
    np.testing.assert_allclose(scores.average_precision, precisions, atol=1e-12)
    assert scores.mean_average_precision == pytest.approx(np.mean(precisions))
    for rank in (1, 2, 5, 10, 20):
        assert scores.cmc(rank) == pytest.approx(np.mean([curve[rank - 1] for curve in curves]))


def test_the_rules_are_those_that_the_loop_follows(tmp_path: Path) -> None:
    """A list small enough to be scored by hand: junk and the query's camera vanish, the distractor stays."""
    test = [(-1, 2, 2), (0, 2, 2), (2, 1, 2), (2, 1, 3), (2, 2, 2)]
    benchmark = mars(make_mars(tmp_path, test=test, queries=[3]))
    vectors = np.array([[0.1], [0.2], [0.0], [0.05], [0.3]], np.float32)
    labels = np.zeros(5)
    embeddings = Embeddings((vectors,), None, benchmark.identify(benchmark.gallery), labels, labels)
    scores = evaluate(embeddings, benchmark).results[0].scores
    # Left are the distractor and the match behind it: precision goes from 1 over 0 to 1/2, recall rises at the last.
    assert scores.first_match.tolist() == [1]
    assert scores.average_precision.tolist() == [(0 + 1 / 2) / 2]


@pytest.fixture(scope="module")
def tracklets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mars(tmp_path_factory.mktemp("data") / "mars", test=TEST[:12], queries=[5, 7, 9, 11])


@pytest.fixture(scope="module")
def network(tracklets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with contextlib.suppress(SystemExit):
        cli.main(["train", str(tracklets), str(folder), *TINY, "--memory-map"])
    return folder


def figures(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_from_training_on_tracklets_to_their_figures(
    capsys: pytest.CaptureFixture[str], tracklets: Path, network: Path, tmp_path: Path
) -> None:
    assert (network / "model.safetensors").exists()
    for pooling in ("mean", "max"):
        file = tmp_path / f"{pooling}.npz"
        status, out, _ = run(capsys, "embed", tracklets, file, "--model", network, "--pooling", pooling)
        assert status == 0
        assert "12 tracklets, 4 exits" in out
        stored = Embeddings.load(file)
        assert stored.pooling == pooling
        assert stored.ids[0] == "bbox_test/0002/0002C1T0005F001.jpg"
        by_network, by_file = tmp_path / "n.json", tmp_path / "f.json"
        words = ["evaluate", tracklets, "--model", network, "--pooling", pooling, "--json", by_network]
        status, out, _ = run(capsys, *words)
        assert status == 0
        shown = "mars: 4 queries, 12 gallery entries Euclidean distance; 1 crop; tracklets pooled by"
        assert f"{shown} {pooling}" in " ".join(out.split())
        status, out, _ = run(capsys, "evaluate", tracklets, "--embeddings", file, "--json", by_file)
        assert status == 0
        assert f"tracklets pooled by {pooling}" in " ".join(out.split())
        one, other = figures(by_network), figures(by_file)
        assert one["tracklets"] == other["tracklets"] == pooling
        assert [result["mAP"] for result in one["results"]] == pytest.approx([r["mAP"] for r in other["results"]])
    assert not np.allclose(Embeddings.load(tmp_path / "mean.npz").stages[0], stored.stages[0])


def test_a_report_shows_tracklets_by_their_first_pictures(
    capsys: pytest.CaptureFixture[str], tracklets: Path, network: Path, tmp_path: Path
) -> None:
    status, _, _ = run(capsys, "evaluate", tracklets, "--model", network, "--report", tmp_path / "r.html")
    assert status == 0
    assert "F001.jpg" in (tmp_path / "r.html").read_text()


def test_a_check_counts_tracklets_and_images(capsys: pytest.CaptureFixture[str], tracklets: Path) -> None:
    status, out, _ = run(capsys, "data", "check", tracklets)
    assert status == 0
    cells = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "│" in line]
    table = {row[1]: row[2:5] for row in cells}
    assert table["tracklets"] == ["6", "4", "12"]
    assert table["images"] == ["16", "12", "29"]
    assert table["images per tracklet"] == ["2.7", "3.0", "2.4"]
    assert table["junk tracklets (person -1)"] == ["0", "0", "2"]
    assert table["distractor tracklets (person 0)"] == ["0", "0", "2"]


def test_a_tracklet_with_an_unreadable_picture_is_left_out_as_a_whole(
    capsys: pytest.CaptureFixture[str], network: Path, tmp_path: Path
) -> None:
    root = make_mars(tmp_path / "mars")
    (root / "bbox_test" / "0002" / "0002C1T0003F002.jpg").write_bytes(b"")
    status, _, err = run(capsys, "evaluate", root, "--model", network)
    assert status == 2
    assert "0002C1T0003F002.jpg: empty file" in err
    words = ["--skip-unreadable", "--json", tmp_path / "r.json"]
    status, _, _ = run(capsys, "evaluate", root, "--model", network, *words)
    assert status == 0
    assert figures(tmp_path / "r.json")["results"][0]["queries"] == 3
    assert any("1 tracklets were left out" in note for note in figures(tmp_path / "r.json")["notes"])


def test_missing_frames_end_a_command_in_one_line(
    capsys: pytest.CaptureFixture[str], network: Path, tmp_path: Path
) -> None:
    root = make_mars(tmp_path / "mars")
    (root / "bbox_train" / "0003" / "0003C1T0003F004.jpg").unlink()
    for words in (["data", "check", root], ["train", root, tmp_path / "run", *TINY]):
        status, out, err = run(capsys, *words)
        assert (status, out) == (2, "")
        assert err.strip().startswith("dare: 1 of the 4 frames of the tracklet that begins with 0003/0003C1T0003F001")
        assert len(err.strip().splitlines()) == 1


def test_a_stream_takes_no_tracklets(
    capsys: pytest.CaptureFixture[str], tracklets: Path, network: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "gallery"
    status, out, _ = run(capsys, "index", gallery, "--model", network, "--images", tracklets)
    assert status == 0
    assert "10 added" in out
    status, _, err = run(capsys, "stream", gallery, "--queries", tracklets, "--mean-macs", "1G")
    assert status == 2
    assert "a stream asks with single pictures, and 0002C1T0005F001.jpg is one of the 3 of a tracklet" in err


def test_multi_query_by_the_command_is_the_same_from_a_network_and_from_a_file(
    capsys: pytest.CaptureFixture[str], market_folder: Path, model: Path, tmp_path: Path
) -> None:
    market = market_folder
    for name in sorted(path.name for path in (market / "query").iterdir()):
        for frame in range(3):
            save_picture(market / "gt_bbox" / name.replace("_00.jpg", f"_{frame:02d}.jpg"), frame)
    file = tmp_path / "e.npz"
    status, out, _ = run(capsys, "embed", market, file, "--model", model, "--multi-query")
    assert status == 0
    assert "32 pictures" in out  # 6 queries, 8 of the gallery, 18 hand-drawn boxes
    found = []
    for source in (["--model", model], ["--embeddings", file], ["--model", model, "--embeddings", file]):
        words = ["evaluate", market, *source, "--multi-query", "--json", tmp_path / "r.json"]
        status, out, _ = run(capsys, *words)
        assert status == 0
        assert "the hand-drawn boxes in gt_bbox/" in " ".join(out.split())
        found.append(figures(tmp_path / "r.json"))
    assert [one["multi_query"] for one in found] == ["mean"] * 3
    assert [bool(one["costs"]) for one in found] == [True, False, True]
    for other in found[1:]:
        assert [one["mAP"] for one in found[0]["results"]] == pytest.approx([one["mAP"] for one in other["results"]])
    status, _, _ = run(capsys, "evaluate", market, "--embeddings", file)
    assert status == 0
