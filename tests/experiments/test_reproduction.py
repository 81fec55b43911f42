"""Following a recipe: what is trained and embedded once, what stays empty and why, what goes on where it stopped."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, make_market

import dare.experiments.workplace as place
import dare.training.train as trainer
from dare.anytime.costs import ExitCosts
from dare.datasets import SYNTHETIC_RECIPE
from dare.experiments.recipe import Recipe, RecipeError, load_recipe
from dare.experiments.reproduction import FolderBusyError, Output, reproduce
from dare.experiments.tables import Cell, agrees, reproduce_table2, table1, table2
from dare.experiments.trainings import Means, NotMeasuredError, StoppedError, check_settings
from dare.experiments.workplace import Workplace
from dare.models.checkpoints import load_checkpoint, save_checkpoint
from dare.retrieval.embeddings import Embeddings
from dare.runners.eager import open_eager
from dare.training.monitor import TrainingStoppedError
from dare.training.state import STATE_FILE

pytestmark = pytest.mark.heavy

SMALL = "height = 32, width = 16, embedding_dim = 8, hidden_dim = 8, people = 3, images = 2, log_every = 1"

RECIPE = f"""\
title = "Small"

[data.shop]
folder = "market"
column = "Market"

[data.away]
folder = "nowhere"
column = "Duke"

[training.small]
preset = "demo"
data = ["shop", "away"]
runs = 2
settings = {{ iterations = 4, {SMALL} }}

