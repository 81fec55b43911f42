"""Figures 3, 4 and 7 on the command line."""

import contextlib
import csv
import shutil
from pathlib import Path

import pytest
from conftest import TINY, make_market
from test_cli import run

from dare import cli
from dare.cli.runs import differing

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set, two networks with deep supervision and one without, and embeddings of all."""
    top = tmp_path_factory.mktemp("places")
    places = {"ROOT": make_market(top / "market", train_people=6, test_people=8)}
    for name, more in (("A", []), ("B", ["--seed", "4"]), ("C", ["--set=deep_supervision=false"])):
        places[name], places[f"{name}.npz"] = top / name, top / f"{name}.npz"
        for words in (
            ["train", places["ROOT"], places[name], *TINY, *more],
            ["embed", places["ROOT"], places[f"{name}.npz"], "--model", places[name]],
        ):
            with contextlib.suppress(SystemExit):
                cli.main([str(word) for word in words])
    places["COPY"] = top / "copy"
    shutil.copytree(places["A"], places["COPY"])
    return places


def test_figure_3_takes_runs_or_their_embeddings(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure3", places["ROOT"], tmp_path / "f", "--model", places["A"], "--model", places["B"]]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "2 runs" in out
    assert "±" in out
    names = {"figure3.csv", "figure3_runs.csv", "figure3.png", "figure3.svg"}
    assert {path.name for path in (tmp_path / "f").iterdir()} == names
    first = (tmp_path / "f" / "figure3.csv").read_text()
    rows = list(csv.DictReader(first.splitlines()))
    assert [row["vector"] for row in rows] == ["stage 1", "stage 2", "stage 3", "stage 4", "fusion"]
    stored = ["--embeddings", places["A.npz"], "--embeddings", places["B.npz"], "--no-published"]
    assert run(capsys, *words, *stored)[0] == 0
    assert (tmp_path / "f" / "figure3.csv").read_text() == first


def test_figure_4_compares_two_groups(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure4", places["ROOT"], tmp_path / "f"]
    words += ["--with", places["A"], "--with", places["B"], "--without", places["C"]]
    status, out, _ = run(capsys, *words, "--without-embeddings", places["C.npz"])
    assert status == 0
    assert "2 runs with deep supervision, 1 run without" in out
    assert "note: the networks differ" not in out
    names = {"figure4.csv", "figure4_runs.csv", "figure4.png", "figure4.svg"}
    assert {path.name for path in (tmp_path / "f").iterdir()} == names
    rows = list(csv.DictReader((tmp_path / "f" / "figure4.csv").read_text().splitlines()))
    assert [row["runs"] for row in rows] == ["2"] * 5 + ["1"] * 5


def test_settings_that_differ_besides_the_seed_are_named() -> None:
    alike = {"iterations": 4, "seed": 1, "deep_supervision": True, "augmentation": {"erasing": 0.3}}
    other = {**alike, "seed": 2, "deep_supervision": False}
    assert differing([]) == differing([alike, other]) == []
    assert differing([alike, {**other, "iterations": 5}, {**other, "augmentation": {}}]) == [
        "iterations",
        "augmentation",
    ]


def test_figure_7_shows_what_the_fusion_gets_right(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure7", places["ROOT"], tmp_path / "f", "--model", places["A"], "--ranks", "2"]
    status, out, _ = run(capsys, *words, "--embeddings", places["A.npz"])
    assert status == 0
    assert "the fusion is right for" in out
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"figure7.csv", "figure7.png", "figure7.svg"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["figure3", "ROOT", "OUT", "--model", "A", "--model", "A"], "is given twice; give each run once"),
        (["figure3", "ROOT", "OUT", "--model", "A", "--model", "COPY"], "are one network; give each run once"),
        (
            ["figure3", "ROOT", "OUT", "--model", "A", "--model", "B", "--embeddings", "A.npz"],
            "expected embeddings of each network, in order, got 1 for 2",
        ),
        (["figure3", "ROOT", "OUT", "--model", "A", "--embeddings", "B.npz"], "holds vectors of model"),
        (["figure4", "ROOT", "OUT", "--with", "C", "--without", "B"], "was trained without deep supervision"),
        (["figure4", "ROOT", "OUT", "--with", "A", "--without", "B"], "was trained with deep supervision; give it as"),
        (["figure7", "ROOT", "OUT", "--model", "A", "--embeddings", "A.npz", "--ranks", "0"], "at least 1"),
        (["figure7", "ROOT", "OUT", "--model", "A", "--model", "B"], "a network with 2 embeddings and no fusion"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path, words: list[str], message: str
) -> None:
    named = {**places, "OUT": tmp_path / "out"}
    status, _, err = run(capsys, "reproduce", *(named.get(word, word) for word in words))
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1, err
    assert message in lines[0]
    assert not (tmp_path / "out").exists()
