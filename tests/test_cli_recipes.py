"""`dare reproduce` from a recipe, on the command line."""

import csv
import importlib
import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from conftest import make_market
from test_cli import run

import dare.training.train as trainer
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
    status, shown, told = run(capsys, "reproduce", "all", "--recipe", shrunk, "--out", out)
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
    status, _, told = run(capsys, "reproduce", "all", "--recipe", shrunk, "--out", out)
    assert status == 0, told
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    shutil.rmtree(out / "trainings" / "dare")
    status, shown, _ = run(capsys, "reproduce", "figure6", "--recipe", shrunk, "--out", out, "--no-train")
    assert status == 0
    assert "Figure 6: a stream of queries on a mean budget: nothing" in shown
    assert "not measured: not trained, and training was not asked for" in shown
    assert not (out / "figure6.png").exists()
    assert (out / "figure5.png").exists()


def test_a_data_set_can_be_given_and_a_table_made_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    market = make_market(tmp_path / "market", train_people=3, test_people=4)
    words = ["reproduce", "table2", "--recipe", "paper", "--data.market1501", market, "--out", tmp_path / "out"]
    status, shown, _ = run(capsys, *words)
    assert status == 0
    assert re.search(r"train images +│ 12,936 +│ 18 +│ no", shown)
    assert "MARS: not counted: data set mars is not given: there is no data/mars" in shown
    words[1:2] = ["table1", "--no-train"]
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
    assert run(capsys, "reproduce", "table1", "--recipe", shrunk, "--no-train", "--out", out)[0] == 0
    paper = ["reproduce", "table2", "--recipe", "paper", "--out", out]
    assert run(capsys, *paper, "--data.market1501", market)[0] == 0
    page = (out / "index.html").read_text()
    assert "Table 2: the data sets" in page
    assert "Table 1: every system" not in page
    assert "another recipe, or this one with other folders, made them here: table1." in page
    assert str(market) in (out / "recipe.toml").read_text()
    assert run(capsys, "reproduce", "table1", "--recipe", out / "recipe.toml", "--no-train", "--out", out)[0] == 0
    page = (out / "index.html").read_text()
    assert "Table 1: every system" in page
    assert "Table 2: the data sets" in page
    assert "made them here" not in page


def test_a_shipped_recipe_can_be_printed_and_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, shown, _ = run(capsys, "reproduce", "recipe", "paper")
    assert status == 0
    assert shown == (SHIPPED / "paper.toml").read_text()
    assert run(capsys, "reproduce", "recipe", "paper", tmp_path / "mine.toml")[0] == 0
    assert (tmp_path / "mine.toml").read_text() == shown
    status, _, err = run(capsys, "reproduce", "recipe", "tiny", tmp_path / "mine.toml")
    assert status == 2
    assert "mine.toml is there already" in err


def test_a_stopped_reproduction_says_so_and_goes_on(
    capsys: pytest.CaptureFixture[str], shrunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer.train

    def stopped(*args: object, **options: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "train", stopped)
    words = ["reproduce", "figure8", "--recipe", shrunk, "--out", tmp_path / "out"]
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
    status, shown, told = run(capsys, "reproduce", "figure8", "--recipe", shrunk, "--out", tmp_path / "out")
    assert status == 1
    assert "not measured: the training broke off: collapse, iteration 3" in shown
    assert "1 trainings broke off; their places are empty" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["all"], "give either --recipe FILE or --size tiny"),
        (["table1", "--recipe", "paper", "--size", "tiny"], "give either --recipe FILE or --size tiny"),
        (["all", "--recipe", "none.toml"], "no recipe at none.toml; give a TOML file, or one of paper, tiny"),
        (["all", "--size", "tiny", "--data.drawn", "x"], "no data set 'drawn' that a folder can be given for"),
        (["all", "--size", "tiny", "--crops", "10"], "how vectors are made is for the recipe to say"),
        (["recipe", "huge"], "no recipe at huge"),
        (["figure6"], "(lacking: ROOT, OUT, --model); or --recipe FILE, or --size tiny"),
        (["figure6", "data", "out"], "(lacking: --model)"),
        (
            ["figure6", "data", "out", "--size", "tiny"],
            "a recipe says itself what figure6 is made of; leave out ROOT, OUT",
        ),
        (["figure6", "--size", "tiny", "--budgets", "5"], "leave out --budgets, or the recipe"),
        (["figure6", "--no-train"], "give either --recipe FILE or --size tiny"),
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
