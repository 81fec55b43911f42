"""`dare reproduce` on the command line: of a recipe, and of networks that are named."""

import contextlib
import csv
import importlib
import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from conftest import TINY, make_market
from test_cli import run

import dare.training.train as trainer
from dare import cli
from dare.experiments.recipe import SHIPPED
from dare.models.checkpoints import load_checkpoint
from dare.training.monitor import TrainingStoppedError

pytestmark = pytest.mark.heavy

SMALL = "people = 4, images = 2, height = 32, width = 16"
SHRUNK = {
    r'backbone = "slim", iterations = 200(?=, network)': f"iterations = 7, {SMALL}",
    r'backbone = "slim", iterations = 200': f"iterations = 3, hidden_dim = 8, {SMALL}",
    r'draw = "tiny"': 'draw = "tiny"\nknobs = { train_people = 5, test_people = 5, background_boxes = 1 }',
    r'\[figure6\]\ntraining = "dare"': '[figure6]\nbudgets = 4\ntraining = "dare"',
}
FILES = {
    "table1": ["csv", "md"],
    "table2": ["csv", "md"],
    "figure3": ["csv", "png", "svg"],
    "figure4": ["csv", "png", "svg"],
    "figure5": ["csv", "png", "svg"],
    "figure6": ["csv", "png", "svg"],
    "figure7": ["csv", "png", "svg"],
    "figure8": ["csv", "png", "svg"],
}


@pytest.fixture(autouse=True)
def strict_defaults() -> None:
    """Where LanceDB has loaded pydantic, cyclopts checks the defaults of parameters too."""
    importlib.import_module("pydantic")


