"""Shipped networks on the command line, by their names."""

import json
import shutil
from pathlib import Path

import pytest
from shipping import finish, ship_run
from test_cli import run

from dare import embed, evaluate, open_benchmark, open_runner
from dare.runners import opening as engines
from dare.shipped import network
from dare.shipped.card import CARD, MODEL, PLAN, THRESHOLDS, read_card


@pytest.fixture(scope="module")
def networks(model: Path, crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network `tiny`; not to be changed."""
    folder = tmp_path_factory.mktemp("networks")
    benchmark = open_benchmark(crowd)
    vectors = embed(open_runner(model), [*benchmark.query, *benchmark.gallery], root=benchmark.root)
    ship_run(folder / "tiny", model, evaluate(vectors, benchmark))
    return folder


@pytest.fixture
def here(networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; `tiny` is shipped."""
    monkeypatch.setattr(network, "NETWORKS", networks)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def own(networks: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny` as a copy, to change as one likes."""
    shutil.copytree(networks, here.parent / "copy")
    monkeypatch.setattr(network, "NETWORKS", here.parent / "copy")
    return here.parent / "copy" / "tiny"


def pictures(crowd: Path) -> list[Path]:
    return sorted((crowd / "query").iterdir())


def test_what_is_shipped_is_listed_with_its_card(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    status, out, _ = run(capsys, "models")
    assert status == 0
    assert "tiny" in out
    assert "tiny: nobody's pictures; for tests" in out
    assert "prepacked in fp32, which runs it here" in out
    status, out, _ = run(capsys, "models", "tiny")
    assert status == 0
    assert "data: Noise." in out
    assert "fusion" in out
    assert "10.0 [0.0, 100.0]" in out
    assert "prepacked fp32 *" in out
    assert "for 10 % false matches; measured on 6 people of" in out
    assert "plan of a stream: stage 1 50 %, stage 2 0 %" in out


def test_where_nothing_is_shipped_or_installed_that_is_said(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = run(capsys, "models", "small")
    assert (status, err) == (2, "dare: no network called small is shipped; choose tiny\n")
    monkeypatch.setattr(engines, "is_installed", lambda runner: False)
    _, out, _ = run(capsys, "models")
    assert "no engine is installed: pip install 'dare-reid[onnx]'" in out
    status, _, err = run(capsys, "bench", "small")
    assert "or the name of a shipped network: tiny" in err
    monkeypatch.setattr(network, "NETWORKS", here)
    assert run(capsys, "models")[:2] == (0, "no network is shipped with this version\n")
    assert "this version has none" in run(capsys, "models", "tiny")[2]


def test_a_gallery_remembers_the_name_wherever_it_is_opened(
    capsys: pytest.CaptureFixture[str], here: Path, crowd: Path
) -> None:
    status, out, _ = run(capsys, "index", "shop", "--model", "tiny", "--images", crowd)
    assert status == 0, out
    assert json.loads((here / "shop" / "gallery.json").read_text())["model_path"] == ["tiny"]
    for at_hand in (None, "tiny"):  # a folder of the same name is not what the gallery means
        if at_hand:
            (here / at_hand).mkdir()
        status, out, _ = run(capsys, "search", "shop", pictures(crowd)[0], "--count", "2", "--deadline", "60s")
        assert status == 0
        assert "fusion" in out
    (here / "tiny").rmdir()
    status, out, _ = run(capsys, "search", "shop", pictures(crowd)[0], "--model", "tiny", "--exit", "1")
    assert status == 0
    assert "stage 1" in out


def test_a_gallery_of_a_network_that_is_not_shipped_any_more_is_refused(
    capsys: pytest.CaptureFixture[str], own: Path, crowd: Path
) -> None:
    run(capsys, "index", "shop", "--model", "tiny", "--images", crowd)
    own.rename(own.with_name("other"))
    status, _, err = run(capsys, "search", "shop", pictures(crowd)[0])
    assert status == 2
    assert "is not at" in err
    assert "say where it is with --model" in err


def test_two_pictures_are_compared_by_the_shipped_thresholds(
    capsys: pytest.CaptureFixture[str], here: Path, crowd: Path, networks: Path, model: Path
) -> None:
    first = pictures(crowd)[0]
    status, out, _ = run(capsys, "compare", first, first, "--model", "tiny")
    assert status == 0
    assert ": the same person" in out
    assert "for 10 % false matches" in out
    explicit = run(capsys, "compare", first, first, "--model", "tiny", "--thresholds", networks / "tiny" / THRESHOLDS)
    assert explicit[1] == out
    status, _, err = run(capsys, "compare", first, first, "--model", model)
    assert status == 2
    assert err.startswith("dare: only shipped networks bring thresholds; give --thresholds")


def test_a_stream_follows_the_shipped_plan_unless_it_has_a_budget(
    capsys: pytest.CaptureFixture[str], here: Path, crowd: Path
) -> None:
    run(capsys, "index", "shop", "--model", "tiny", "--images", crowd)
    words = ["stream", "shop", "--queries", crowd, "--json"]
    figures = json.loads(run(capsys, *words)[1])
    assert (figures["policy"], figures["confidence"], figures["allowed"]) == ("quantile", "margin", "other-cameras")
    assert figures["budget"] is None
    assert json.loads(run(capsys, *words, "--policy", "thresholds")[1])["policy"] == "thresholds"
    assert json.loads(run(capsys, *words, "--plan", "tiny")[1])["policy"] == "quantile"
    budget = json.loads(run(capsys, *words, "--mean-macs", "1G")[1])
    assert (budget["policy"], budget["budget"]) == ("steered", 1e9)
    status, _, err = run(capsys, *words, "--policy", "steered")
    assert status == 2
    assert "give a budget" in err


def test_shares_of_a_plan_are_followed_where_no_cameras_are_known(
    capsys: pytest.CaptureFixture[str], here: Path, crowd: Path
) -> None:
    folder = shutil.copytree(crowd / "query", here / "pictures")
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"{number}.jpg")
    run(capsys, "index", "shop", "--model", "tiny", "--images", folder)
    status, out, _ = run(capsys, "stream", "shop", "--queries", folder, "--json")
    assert status == 0
    assert json.loads(out)["allowed"] == "all"
    status, _, err = run(capsys, "stream", "shop", "--queries", folder, "--policy", "thresholds")
    assert status == 2
    assert "cameras of the queries are unknown" in err


@pytest.mark.parametrize("file", [MODEL, CARD, THRESHOLDS, PLAN])
def test_a_damaged_file_is_one_line(capsys: pytest.CaptureFixture[str], own: Path, crowd: Path, file: str) -> None:
    run(capsys, "index", "shop", "--model", "tiny", "--images", crowd)
    content = bytearray((own / file).read_bytes())
    content[len(content) // 2] ^= 1
    (own / file).write_bytes(content)
    first = pictures(crowd)[0]
    command = ["stream", "shop", "--queries", crowd] if file == PLAN else ["compare", first, first, "--model", "tiny"]
    status, _, err = run(capsys, *command)
    lines = [line for line in err.splitlines() if line.startswith("dare:")]
    assert status == 2
    assert len(lines) == 1, err
    assert f"tiny/{file} is damaged" in lines[0]
    assert "install dare-reid again" in lines[0]


def test_a_network_without_thresholds_or_plan_says_so(
    capsys: pytest.CaptureFixture[str], own: Path, crowd: Path
) -> None:
    for file in (THRESHOLDS, PLAN):
        (own / file).unlink()
    finish(own, [(engine.runner, engine.precision, engine.place) for engine in read_card(own).engines])
    assert "plan" not in run(capsys, "models", "tiny")[1]
    run(capsys, "index", "shop", "--model", "tiny", "--images", crowd)
    assert "give a budget" in run(capsys, "stream", "shop", "--queries", crowd)[2]
    first = pictures(crowd)[0]
    assert "thresholds.json" in run(capsys, "compare", first, first, "--model", "tiny")[2]


def test_it_is_timed_by_every_engine_of_its_card(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    status, out, _ = run(capsys, "bench", "tiny", "--repeats", "1", "--batch", "1", "--json")
    assert status == 0
    assert [row["runner"].split(",")[0] for row in json.loads(out)] == ["prepacked"]
