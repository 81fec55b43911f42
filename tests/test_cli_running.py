"""Engines and workers on the command line: the same answers, and what they cost in time."""

import json
import re
from pathlib import Path

import pytest
from test_cli import run

from dare import Embeddings

pytestmark = pytest.mark.heavy


def test_every_engine_and_number_of_workers_embeds_alike(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path
) -> None:
    found = []
    for number, words in enumerate((["--runner", "eager"], ["--runner", "prepacked"], ["--workers", "2"])):
        out = tmp_path / f"{number}.npz"
        status, _, err = run(capsys, "embed", market, out, "--model", model, "--batch-size", "3", *words)
        assert status == 0
        assert all("as published" in line for line in err.splitlines() if line.startswith("note"))  # of the data set
        found.append(Embeddings.load(out))
    for other in found[1:]:
        assert other.ids == found[0].ids
        for vectors, expected in zip(other.exits(), found[0].exits(), strict=True):
            assert vectors == pytest.approx(expected, abs=1e-5)


def test_a_stream_and_a_search_over_two_workers_answer_as_over_one(
    capsys: pytest.CaptureFixture[str], market: Path, indexed: Path
) -> None:
    words = ["stream", indexed, "--queries", market, "--mean-macs", "0.4M", "--policy", "quantile", "--json"]
    one, two = (json.loads(run(capsys, *words, *more)[1]) for more in ([], ["--workers", "2"]))
    assert {name: one[name] for name in ("queries", "exits", "rank1", "mAP")} == {
        name: two[name] for name in ("queries", "exits", "rank1", "mAP")
    }
    queries = sorted((market / "query").iterdir())
    words = ["search", indexed, *queries, "--json"]
    one, two = (json.loads(run(capsys, *words, *more)[1]) for more in ([], ["--workers", "2"]))
    for answer, expected in zip(two, one, strict=True):
        assert answer["query"] == expected["query"]
        assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in expected["hits"]]


def test_bench_times_every_exit_by_every_engine(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    words = ["bench", model, "--batch", "1", "--batch", "3", "--repeats", "2"]
    status, out, _ = run(capsys, *words, "--json", tmp_path / "bench.json", "--plot", tmp_path / "bench.png")
    assert status == 0
    for name in ("batch 1", "batch 3", "eager, fp32", "eager, bf16", "prepacked, fp32", "prepacked, bf16", "fusion"):
        assert name in out
    figures = json.loads((tmp_path / "bench.json").read_text())
    assert len(figures) == 8
    for row in figures:
        ms = [exit["ms"] for exit in row["exits"]]
        assert ms == sorted(ms)
        for exit in row["exits"]:
            assert exit["images_per_second"] == pytest.approx(1000 * row["batch"] / exit["ms"])
    assert (tmp_path / "bench.png").stat().st_size > 1000
    drawing = (tmp_path / "bench.svg").read_text()
    assert len(re.findall("<!-- (eager|prepacked), ", drawing)) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench"], "no network to time; give a checkpoint"),
        (["bench", "MODEL", "--threads", "0"], "--threads"),
        (["bench", "MODEL", "--batch", "0"], "--batch"),
        (["embed", "ROOT", "OUT.npz", "--model", "MODEL", "--workers", "0"], "--workers"),
        (
            ["embed", "ROOT", "OUT.npz", "--model", "MODEL", "--workers", "2", "--threads", "2"],
            "each worker has one thread; give --threads or --workers",
        ),
        (
            ["embed", "ROOT", "OUT.npz", "--model", "MODEL", "--runner", "onnx"],
            "the runner onnx runs what `dare export --format onnx` wrote, got",
        ),
        (
            ["embed", "ROOT", "OUT.npz", "--model", "MODEL", "--precision", "int8"],
            "the prepacked runner computes in fp32 or bf16, not in 'int8'",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    capsys: pytest.CaptureFixture[str], market: Path, model: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    places = {"MODEL": str(model), "ROOT": str(market), "OUT.npz": str(tmp_path / "out.npz")}
    status, _, err = run(capsys, *(places.get(word, word) for word in words))
    assert status == 2
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out.npz").exists()
