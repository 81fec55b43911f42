"""The documentation holds: its Python runs, its commands exist, its links lead somewhere, no name is missing."""

import importlib
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from conftest import save_picture
from experiments.streams import drawn_evaluation
from shipping import ship_run

import dare
from dare import BACKBONES, PRESETS, Embeddings, create_gallery, embed, evaluate, open_benchmark, open_runner, train
from dare.cli import _with_values, app
from dare.identification.indexing import index
from dare.shipped import network
from dare.shipped.network import shipped_names
from dare.synthetic import Knobs, draw_benchmark

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
SHELL = {"console", "sh", "bash", "shell"}


def blocks(page: Path, languages: set[str]) -> list[tuple[int, str]]:
    """Line number and content, without the fence's indentation, of every block in one of these languages."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start()) + 1, re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE))
        for match in BLOCK.finditer(text)
        if match["language"].strip() in languages
    ]


def commands(page: Path) -> list[list[str]]:
    """The words behind `dare` of each command line that a page shows; a line ending in a backslash goes on."""
    found = []
    for _, body in blocks(page, SHELL):
        for line in body.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and Path(words[0]).name == "dare":
                found.append(words[1:])
    return found


PYTHON = [
    pytest.param(f"{page.name}:{line}", body, id=f"{page.name}:{line}")
    for page in PAGES
    for line, body in blocks(page, {"python"})
]
COMMANDS = [pytest.param(words, id=f"{page.name}: {shlex.join(words)}") for page in PAGES for words in commands(page)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take for granted: a data set where they have one, a trained network, one to ship."""
    folder = tmp_path_factory.mktemp("docs")
    draw_benchmark(folder / "demo/data", knobs=Knobs(train_people=6, test_people=4), processes=1)
    shutil.copytree(folder / "demo/data", folder / "data/market1501")
    benchmark = open_benchmark(folder / "demo/data")
    train(benchmark.train, folder / "run", replace(PRESETS["demo"], **SHORT))
    runner = open_runner(folder / "run")
    made: dict[str, Any] = {"dimensions": [64] * 4, "space": runner.space, "model_path": ["run"]}
    gallery = create_gallery(folder / "gallery", model=runner.digest, **made)
    index(gallery, runner, benchmark.gallery, root=benchmark.root)
    gallery.close()
    if "lite" not in shipped_names():
        vectors = embed(runner, [*benchmark.query, *benchmark.gallery], root=benchmark.root)
        ship_run(folder / "networks" / "lite", folder / "run", evaluate(vectors, benchmark))
    return folder


SMALL = {"slim", "tiny", "lite0", "omni", "demo", "lite"}
"""Backbones and presets that are soon counted."""

SHORT: dict[str, Any] = {"iterations": 2, "people": 4, "images": 2, "precision": "fp32"}


def make_short(body: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Trainings of two iterations; and of all networks only small ones are counted, as contract tests count each."""
    for name in ("demo", "slim"):
        monkeypatch.setitem(PRESETS, name, replace(PRESETS[name], **SHORT))
    if "[*BACKBONES" in body:
        tables: tuple[dict[str, Any], ...] = (BACKBONES, PRESETS)
        for table in tables:
            few = {name: value for name, value in table.items() if name in SMALL}
            patched = patch.dict(table, few, clear=True)  # which brings the order back, too
            patched.start()
            request.addfinalizer(patched.stop)


@pytest.mark.parametrize(("place", "body"), PYTHON)
@pytest.mark.heavy
def test_python_in_the_documentation_runs(
    place: str, body: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(workplace)
    if (workplace / "networks").exists():
        monkeypatch.setattr(network, "NETWORKS", workplace / "networks")
    make_short(body, monkeypatch, request)
    for name in ("run", "gallery"):
        shutil.rmtree(f"demo/{name}", ignore_errors=True)
        if "train(" not in body:  # what trains makes its own
            shutil.copytree(name, f"demo/{name}")
    names: dict[str, Any] = {"__name__": "example"}
    code = compile(body, place, "exec")
    if place.startswith("CONTRIBUTING.md"):
        return  # examples of style, of which only parts are shown
    exec(code, names)
    # What only defines a function is called as its page says.
    if save := names.get("save"):
        save("vectors.npz", np.zeros((2, 3)), ["a.jpg", "b.jpg"])
        assert len(Embeddings.load("vectors.npz")) == 2
    if is_whole := names.get("is_whole"):
        assert is_whole("run/model.safetensors")
    if rank1 := names.get("rank1"):
        one = np.array([1])
        assert rank1(np.zeros((1, 2)), np.zeros((1, 2)), one, one, one, one + 1) == 1
    if plain := names.get("plain"):
        assert len(dare.DaRe(plain()).steps) == 4
    if shops := names.get("shops"):
        for split in ("train", "probes", "archive"):
            save_picture(Path("shops") / split / "1-2-3.jpg")
        assert shops("shops").query[0].camera == 2


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_in_the_documentation_exists_with_these_options(words: list[str]) -> None:
    app.parse_args(_with_values(words), print_error=False, exit_on_error=False)


def test_a_wrong_option_in_the_documentation_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--bogus"):
        app.parse_args(["train", "data", "run", "--bogus"], print_error=False, exit_on_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(page: Path) -> None:
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = [match["target"].partition("#")[0] for match in LINK.finditer(prose)]
    inside = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert not [target for target in inside if not (page.parent / target).exists()]


def test_every_public_name_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "api.md").read_text()
    listed = re.findall(r"^\.\. auto\w+:: (?:([\w.]+)\.)?(\w+)$", reference, re.MULTILINE)
    assert len({name for _, name in listed}) == len(listed)
    assert {name for name in dir(dare) if name != "__version__"} <= {name for _, name in listed}
    for module, name in listed:
        assert hasattr(importlib.import_module(module or "dare"), name), f"{module}.{name}"


def test_the_reference_of_the_figures_file_lists_its_fields_and_no_other() -> None:
    evaluation = drawn_evaluation(people=2)
    section = (ROOT / "docs" / "formats.md").read_text().partition("## Figures: `dare evaluate --json`")[2]
    tables = section.partition("\n## ")[0].split("Each entry of `results`:")
    listed = [re.findall("`(\\w+)`", " ".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE))) for table in tables]
    figures = evaluation.figures()
    in_one_space = {"space", "own_gallery"}
    assert sorted(set(listed[0]) - in_one_space) == sorted([*figures, "version"])
    assert sorted(set(listed[1]) - in_one_space) == sorted(figures["results"][0])
