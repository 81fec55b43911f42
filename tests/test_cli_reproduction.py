"""Figures and plans on the command line."""

import contextlib
import csv
import json
from pathlib import Path

import pytest
from conftest import TINY, make_market
from test_cli import run

from dare import cli

pytestmark = pytest.mark.heavy

LABEL_FREE_NEARNESS = ["--confidence", "nearness", "--allowed", "other-cameras"]
FIGURE6 = ["--budgets", "5", "--seed", "3"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set, two networks, and embeddings of the first."""
    top = tmp_path_factory.mktemp("places")
    places = {"ROOT": make_market(top / "market", train_people=6, test_people=8), "A": top / "a", "B": top / "b"}
    places["E"] = top / "a.npz"
    for words in (
        ["train", places["ROOT"], places["A"], *TINY],
        ["train", places["ROOT"], places["B"], *TINY, "--seed", "4"],
        ["embed", places["ROOT"], places["E"], "--model", places["A"]],
    ):
        with contextlib.suppress(SystemExit):
            cli.main([str(word) for word in words])
    return places


def test_figure_6_is_written_and_summed_up(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure6", places["ROOT"], tmp_path / "f", "--model", places["A"], *FIGURE6]
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"figure6.csv", "figure6.png", "figure6.svg"}
    for policy in ("chance", "nearness", "margin", "label-free", "steered", "mix for mAP"):
        assert policy in out
    assert "costs: counted at 32x16" in out
    first = (tmp_path / "f" / "figure6.csv").read_text()
    assert len(list(csv.DictReader(first.splitlines()))) == 5 * 7
    run(capsys, *words, "--embeddings", places["E"], "--no-published")
    assert (tmp_path / "f" / "figure6.csv").read_text() == first
    status, out, _ = run(capsys, *words, "--embeddings", places["E"], "--by", "ms")
    assert status == 0
    assert all(row["spent_ms"] for row in csv.DictReader((tmp_path / "f" / "figure6.csv").read_text().splitlines()))


def test_ten_crops_cost_ten_times_also_from_embeddings(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    run(capsys, "embed", places["ROOT"], tmp_path / "ten.npz", "--model", places["A"], "--crops", "10")
    budgets = []
    for embeddings in (places["E"], tmp_path / "ten.npz"):
        words = ["reproduce", "figure6", places["ROOT"], tmp_path / "f", "--model", places["A"], *FIGURE6]
        status, out, _ = run(capsys, *words, "--embeddings", embeddings)
        assert status == 0
        rows = csv.DictReader((tmp_path / "f" / "figure6.csv").read_text().splitlines())
        budgets.append(int(next(rows)["budget_macs"]))
    assert budgets[1] == 10 * budgets[0]
    assert "times 10 crops" in out


def test_figure_5_compares_with_networks_in_sequence(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure5", places["ROOT"], tmp_path / "f", "--model", places["A"]]
    words += ["--against", places["A"], "--against", places["B"]]
    assert run(capsys, *words)[0] == 0
    rows = list(csv.DictReader((tmp_path / "f" / "figure5.csv").read_text().splitlines()))
    assert [row["network"] for row in rows] == ["DaRe"] * 4 + ["networks in sequence"] * 2
    own, sequence = ([int(row["macs"]) for row in part] for part in (rows[:4], rows[4:]))
    assert sequence == [own[-1], 2 * own[-1]]
    assert rows[3]["rank1"] == rows[4]["rank1"]
    assert (tmp_path / "f" / "figure5_leads.csv").exists()


def test_figure_8_shows_easy_and_hard_queries(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure8", places["ROOT"], tmp_path / "f", "--model", places["A"]]
    status, out, _ = run(capsys, *words, "--embeddings", places["E"])
    assert status == 0
    assert "left at the exits: " in out
    assert {path.name for path in (tmp_path / "f").iterdir()} == {"figure8.csv", "figure8.png", "figure8.svg"}


def test_a_plan_is_chosen_and_a_stream_follows_it(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    plan, gallery = tmp_path / "plan.json", tmp_path / "g"
    words = ["choose-exits", places["ROOT"], "--model", places["A"], "--embeddings", places["E"], "--mean-macs", "0.4M"]
    status, out, _ = run(capsys, *words, "--for", "mAP", "--out", plan)
    assert status == 0
    assert "chosen over it: rank-1" in out
    chosen = json.loads(plan.read_text())
    assert sum(chosen["shares"]) == pytest.approx(1)
    run(capsys, "index", gallery, "--model", places["A"], "--images", places["ROOT"])
    stream = ["stream", gallery, "--queries", places["ROOT"], "--plan", plan, "--json"]
    status, out, _ = run(capsys, *stream, "--policy", "thresholds")
    found = json.loads(out)
    assert (status, found["confidence"], found["allowed"]) == (0, "margin", "other-cameras")
    # The people chosen on are those of the stream, so thresholds give the very shares they were learnt for.
    left = [count / 16 for count in found["exits"].values()]
    assert left == pytest.approx(chosen["shares"], abs=1 / 16)
    status, out, _ = run(capsys, *stream, "--policy", "quantile")
    assert status == 0
    status, _, err = run(capsys, *stream, "--policy", "thresholds", "--confidence", "nearness")
    assert status == 2
    assert "leave --confidence and --allowed out" in err
    other = tmp_path / "h"
    run(capsys, "index", other, "--model", places["B"], "--images", places["ROOT"])
    stream[1] = other
    status, _, err = run(capsys, *stream, "--policy", "thresholds")
    assert status == 2
    assert "take the plan's shares with --policy quantile" in err
    assert run(capsys, *stream, "--policy", "quantile")[0] == 0
    whole = plan.read_text()
    for wrong, right in (("all-cameras", "other-cameras"), ("certainty", "margin")):
        plan.write_text(whole.replace(f'"{right}"', f'"{wrong}"'))
        assert "holds no plan" in run(capsys, *stream, "--policy", "quantile")[2]
    plan.write_text(whole.replace('"shares"', '"parts"'))
    assert "holds no plan" in run(capsys, *stream, "--policy", "quantile")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["reproduce", "figure6", "ROOT", "OUT", "--model", "A", "--embeddings", "E", "--times", "E"],
            "belongs to --by ms",
        ),
        (["reproduce", "figure6", "ROOT", "OUT", "--model", "A", "--embeddings", "E", "--crops", "10"], "know theirs"),
        (["reproduce", "figure6", "ROOT", "OUT", "--model", "A", "--embeddings", "E", "--budgets", "1"], "2 budgets"),
        (["reproduce", "figure6", "ROOT", "OUT", "--model", "A", "--embeddings", "E", "--seed", "-1"], "at least 0"),
        (["reproduce", "figure8", "ROOT", "OUT", "--model", "A", "--embeddings", "E", "--count", "0"], "at least 1"),
        (["reproduce", "figure6", "ROOT", "OUT", "--model", "B", "--embeddings", "E"], "vectors of model"),
        (["reproduce", "figure6", "ROOT", "OUT", "--model", "A", "--embeddings", "OUT"], "no embeddings at"),
        (["choose-exits", "ROOT", "--model", "A", "--embeddings", "E", "--mean-macs", "9"], "smallest possible budget"),
        (["choose-exits", "ROOT", "--model", "A", "--mean-macs", "lots"], "a positive number of multiply-adds"),
        (
            ["choose-exits", "ROOT", "--model", "A", "--mean-macs", "1M", *LABEL_FREE_NEARNESS],
            "by the paper's protocol",
        ),
    ],
)
def test_what_cannot_be_drawn_or_chosen_is_one_line(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path, words: list[str], message: str
) -> None:
    status, _, err = run(capsys, *({**places, "OUT": tmp_path / "out"}.get(word, word) for word in words))
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1, err
    assert message in lines[0]
    assert not (tmp_path / "out").exists()
