"""Every command on a network whose exits share a space: one vector for each picture of a gallery."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_cli import run

from dare import Embeddings, load_checkpoint
from dare.gallery.lance import LanceGallery
from dare.models.checkpoints import save_checkpoint


@pytest.fixture(scope="module")
def one_space(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the other tests; that its exits share a space is only said."""
    path = tmp_path_factory.mktemp("runs") / "model.safetensors"
    save_checkpoint(path, replace(load_checkpoint(model), space="shared"))
    return path


@pytest.fixture(scope="module")
def embedded(crowd: Path, one_space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dare import cli

    path = tmp_path_factory.mktemp("vectors") / "e.npz"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["embed", str(crowd), str(path), "--model", str(one_space)])
    return path


def test_both_ways_of_comparing_are_side_by_side(
    capsys: pytest.CaptureFixture[str], crowd: Path, embedded: Path, tmp_path: Path
) -> None:
    vectors = Embeddings.load(embedded)
    assert vectors.space == "shared"
    replace(vectors, space="own").save(tmp_path / "own.npz")
    figures, tables = {}, {}
    for name, path in (("shared", embedded), ("own", tmp_path / "own.npz")):
        words = ["evaluate", crowd, "--embeddings", path, "--json", tmp_path / "a.json", "--report", tmp_path / name]
        status, tables[name], _ = run(capsys, *words)
        assert status == 0
        figures[name] = json.loads((tmp_path / "a.json").read_text())["results"]
    for shared, own in zip(figures["shared"], figures["own"], strict=True):
        assert shared["own_gallery"] == {name: own[name] for name in ("rank1", "mAP")}
    assert figures["shared"][0]["mAP"] != figures["own"][0]["mAP"]
    assert figures["shared"][-1]["mAP"] == figures["own"][-1]["mAP"]
    for name, told in (("shared", True), ("own", False)):
        assert ("own: against" in tables[name]) == ("mAP, own gallery" in (tmp_path / name).read_text()) == told
        assert ("one space, all exits against" in tables[name]) == told
    row = next(line for line in tables["shared"].splitlines() if "stage 1" in line)
    wanted = [figures["shared"][0]["mAP"], figures["own"][0]["rank1"], figures["own"][0]["mAP"]]
    cells = [cell.strip() for cell in row.split("│")]
    assert [cells[4], *cells[6:8]] == [f"{100 * value:.1f}" for value in wanted]


def test_a_gallery_holds_one_vector_for_each_picture_and_every_exit_searches_it(
    capsys: pytest.CaptureFixture[str], crowd: Path, one_space: Path, embedded: Path, tmp_path: Path
) -> None:
    vectors, gallery = Embeddings.load(embedded), tmp_path / "g"
    assert run(capsys, "index", gallery, "--model", one_space, "--images", crowd)[0] == 0
    store = LanceGallery(gallery)
    rows = vectors.find(store.ids())
    assert (store.space, store.count()) == ("shared", 24)
    np.testing.assert_allclose(store.vectors(0), rows.exits()[-1], rtol=1e-4, atol=1e-5)
    query = min((crowd / "query").iterdir())
    for number, mine in enumerate(vectors.find([f"query/{query.name}"]).exits(), start=1):
        status, out, _ = run(capsys, "search", gallery, query, "--exit", str(number), "--count", "5", "--json")
        assert status == 0
        distances = np.linalg.norm(rows.exits()[-1].astype(np.float64) - mine[0], axis=1)
        (answer,) = json.loads(out)
        assert [hit["distance"] for hit in answer["hits"]] == pytest.approx(np.sort(distances)[:5], rel=1e-4)
    assert run(capsys, "search", gallery, query, "--deadline", "10s")[0] == 0
    assert "with search in 24 entries" in run(capsys, "calibrate", one_space, "--gallery", gallery, "--repeats", "2")[1]
    assert run(capsys, "forget", gallery, "--person", "3")[0] == 0
    assert store.vectors(1).shape == (22, rows.exits()[-1].shape[1])
    store.close()


def test_a_stream_is_worth_what_evaluation_and_plan_say(
    capsys: pytest.CaptureFixture[str], crowd: Path, one_space: Path, embedded: Path, tmp_path: Path
) -> None:
    run(capsys, "index", tmp_path / "g", "--model", one_space, "--images", crowd)
    run(capsys, "evaluate", crowd, "--embeddings", embedded, "--json", tmp_path / "a.json")
    results = [result for result in json.loads((tmp_path / "a.json").read_text())["results"] if result["is_exit"]]
    least = load_checkpoint(one_space).costs.macs[0]
    stream = ["stream", tmp_path / "g", "--queries", crowd, "--json"]
    for budget, result in ((least, results[0]), (10**12, results[-1])):
        found = json.loads(run(capsys, *stream, "--policy", "chance", "--mean-macs", str(budget))[1])
        assert [found["rank1"], found["mAP"]] == pytest.approx([result["rank1"], result["mAP"]], abs=1e-6)
    plan = tmp_path / "plan.json"
    words = ["choose-exits", crowd, "--model", one_space, "--embeddings", embedded, "--mean-macs", str(2 * least)]
    assert run(capsys, *words, "--out", plan)[0] == 0
    found = json.loads(run(capsys, *stream, "--plan", plan, "--policy", "thresholds")[1])
    left = [count / 24 for count in found["exits"].values()]
    assert left == pytest.approx(json.loads(plan.read_text())["shares"], abs=1 / 24)


def test_thresholds_are_for_a_query_at_the_exit_and_an_entry_of_the_last(
    capsys: pytest.CaptureFixture[str], crowd: Path, one_space: Path, embedded: Path, tmp_path: Path
) -> None:
    file, vectors = tmp_path / "t.json", Embeddings.load(embedded)
    words = ["threshold", crowd, "--embeddings", embedded, "--false-match-rate", "0.1", "--out", file]
    status, out, _ = run(capsys, *words)
    assert (status, json.loads(file.read_text())["space"]) == (0, "shared")
    assert "one space, all exits against the gallery's vectors of the last" in out
    first, second = sorted((crowd / "query").iterdir())[:2]
    early, late = (
        vectors.exits()[exit][vectors.ids.index(f"query/{path.name}")] for exit, path in ((0, first), (-1, second))
    )
    words = ["compare", first, second, "--model", one_space, "--thresholds", file, "--exit", "1"]
    assert "stage 1 of the first against fusion of the second: distance" in run(capsys, *words)[1]
    verdict = json.loads(run(capsys, *words, "--json")[1])
    assert verdict["distance"] == pytest.approx(float(np.linalg.norm(early - late)), rel=1e-3)
    assert (verdict["exit_name"], verdict["second_exit_name"]) == ("stage 1", "fusion")
    assert "of the second" not in run(capsys, *words[:-2])[1]