@pytest.fixture(scope="module")
def shrunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe, smaller still."""
    text = (SHIPPED / "tiny.toml").read_text()
    for pattern, instead in SHRUNK.items():
        text, count = re.subn(pattern, instead, text)
        assert count
    path = tmp_path_factory.mktemp("shrunk") / "shrunk.toml"
    path.write_text(text)
    return path


def test_the_whole_of_a_tiny_recipe_end_to_end_and_not_twice(
    capsys: pytest.CaptureFixture[str], shrunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "reproduced"
    status, shown, told = run(capsys, "reproduce", shrunk, "--out", out)
    assert status == 0, told
    assert shown.startswith("stands in: the slim trunk from random weights stands in for every network")
    assert "dare on drawn, run 1: trained" in told
    for name, kinds in FILES.items():
        for kind in kinds:
            assert (out / f"{name}.{kind}").stat().st_size > 100
        described = json.loads((out / f"{name}.json").read_text())
        assert described["stands_in"], name
        assert described["stands_in"][0].endswith("drawn people for Market-1501")
    for table in [*out.glob("figure*.csv")]:
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert rows, table
        assert all("drawn people for Market-1501" in row["stands_in"] for row in rows), table
    for drawing in out.glob("figure*.svg"):
        text = drawing.read_text()
        assert "stand-in" in text, drawing
        assert "ublished" not in text, drawing  # the authors' points would stand beside what is not comparable
    costs = [
        load_checkpoint(out / "trainings" / name / "drawn" / "seed-0").costs.macs[-1]
        for name in ("up-to-2", "up-to-3", "trinet")
    ]
    rows = list(csv.DictReader((out / "figure5.csv").read_text().splitlines()))
    sequence = [int(row["macs"]) for row in rows if row["network"] == "networks in sequence (stand-in)"]
    assert sequence == [costs[0], costs[0] + costs[1], sum(costs)]
    assert "**Stands in:** the slim trunk" in (out / "table1.md").read_text()
    cells = {
        (row["row"], row["data_set"]): row for row in csv.DictReader((out / "table1.csv").read_text().splitlines())
    }
    measured = cells["DaRe(De)+RE+RR", "Market"]
    assert float(measured["measured_mAP"]) > 0
    assert measured["difference_mAP"] == ""
    assert measured["notes"].startswith("stands in: slim trunk for ResNet-50, the run of DaRe(R)+RE for DenseNet-201")
    page = (out / "index.html").read_text()
    for name, kinds in FILES.items():
        assert all(f'href="{name}.{kind}"' in page for kind in kinds)
    for piece in ("the slim trunk", "counted at 32x16", "recipe.toml", "without-deep-supervision on drawn"):
        assert piece in page, piece
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    monkeypatch.setattr(trainer, "train", lambda *_, **__: pytest.fail("this was trained before"))
    status, _, told = run(capsys, "reproduce", shrunk, "--out", out)
    assert status == 0, told
    after = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert sorted(name for name in before | after if before.get(name) != after.get(name)) == []
    shutil.rmtree(out / "trainings" / "dare")
    status, shown, _ = run(capsys, "reproduce", shrunk, "figure6", "--out", out, "--no-train")
    assert status == 1
    assert "Figure 6: a stream of queries on a mean budget: nothing" in shown
    assert "not measured: not trained, and training was not asked for" in shown
    assert not (out / "figure6.png").exists()
    assert (out / "figure5.png").exists()


def test_a_data_set_can_be_given_and_a_table_made_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    market = make_market(tmp_path / "market", train_people=3, test_people=4)
    words = ["reproduce", "paper", "table2", "--data", f"market1501={market}", "--out", tmp_path / "out"]
    status, shown, _ = run(capsys, *words)
    assert status == 0
    assert re.search(r"train images +│ 12,936 +│ 18 +│ no", shown)
    assert "MARS: not counted: data set mars is not given: there is no data/mars" in shown
    words[2:3] = ["table1", "--no-train"]
    status, shown, _ = run(capsys, *words)
    assert status == 0
    assert "Duke: not measured: data set dukemtmc is not given" in shown
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Table 1" in page
    assert "Table 2" in page


def test_the_page_of_a_recipe_does_not_show_what_another_made(
    capsys: pytest.CaptureFixture[str], shrunk: Path, tmp_path: Path
) -> None:
    market = make_market(tmp_path / "market", train_people=3, test_people=4)
    out = tmp_path / "out"
    assert run(capsys, "reproduce", shrunk, "table1", "--no-train", "--out", out)[0] == 0
    paper = ["reproduce", "paper", "table2", "--out", out]
    assert run(capsys, *paper, "--data", f"market1501={market}")[0] == 0
    page = (out / "index.html").read_text()
    assert "Table 2: the data sets" in page
    assert "Table 1: every system" not in page
    assert "another recipe, or this one with other folders, made them here: table1." in page
    assert str(market) in (out / "recipe.toml").read_text()
    assert run(capsys, "reproduce", out / "recipe.toml", "table1", "--no-train", "--out", out)[0] == 0
    page = (out / "index.html").read_text()
    assert "Table 1: every system" in page
    assert "Table 2: the data sets" in page
    assert "made them here" not in page


def test_a_recipe_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown, _ = run(capsys, "reproduce", "paper", "--show")
    assert status == 0
    assert shown == (SHIPPED / "paper.toml").read_text()


def test_a_stopped_reproduction_says_so_and_goes_on(
    capsys: pytest.CaptureFixture[str], shrunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer.train

    def stopped(*args: object, **options: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "train", stopped)
    words = ["reproduce", shrunk, "figure8", "--out", tmp_path / "out"]
    status, _, told = run(capsys, *words)
    assert status == 130, told
    assert "dare: stopped at dare on drawn, run 1: pictures; the same command goes on from there" in told
    monkeypatch.setattr(trainer, "train", whole)
    status, _, told = run(capsys, *words)
    assert status == 0, told
    assert (tmp_path / "out" / "figure8.png").exists()


def test_a_training_that_breaks_off_is_seen_by_the_exit_status(
    capsys: pytest.CaptureFixture[str], shrunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> object:
        raise TrainingStoppedError("collapse, iteration 3")

    monkeypatch.setattr(trainer, "train", breaks)
    status, shown, told = run(capsys, "reproduce", shrunk, "figure8", "--out", tmp_path / "out")
    assert status == 1
    assert "not measured: the training broke off: collapse, iteration 3" in shown
    assert "trainings that broke off: 1; their places are empty" in told


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A data set, two networks with deep supervision and one without, and embeddings of the first."""
    top = tmp_path_factory.mktemp("places")
    places = {"ROOT": make_market(top / "market", train_people=6, test_people=8)}
    for name, more in (("A", []), ("B", ["--seed", "4"]), ("C", ["--set=deep_supervision=false"])):
        places[name] = top / name
        with contextlib.suppress(SystemExit):
            cli.main([str(word) for word in ("train", places["ROOT"], places[name], *TINY, *more)])
    for name, crops in (("E", "1"), ("TEN", "10")):
        places[name] = top / f"{name}.npz"
        words = ("embed", places["ROOT"], places[name], "--model", places["A"], "--crops", crops)
        with contextlib.suppress(SystemExit):
            cli.main([str(word) for word in words])
    return places


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_figure_of_networks_alone_needs_no_recipe(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    words = ["reproduce", "figure6", "--data", places["ROOT"], "--out", tmp_path / "f", "--model", places["A"]]
    status, out, err = run(capsys, *words)
    assert status == 0, err
    for policy in ("chance", "nearness", "margin", "label-free", "steered", "mix for", "full"):
        assert policy in out
    first = (tmp_path / "f" / "figure6.csv").read_text()
    assert len(first.splitlines()) == 1 + 50 * 8
    run(capsys, *words, "--embeddings", places["E"])
    assert (tmp_path / "f" / "figure6.csv").read_text() == first
    one = int(rows(tmp_path / "f" / "figure6.csv")[0]["budget_macs"])
    assert run(capsys, *words, "--embeddings", places["TEN"])[0] == 0
    assert int(rows(tmp_path / "f" / "figure6.csv")[0]["budget_macs"]) == 10 * one
    assert run(capsys, *words, "--model", places["B"])[0] == 0
    assert "Means of 2 runs" in (tmp_path / "f" / "figure6.svg").read_text()


def test_finished_networks_are_named_in_a_recipe(
    capsys: pytest.CaptureFixture[str], places: dict[str, Path], tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f"""title = "Mine"
[data.shop]
folder = "{places["ROOT"]}"
[training.with]
data = "shop"
checkpoints = {{ shop = ["{places["A"]}", "{places["B"]}"] }}
[training.without]
data = "shop"
checkpoints = {{ shop = "{places["C"]}" }}
[figure3]
training = "with"
data = "shop"
[figure4]
training = "with"
without = "without"
data = "shop"
[figure5]
training = "with"
against = ["without", "with"]
data = "shop"
[figure7]
training = "with"
data = "shop"
ranks = 2
"""
    )
    names = ["figure3", "figure4", "figure5", "figure7"]
    status, out, err = run(capsys, "reproduce", recipe, *names, "--out", tmp_path / "f")
    assert status == 0, err
    assert "±" in out
    assert [row["vector"] for row in rows(tmp_path / "f" / "figure3.csv")] == [
        *(f"stage {number}" for number in range(1, 5)),
        "fusion",
    ]
    assert [row["runs"] for row in rows(tmp_path / "f" / "figure4.csv")] == ["2"] * 5 + ["1"] * 5
    fifth = rows(tmp_path / "f" / "figure5.csv")
    assert [row["network"] for row in fifth] == ["DaRe"] * 4 + ["networks in sequence"] * 2
    assert int(fifth[5]["macs"]) == 2 * int(fifth[4]["macs"]) == 2 * int(fifth[3]["macs"])
    swapped = ('training = "with"\nwithout = "without"', 'training = "without"\nwithout = "with"')
    recipe.write_text(recipe.read_text().replace(*swapped))
    status, out, _ = run(capsys, "reproduce", recipe, "figure4", "--out", tmp_path / "f")
    assert status == 1
    assert "was trained without deep supervision" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.toml"], "no recipe at none.toml; give a TOML file, or one of paper, tiny"),
        (["paper", "figure9"], "has no figure9; it has table1"),
        (["tiny", "--data", "drawn=x"], "no data set 'drawn' that a folder can be given for"),
        (["paper", "--data", "market"], "expected --data NAME=DIR, such as --data market1501=market, got market"),
        (["paper", "figure6", "--model", "x"], "leave out --model, --embeddings and --layout"),
        (["figure6"], "figure6 alone needs --model and one --data"),
        (["figure6", "--model", "x"], "figure6 alone needs --model and one --data"),
        (["figure4", "--model", "x", "--data", "y"], "expected without, which is missing"),
        (["figure6", "--model", "x", "--data", "y", "--embeddings", "z.npz"], "no embeddings at z.npz"),
        (["figure6", "--model", "x", "--model", "x", "--data", "y"], "names something twice"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "reproduce", *words)
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1, err
    assert message in lines[0]
    assert not list(tmp_path.iterdir())
