"""Plans on the command line."""

import contextlib
import json
from pathlib import Path

import pytest
from conftest import TINY, make_market
from test_cli import run

from dare import Embeddings, cli, export, open_runner
from dare.datasets import market1501
from dare.datasets.seen import DIGITS, people_seen, together
from dare.models.checkpoints import load_checkpoint

pytestmark = pytest.mark.heavy


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


def test_a_plan_is_chosen_and_a_stream_follows_it(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    plan, gallery = tmp_path / "plan.json", tmp_path / "g"
    words = ["choose-exits", places["ROOT"], "--model", places["A"], "--embeddings", places["E"], "--mean-macs", "0.4M"]
    status, out, _ = run(capsys, *words, "--for", "mAP", "--out", plan)
    assert status == 0
    assert "chosen over it: rank-1" in out
    assert "times the full network's cost" not in out
    _, out, _ = run(capsys, *words[:-1], "900G")
    assert out.count("times the full network's cost, so every query may go all the way") == 1
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
        assert "write it again with dare choose-exits" in run(capsys, *stream, "--policy", "quantile")[2]
    plan.write_text(whole.replace('"shares"', '"parts"'))
    assert "write it again with dare choose-exits" in run(capsys, *stream, "--policy", "quantile")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["choose-exits", "ROOT", "--model", "A", "--embeddings", "E", "--mean-macs", "9"], "smallest possible budget"),
        (["choose-exits", "ROOT", "--model", "A", "--mean-macs", "lots"], "a positive number of multiply-adds"),
    ],
)
def test_what_cannot_be_chosen_is_one_line(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path, words: list[str], message: str
) -> None:
    status, _, err = run(capsys, *({**places, "OUT": tmp_path / "out"}.get(word, word) for word in words))
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1, err
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_people_that_the_network_was_trained_on_are_told(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    held, plan, thresholds = places["ROOT"] / "held.csv", tmp_path / "plan.json", tmp_path / "thresholds.json"
    report, figures = tmp_path / "report.html", tmp_path / "figures.json"
    run(capsys, "data", "hold-out", places["ROOT"], held, "--people", "4")
    note = "note: 4 of 4 people here are among those the network was trained on, so figures flatter it"
    for words, written in (
        (["choose-exits", held, "--mean-macs", "0.4M", "--out", plan], plan),
        (["threshold", held, "--false-match-rate", "0.5", "--out", thresholds], thresholds),
        (["evaluate", held, "--report", report], report),
        (["evaluate", held, "--json", figures], figures),
    ):
        status, out, err = run(capsys, *words, "--model", places["A"])
        assert (status, err.count("Traceback")) == (0, 0), err
        assert out.count(note) == 1
        assert note.removeprefix("note: ") in written.read_text()
    new = tmp_path / "new.json"
    for words in (["choose-exits", "--mean-macs", "0.4M", "--out", new], ["threshold", "--false-match-rate", "0.5"]):
        status, out, _ = run(capsys, words[0], places["ROOT"], *words[1:], "--model", places["A"])
        assert status == 0
        assert "trained on" not in out
    assert "note" not in json.loads(new.read_text())["about"]
    held.unlink()


def test_who_was_seen_is_known_to_whatever_comes_of_a_network(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    """Its vectors, its exports, a cascade, worker processes, and a network that starts from it."""
    seen = load_checkpoint(places["A"]).seen
    assert len(seen) == 6 * DIGITS
    assert Embeddings.load(places["E"]).seen == seen
    export(places["A"], tmp_path / "onnx", "onnx")
    assert open_runner(tmp_path / "onnx").seen == seen
    assert open_runner([places["A"], places["B"]]).seen == seen
    workers = open_runner(places["A"], workers=2)
    assert workers.seen == seen
    workers.close()
    other = market1501(make_market(tmp_path / "other", train_people=9, test_people=3))
    status, *_ = run(capsys, "train", other.root, tmp_path / "next", "--init", places["A"], *TINY[2:])
    assert status == 0
    own = people_seen((sample.person, path) for sample in other.train for path in sample.images)
    assert len(own) == 9 * DIGITS
    assert load_checkpoint(tmp_path / "next").seen == together(seen, own)