[table1]
"DaRe(R)" = "small"
"DaRe(R)+RR" = "small"
"IDE(R)+ML+RR" = {{ training = "small", metric = "xqda" }}
"""


@dataclass
class Work:
    """A recipe in a folder, and how it is followed."""

    folder: Path
    text: str = RECIPE
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        path = self.folder / "recipe-of-ours.toml"
        path.write_text(self.text)
        return load_recipe(path)

    def means(self, **more: Any) -> Means:
        return Means(**{"open": lambda path: open_eager(load_checkpoint(path)), **self.options, **more})

    def workplace(self, **more: Any) -> Workplace:
        return Workplace(self.recipe, self.folder / "out", self.means(**more))


@pytest.fixture
def work(tmp_path: Path) -> Work:
    make_market(tmp_path / "market", train_people=6, test_people=8)
    return Work(tmp_path)


def cells(workplace: Workplace) -> dict[tuple[str, str], Cell]:
    return {(cell.row, cell.column): cell for cell in table1(workplace)}


def instead_of_training(given: str) -> str:
    """The recipe with finished networks or vectors for its only data set."""
    before, training, after = RECIPE.partition("[training.small]")
    _, table, rows = after.partition("\n[table1]")
    return f'{before}{training}\ndata = "shop"\n{given}\n{table}{rows}'


def forbidden(*_: object, **__: object) -> Any:
    raise AssertionError("this was done before")


def test_what_is_trained_and_embedded_once_is_not_again(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[str] = []
    first = cells(work.workplace(on_finished=finished.append))
    assert [line.partition(",")[2].split()[:3] for line in finished] == [
        ["run", "1:", "trained,"],
        ["run", "1:", "embedded"],
        ["run", "2:", "trained,"],
        ["run", "2:", "embedded"],
    ]
    monkeypatch.setattr(trainer, "train", forbidden)
    monkeypatch.setattr(place, "embed", forbidden)
    second = cells(work.workplace())
    assert first == second
    runs = second["DaRe(R)", "Market"].runs
    assert len(runs) == 2
    assert runs[0] != runs[1]
    folders = sorted((work.folder / "out" / "trainings" / "small" / "shop").iterdir())
    assert [folder.name for folder in folders] == ["seed-0", "seed-1"]
    assert not any((folder / STATE_FILE).exists() for folder in folders)


def test_figures_are_those_of_the_network_scored_by_itself(work: Work) -> None:
    """Each row by its own way: as it is, re-ranked, and with a learnt distance re-ranked."""
    from dare.datasets import market1501
    from dare.evaluation.evaluate import evaluate
    from dare.retrieval.metrics import xqda
    from dare.retrieval.reranking import Reranking

    found = cells(work.workplace())
    benchmark = market1501(work.folder / "market")
    vectors = Embeddings.load(work.folder / "out" / "embeddings" / "small" / "shop" / "run-2.npz")
    for row, options in (
        ("DaRe(R)", {}),
        ("DaRe(R)+RR", {"rerank": Reranking(k1=20, k2=6, weight=0.3)}),
        ("IDE(R)+ML+RR", {"rerank": Reranking(k1=20, k2=6, weight=0.3), "metric": xqda}),
    ):
        fusion = evaluate(vectors, benchmark, **options).results[-1].scores
        measured = found[row, "Market"].runs[1]
        assert measured["rank-1"] == pytest.approx(100 * fusion.cmc(1))
        assert measured["mAP"] == pytest.approx(100 * fusion.mean_average_precision)


def made(runs: list[tuple[float, float]], published: tuple[float, float] | None, comparable: bool = True) -> Cell:
    figures = tuple({"rank-1": rank1, "mAP": precision} for rank1, precision in runs)
    printed = {"rank-1": published[0], "mAP": published[1]} if published else None
    return Cell("DaRe(R)", "Market", printed, figures, "small", "shop", comparable, ("a note",), "", "the paper")  # type: ignore[arg-type]


def test_mean_deviation_and_difference_of_runs() -> None:
    """2, 4, 4, 4, 5, 5, 7, 9 have the mean 5 and a population deviation of 2, so a sample deviation of 2 (8/7)^½."""
    cell = made([(value, 50) for value in (2, 4, 4, 4, 5, 5, 7, 9)], (4.5, 60.0))
    assert cell.mean("rank-1") == 5
    assert cell.deviation("rank-1") == pytest.approx(2.1380899)
    assert cell.difference("rank-1") == 0.5
    line = cell.line()
    assert (line["measured_rank1"], line["measured_rank1_sd"], line["difference_rank1"]) == ("5.000", "2.138", "+0.500")
    assert (line["measured_mAP_sd"], line["difference_mAP"], line["runs"]) == ("0.000", "-10.000", 8)
    assert cell.shown() == ("DaRe(R)", "4.5 / 60.0", "5.0 ± 2.1 / 50.0 ± 0.0", "+0.5 / -10.0", "8", "a note")


def test_one_run_has_no_deviation_none_no_mean_and_other_pictures_no_difference() -> None:
    assert made([(80, 60)], (81, 69.36)).shown()[1:5] == ("81.0 / 69.36", "80.0 / 60.0", "-1.0 / -9.4", "1")
    assert made([(80, 60)], (81, 69), comparable=False).shown()[1:5] == ("81.0 / 69.0", "80.0 / 60.0", "", "1")
    assert made([], (81, 69)).shown()[1:5] == ("81.0 / 69.0", "", "", "")
    assert made([(80, 60)], None).shown()[1:5] == ("–", "80.0 / 60.0", "", "1")
    assert replace(made([(80, 60)], None), stands_in="Lite2 for ResNet-50").shown()[0] == "DaRe(R) (stand-in)"
    line = made([], (81, 69)).line()
    assert [line[name] for name in line if name.startswith(("measured_r", "measured_m", "difference"))] == [""] * 6


def test_what_is_not_given_stays_empty_and_says_why(work: Work) -> None:
    found = cells(work.workplace())
    away = found["DaRe(R)", "Duke"]
    assert away.runs == ()
    assert away.published == {"rank-1": 75.2, "mAP": 57.4}
    assert away.notes == (f"not measured: data set away is not given: there is no {work.folder / 'nowhere'}",)
    assert found["PAN(R)", "Duke"].notes == ("not measured: the recipe has no training for this row",)
    assert found["DaRe(R)", "MARS"].notes == ("not measured: the recipe has no data set for this column",)
    assert not any(cell.runs for (_, column), cell in found.items() if column != "Market")


def test_without_training_everything_stays_empty(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "train", forbidden)
    found = cells(work.workplace(train=False))
    assert not any(cell.runs for cell in found.values())
    assert found["DaRe(R)", "Market"].notes == ("not measured: not trained, and training was not asked for",)


def test_a_stopped_training_goes_on_and_ends_as_if_it_had_not_been(work: Work) -> None:
    seen: list[int] = []

    def stop() -> bool:
        return len(seen) >= 2

    def watch(phase: str, done: int, total: int, remark: str) -> None:
        if total == 4:
            seen.append(done)

    with pytest.raises(StoppedError, match="small on shop, run 1 stopped after 2 iterations, saved"):
        cells(work.workplace(on_progress=watch, should_stop=stop))
    half = cells(work.workplace(train=False))
    reason = "run 1: stopped after 2 of 4 iterations, and training was not asked for"
    assert reason in half["DaRe(R)", "Market"].notes[0]
    seen.clear()
    work.options["on_progress"] = watch
    resumed = cells(work.workplace())
    assert seen == [3, 4, 1, 2, 3, 4]
    shutil.rmtree(work.folder / "out")
    assert cells(work.workplace()) == resumed


def test_a_killed_training_goes_on_from_what_it_saved_last(work: Work) -> None:
    work.text = work.text.replace("iterations = 4", "iterations = 4, save_every = 2").replace("runs = 2", "runs = 1")
    seen: list[int] = []

    def die(phase: str, done: int, total: int, remark: str) -> None:
        if total == 4:
            seen.append(done)
            if done == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cells(work.workplace(on_progress=die))
    with pytest.raises(KeyboardInterrupt):
        cells(work.workplace(on_progress=die))
    assert seen == [1, 2, 3, 3]
    assert cells(work.workplace())["DaRe(R)", "Market"].runs


def test_a_training_of_another_recipe_or_of_other_pictures_is_not_taken(work: Work) -> None:
    cells(work.workplace())
    right = work.text
    work.text = right.replace("iterations = 4", "iterations = 4, margin = 0.5")
    with pytest.raises(RecipeError, match=r"seed-0 holds a training with margin=0.0, which is 0.5 in .*; remove it"):
        cells(work.workplace())
    work.text = right
    (work.folder / "market" / "bounding_box_train" / "0001_c1s1_000001_01.jpg").unlink()
    with pytest.raises(RecipeError, match="holds a training with pictures=36, which is 35"):
        cells(work.workplace())


def test_vectors_of_another_network_are_made_again(work: Work) -> None:
    work.text = work.text.replace("runs = 2", "runs = 1")
    workplace = work.workplace()
    (run,) = workplace.runs("small", "shop")
    first = workplace.embeddings(run)
    file = work.folder / "out" / "embeddings" / "small" / "shop" / "run-1.npz"
    made_at = file.stat().st_mtime_ns
    assert len(workplace.embeddings(run)) == len(first)
    assert file.stat().st_mtime_ns == made_at
    assert len(workplace.embeddings(run, with_training=True)) == len(first) + 36
    assert len(workplace.embeddings(run)) == len(first) + 36
    ten = workplace.embeddings(run, crops=10)
    assert ten.crops == 10
    one, ten_crops = (workplace.evaluation(run, crops).costs for crops in (1, 10))
    assert one is not None
    assert ten_crops == one.times(10)


def test_weights_that_cannot_be_had_leave_a_place_empty_and_are_asked_for_once(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.error

    asked = []

    def offline(*_: object, **__: object) -> Any:
        asked.append(1)
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(work.folder / "weights"))
    work.text = work.text.replace("iterations = 4", 'iterations = 4, backbone = "resnet18", weights = "imagenet"')
    cell = cells(work.workplace())["DaRe(R)", "Market"]
    assert cell.runs == ()
    assert cell.notes[0].startswith("not measured: the ImageNet weights are not on this machine and cannot be")
    assert len(asked) == 1


def test_a_training_that_breaks_off_leaves_its_place_empty_and_is_told(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trainer.train

    def breaks(*args: Any, **options: Any) -> Any:
        if args[2].seed == 0:
            raise TrainingStoppedError("collapse, iteration 3")
        return whole(*args, **options)

    monkeypatch.setattr(trainer, "train", breaks)
    workplace = work.workplace()
    cell = cells(workplace)["DaRe(R)", "Market"]
    assert len(cell.runs) == 1
    assert cell.notes[-1] == "1 of 2 runs; the training broke off: collapse, iteration 3"
    assert workplace.broken == 1


def test_finished_networks_and_vectors_can_be_named_instead(
    work: Work, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "train", forbidden)
    given = f'checkpoints = {{ shop = ["{model}", "{work.folder / "none"}"] }}'
    work.text = instead_of_training(given)
    workplace = work.workplace()
    cell = cells(workplace)["DaRe(R)", "Market"]
    assert len(cell.runs) == 1
    assert cell.notes == (f"1 of 2 runs; there is no network at {work.folder / 'none'}",)
    assert workplace.runs("small", "shop")[0].made_by == f"given: {model}"
    kept = workplace.embeddings(workplace.runs("small", "shop")[0], with_training=True)
    kept.save(work.folder / "kept.npz")
    monkeypatch.setattr(place, "embed", forbidden)
    shutil.rmtree(work.folder / "out")
    work.text = instead_of_training('embeddings = { shop = "kept.npz" }')
    workplace = work.workplace()
    again = cells(workplace)
    assert again["DaRe(R)", "Market"].runs == cell.runs
    assert again["IDE(R)+ML+RR", "Market"].runs
    (run,) = workplace.runs("small", "shop")
    with pytest.raises(NotMeasuredError, match="only embeddings are given, which do not say what exits cost"):
        workplace.evaluation(run)
    with pytest.raises(NotMeasuredError, match=r"kept.npz holds vectors of 1 crops, not of 10"):
        workplace.embeddings(run, crops=10)
    (work.folder / "kept.npz").unlink()
    assert "no embeddings at" in cells(work.workplace())["DaRe(R)", "Market"].notes[0]


def test_vectors_must_be_of_the_network_that_is_named_with_them(work: Work, model: Path) -> None:
    both = f'checkpoints = {{ shop = "{model}" }}\nembeddings = {{ shop = "kept.npz" }}'
    work.text = instead_of_training(both)
    ids = np.array(["query/a.jpg"])
    np.savez(work.folder / "kept.npz", vectors=np.zeros((1, 3), np.float32), ids=ids)
    assert "holds vectors of model unknown, this is model" in cells(work.workplace())["DaRe(R)", "Market"].notes[0]


def test_generated_pictures_come_into_the_training_or_leave_it_empty(work: Work, picture: Callable[..., Path]) -> None:
    lsro = 'preset = "lsro"\ngenerated = { shop = "nobody" }\n'
    settings = 'backbone = "tiny", weights = "none", generated_images = 3, dropout = 0.0, learning_rate = 0.001'
    work.text = work.text.replace('preset = "demo"\n', lsro).replace("iterations = 4", f"iterations = 4, {settings}")
    work.text = work.text.replace('"shop", "away"', '"shop"').replace("embedding_dim = 8, hidden_dim = 8, ", "")
    cell = cells(work.workplace())["DaRe(R)", "Market"]
    assert cell.notes == (f"not measured: generated pictures are not given: there is no {work.folder / 'nobody'}",)
    for seed in range(5):
        picture(work.folder / "nobody" / f"{seed}.jpg", seed)
    assert len(cells(work.workplace())["DaRe(R)", "Market"].runs) == 2
    work.text = work.text.replace('generated = { shop = "nobody" }\n', "")
    with pytest.raises(
        RecipeError, match="takes 3 generated pictures in a batch, and names folders of them for no data"
    ):
        check_settings(work.recipe)


def counts(workplace: Workplace) -> dict[tuple[str, str], dict[str, Any]]:
    lines, _ = table2(workplace)
    return {(line["data_set"], line["quantity"]): line for line in lines}


def test_table_2_counts_what_the_readers_found(work: Work) -> None:
    """Six people train in three cameras, twice each; eight are tested in two, beside a distractor and junk."""
    found = counts(work.workplace())
    expected = {
        "identities": 6 + 8,
        "boxes": 36 + 16 + 2,
        "cameras": 3,
        "train images": 36,
        "train people": 6,
        "test images": 16 + 2,
        "test people": 8,
        "queries": 16,
        "gallery": 18,
    }
    for quantity, number in expected.items():
        assert found["Market", quantity]["counted"] == number, quantity
    assert found["Market", "identities"]["agrees"] == "no"
    assert found["Market", "format"]["agrees"] == ""
    assert found["Duke", "boxes"]["counted"] == ""
    assert "not counted: data set away is not given" in found["Duke", "boxes"]["notes"]
    assert found["MARS", "boxes"]["notes"].endswith("not counted: the recipe has no such data set")
    assert "the text says more than two" in found["Duke", "identities"]["notes"]
    (market, *_) = reproduce_table2(work.workplace()).summaries
    assert ("identities", "1,501", "14", "no", "") in market.rows


def test_a_count_agrees_where_it_is_the_printed_number() -> None:
    assert agrees("751", 751) == "yes"
    assert agrees("751", 750) == "no"
    assert agrees("raw video", 751) == ""


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_are_written_with_their_notes_and_shown_on_a_page(work: Work) -> None:
    out = work.folder / "out"
    told = []
    reproduce(work.recipe, ["table1"], out, work.means(), told.append)
    (line,) = [row for row in read(out / "table1.csv") if (row["row"], row["data_set"]) == ("DaRe(R)", "Market")]
    assert (line["published_rank1"], line["published_mAP"], line["runs"]) == ("86.4", "69.3", "2")
    assert float(line["difference_rank1"]) == pytest.approx(float(line["measured_rank1"]) - 86.4, abs=1e-3)
    assert float(line["measured_rank1_sd"]) > 0
    text = (out / "table1.md").read_text()
    assert "sample standard deviation" in text
    assert "| DaRe(R) | 75.2 / 57.4 |  |  |  | not measured: data set away is not given" in text
    assert told[0]["files"] == ["table1.csv", "table1.md"]
    copied = load_recipe(out / "recipe.toml")
    assert copied.data["shop"].folder == work.folder / "market"
    assert copied.trainings == work.recipe.trainings
    reproduce(work.recipe, ["table2"], out, work.means())
    page = (out / "index.html").read_text()
    for piece in ("Table 1", "Table 2", "small on shop, run 2", "preset demo, iterations=4", "not measured", "numpy"):
        assert piece in page, piece
    assert json.loads((out / "table1.json").read_text())["runs"][1]["seed"] == 1


def test_what_can_no_longer_be_measured_leaves_no_old_file_behind(work: Work) -> None:
    out = work.folder / "out"
    work.text += '\n[figure3]\ntraining = "small"\ndata = "shop"\n'
    reproduce(work.recipe, ["figure3"], out, work.means())
    assert (out / "figure3.png").exists()
    shutil.rmtree(out / "trainings")
    told = []
    reproduce(work.recipe, ["figure3"], out, work.means(train=False), told.append)
    assert not list(out.glob("figure3*.png"))
    assert not list(out.glob("figure3*.csv"))
    assert told[0]["missing"] == ("not measured: not trained, and training was not asked for",)
    assert "Not measured: not trained" in (out / "index.html").read_text()


def test_a_recipe_that_stands_in_as_a_whole_says_so_of_each_run(work: Work) -> None:
    work.text = work.text.replace('title = "Small"', 'title = "Small"\nstands_in = "all is small"')
    workplace = work.workplace()
    (first, _) = workplace.runs("small", "shop")
    assert first.stands_in == "all is small"
    assert workplace.evaluation(first).benchmark.name == "market1501, stand-ins"
    cell = cells(workplace)["DaRe(R)", "Market"]
    assert "stands in: all is small" in cell.notes
    assert not cell.comparable
    assert counts(workplace)["Market", "boxes"]["agrees"] == ""


def test_a_folder_with_other_things_is_left_alone(work: Work) -> None:
    (work.folder / "out").mkdir()
    reproduce(work.recipe, ["table2"], work.folder / "out", work.means())
    reproduce(work.recipe, ["table2"], work.folder / "out", work.means())
    with pytest.raises(FileExistsError, match="market holds other things; choose a new folder"):
        reproduce(work.recipe, ["table2"], work.folder / "market", work.means())
    assert not (work.folder / "market" / "index.html").exists()
    theirs = work.folder / "theirs"
    theirs.mkdir()
    (theirs / "recipe.toml").write_text("for soup")
    with pytest.raises(FileExistsError, match="theirs holds other things"):
        reproduce(work.recipe, ["table2"], theirs, work.means())
    assert (theirs / "recipe.toml").read_text() == "for soup"


def test_two_at_once_do_not_make_things_in_one_folder(work: Work) -> None:
    out = work.folder / "out"
    refused = []

    def once_more(output: Output) -> None:
        with pytest.raises(FolderBusyError, match=rf"process \d+ is writing to {out}; wait until it is done"):
            reproduce(work.recipe, ["table2"], out, work.means())
        refused.append(output["name"])

    reproduce(work.recipe, ["table2"], out, work.means(), once_more)
    assert refused == ["table2"]
    reproduce(work.recipe, ["table2"], out, work.means())


FIGURES = "".join(
    f'\n[{name}]\ntraining = "small"\ndata = "shop"\n' for name in ("figure3", "figure6", "figure7", "figure8")
)


def test_a_given_network_that_does_not_fit_leaves_only_its_own_figures_empty(
    work: Work, model: Path, tmp_path: Path
) -> None:
    start = load_checkpoint(model)
    alone = replace(start.architecture, taps=(4,), fusion=False)
    costs = ExitCosts(start.costs.macs[-1:], "counted")
    torch.manual_seed(0)
    save_checkpoint(
        tmp_path / "alone.safetensors", replace(start, model=alone.build(), architecture=alone, costs=costs)
    )
    work.text = instead_of_training('checkpoints = { shop = "alone.safetensors" }') + FIGURES
    told: list[Output] = []
    reproduce(work.recipe, work.recipe.outputs, tmp_path / "out", work.means(), told.append)
    assert [bool(output["files"]) for output in told] == [True, True, True, False, False, False]
    for output, reason in zip(told[3:], ("a single exit", "what the fusion adds", "a single exit"), strict=True):
        assert len(output["missing"]) == 1
        assert output["missing"][0].startswith("not measured: ")
        assert reason in output["missing"][0]
    content = bytearray((tmp_path / "alone.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "alone.safetensors").write_bytes(content)
    told.clear()
    reproduce(work.recipe, ["table1", "figure3"], tmp_path / "out", work.means(), told.append)
    for output in told:
        assert "alone.safetensors is truncated or damaged" in " ".join(output["missing"])
    assert not list((tmp_path / "out").glob("figure3*.png"))


def test_vectors_that_were_damaged_are_made_again(work: Work) -> None:
    workplace = work.workplace()
    (run, _) = workplace.runs("small", "shop")
    first = workplace.embeddings(run)
    (work.folder / "out" / "embeddings" / "small" / "shop" / "run-1.npz").write_bytes(b"torn")
    assert workplace.embeddings(run).ids == first.ids


def test_what_failed_leaves_a_page_that_names_no_missing_file(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    out = work.folder / "out"
    work.text = work.text.replace("runs = 2", "runs = 1") + FIGURES
    reproduce(work.recipe, ["figure3", "figure6"], out, work.means())

    def fails(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("dare.experiments.figure6.figure6", fails)
    with pytest.raises(KeyboardInterrupt):
        reproduce(work.recipe, ["figure6"], out, work.means())
    named = re.findall(r'(?:href|src)="([^"#]+)"', (out / "index.html").read_text())
    assert "figure6.png" in named
    assert all((out / name).exists() for name in named)


def test_a_data_set_that_cannot_be_read_is_found_before_anything_is_trained(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "train", forbidden)
    (work.folder / "nowhere").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*nowhere"):
        reproduce(work.recipe, ["table1"], work.folder / "out", work.means())


def test_drawn_people_in_a_folder_must_say_what_they_stand_in_for(work: Work) -> None:
    (work.folder / "market" / SYNTHETIC_RECIPE).write_text("{}")
    with pytest.raises(RecipeError, match=r"holds drawn people, which would count as Market; .* in \[data\.shop\]"):
        work.workplace().benchmark("shop")
    work.text = work.text.replace('column = "Market"', 'column = "Market"\nstands_in = "drawn people"')
    assert work.workplace().benchmark("shop").query


def test_a_drawn_data_set_is_drawn_once_and_not_mistaken_for_another(work: Work) -> None:
    drawn = 'draw = "tiny"\nstands_in = "drawn people"\nknobs = { train_people = 3, test_people = 3 }'
    work.text = work.text.replace('folder = "market"', drawn)
    workplace = work.workplace()
    first = workplace.benchmark("shop")
    assert len({sample.person for sample in first.train}) == 3
    assert work.workplace().benchmark("shop") == first
    work.text = work.text.replace("train_people = 3", "train_people = 4")
    with pytest.raises(RecipeError, match="was drawn with other knobs"):
        work.workplace().benchmark("shop")


def test_the_command_line_of_tests_and_these_settings_are_the_same_network() -> None:
    """So that a checkpoint of the one is a run of the other."""
    for setting in ("height=32", "width=16", "embedding_dim=8", "hidden_dim=8", "people=3", "images=2"):
        assert {f"--{setting}", f"--set={setting}"} & {*TINY}
        name, _, value = setting.partition("=")
        assert f"{name} = {value}" in SMALL
