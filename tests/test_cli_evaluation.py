"""What `dare evaluate` puts into its report and its JSON."""

import json
import sys
from pathlib import Path

import pytest
from exports import saved_slim, slim_graphs, with_graphs
from test_cli import run

from dare import export
from dare.models.checkpoints import load_checkpoint


def looks(page: Path) -> int:
    return page.read_text().count('<img class="look"')


def test_a_networks_report_shows_where_it_looked(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    words = ["evaluate", market, "--report", tmp_path / "r.html", "--embedding-maps"]
    assert run(capsys, *words, "--model", model)[0] == 0
    per_stage = looks(tmp_path / "r.html")
    assert per_stage
    assert "<h2>Embedding maps</h2>" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "r.html").stat().st_size < 2e6
    assert run(capsys, *words[:-1], "--model", model, "--model", model)[0] == 0
    assert looks(tmp_path / "r.html")
    assert "where network 2 answers" in (tmp_path / "r.html").read_text()
    assert "<h2>Embedding maps</h2>" not in (tmp_path / "r.html").read_text()


def test_stored_vectors_have_no_activation_maps(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    run(capsys, "embed", market, tmp_path / "e.npz", "--model", model)
    words = ["evaluate", market, "--embeddings", tmp_path / "e.npz", "--report", tmp_path / "r.html"]
    assert run(capsys, *words)[0] == 0
    assert looks(tmp_path / "r.html") == 0
    assert "Without activation maps" in (tmp_path / "r.html").read_text()


def test_files_are_there_even_if_nobody_reads_the_tables(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("dare.cli.evaluation._show", closed)
    words = ["evaluate", market, "--model", model, "--json", tmp_path / "a.json", "--report", tmp_path / "r.html"]
    assert run(capsys, *words)[0] != 0
    assert json.loads((tmp_path / "a.json").read_text())
    assert (tmp_path / "r.html").stat().st_size


@pytest.mark.heavy
def test_exported_steps_have_no_activation_maps(
    capsys: pytest.CaptureFixture[str], market: Path, tmp_path: Path
) -> None:
    with with_graphs(slim_graphs()):
        export(saved_slim(tmp_path), tmp_path / "steps", "onnx")
    words = ["evaluate", market, "--model", tmp_path / "steps", "--report", tmp_path / "r.html"]
    assert run(capsys, *words)[0] == 0
    assert looks(tmp_path / "r.html") == 0
    assert "Without activation maps" in (tmp_path / "r.html").read_text()


def test_the_json_holds_match_curves(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    run(capsys, "evaluate", market, "--model", model, "--json", tmp_path / "r.json")
    for result in json.loads((tmp_path / "r.json").read_text())["results"]:
        curve = result["cmc"]
        assert len(curve) == 50
        assert curve == sorted(curve)
        assert [curve[rank - 1] for rank in (1, 5, 10)] == [result[f"rank{rank}"] for rank in (1, 5, 10)]
        assert curve[-1] == 1  # the gallery is smaller than that


def test_fusion_weights_are_printed_and_queries_written(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    words = ["--json", tmp_path / "r.json", "--report", tmp_path / "r.html", "--per-query", tmp_path / "q.csv"]
    _, out, _ = run(capsys, "evaluate", market, "--model", model, *words)
    fusion = load_checkpoint(model).model.fusion
    assert fusion is not None
    weights = fusion.weights.tolist()
    said = f"{weights[0]:.3f} x stage 1 {'-+'[weights[1] >= 0]} {abs(weights[1]):.3f} x stage 2"
    assert f"fusion: {said}" in out
    assert f"Fusion: {said}" in (tmp_path / "r.html").read_text()
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["fusion"] == pytest.approx(weights)
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 1 + 5 * found["results"][0]["queries"]


def test_embedding_maps_need_a_report_and_scikit_learn(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", market, "--model", model, "--embedding-maps"]
    status, _, err = run(capsys, *words)
    assert (status, err.strip()) == (2, "dare: --embedding-maps belongs to --report; say where to write it")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    status, out, err = run(capsys, *words, "--report", tmp_path / "r.html")
    assert status == 2
    expected = "dare: embedding maps need scikit-learn; install it with: pip install 'dare-reid[plots]'"
    assert err.strip() == expected
    assert out == ""
